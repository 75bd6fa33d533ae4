"""Numbers: what a network answers is one, or it is no answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.errors import PlatformError


def numbers(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of any shape as they are: finite. Raises PlatformError for NaN and infinity.

    A sigmoid would make a sure yes of infinity, and every comparison makes a no of NaN.
    """
    if not np.isfinite(logits).all():
        raise PlatformError(
            "the network answered with what is no number",
            do="Try again; if it stays, the artifact or this machine's memory is damaged: start again elsewhere.",
            kind="no_number",
        )
    return logits
