"""Check: which pictures cannot be read, found before anything is trained."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np

from lesion.data.table import Picked, Source
from lesion.errors import UserError

log = logging.getLogger(__name__)


def check_pictures(source: Source, *, policy: Literal["error", "drop"], num_workers: int, what: str) -> Source:
    """The source with every picture known to decode. `what` names it in messages, such as "training".

    Raises one UserError that counts the unreadable and names the first five; with policy "drop" their rows are left out
    instead, each named in the log, and only a source that has none left raises.
    """

    def problem(index: int) -> str | None:
        try:
            source.read(index)
        except UserError as error:
            return f"{error.what} ({error.where})"
        return None

    num_rows = len(source.table())
    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        problems = list(pool.map(problem, range(num_rows)))
    bad = [text for text in problems if text is not None]
    if not bad:
        return source
    if policy == "error" or len(bad) == num_rows:
        raise UserError(
            f"{len(bad)} of {num_rows} {what} pictures cannot be read; the first: {'; '.join(bad[:5])}",
            do="Replace them, or set on_bad_image=drop to leave their rows out.",
            kind="unreadable_image",
        )
    for text in bad:
        log.warning("dropped a %s row: %s", what, text)
    log.warning("dropped=%d of=%d set=%s", len(bad), num_rows, what)
    return Picked(source, np.array([index for index, text in enumerate(problems) if text is None]))
