"""Machine: what a test needs of it. Where that is absent the test is skipped, with the reason; in CI it fails."""

from __future__ import annotations

import os
import shutil
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
