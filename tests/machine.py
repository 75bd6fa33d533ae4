"""Machine: what a test needs of it. Where that is absent the test is skipped, with the reason; in CI it fails.

What is made once for all workers is made by the first of them, while the others wait (`alone`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def lacks(message: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            lacks(f"there is no {program} here: install it")


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Inside, no other process of this machine is inside too, under the same name."""
    with Path(tempfile.gettempdir(), f"lesion-test-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
