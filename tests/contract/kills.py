"""Kills: training processes that a signal meets at one chosen step of their writing.

Imported first in a warm process, this sends it the signal that its environment names, right before the chosen time that
it renames to, or removes, a file whose path contains the chosen name. Python itself announces what is about to be done
(an audit hook), so nothing stands for something else.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import warm

VARIABLE = "TEST_KILL"


def train_until(root: Path, number: int, name: str, left: int) -> int:
    """Trains the job under `root`, which sends itself the signal `number` right before the `left`th step at `name`.

    The exit status, negative for a death by signal.
    """
    when = {VARIABLE: json.dumps([number, name, left])}
    with (root / "log").open("w") as log:
        arguments = ["train-process", "--root", root, "--shared", root]
        return warm.start(arguments, log, environment=when, preload=["kills"]).wait(warm.LIMIT_S)


def _arm(number: int, name: str, left: int) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in {"os.rename", "os.remove"}:
            path = os.fsdecode(arguments[1 if event == "os.rename" else 0])  # type: ignore[arg-type]
            left -= name in path
            if name in path and left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


if VARIABLE in os.environ:
    _arm(*json.loads(os.environ[VARIABLE]))
