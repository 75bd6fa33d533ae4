"""Kills: training processes that a signal meets at one chosen step of their writing.

As a program: `kills.py CASES` with a JSON list of [ROOT, SIGNAL, NAME, NUMBER] trains the job under each ROOT in a fork
of its own, which sends itself SIGNAL right before the NUMBER-th time that it renames to, or removes, a file whose path
contains NAME. Prints the exit statuses. Python itself announces what is about to be done (an audit hook), so nothing
stands for something else; the forks save the seconds of importing torch for each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

# What a training imports when it comes to it: seconds, in each fork.
LATE = (
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "sklearn.pipeline", "scipy.cluster.vq"),
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "tensorboardX.summary"),
)

Case = tuple[str, int, str, int]


def run_cases(cases: Sequence[Case]) -> list[int]:
    """The exit status of each, negative for a death by signal."""
    command = [sys.executable, __file__, json.dumps(cases)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return list(json.loads(ended.stdout.splitlines()[-1]))


def train(root: str, number: int, name: str, left: int) -> None:
    from lesion import cli

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in {"os.rename", "os.remove"}:
            path = os.fsdecode(arguments[1 if event == "os.rename" else 0])  # type: ignore[arg-type]
            left -= name in path
            if name in path and left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)
    with Path(root, "log").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    cli.main(["train-process", "--root", root, "--shared", root])


def main(cases: Sequence[Case]) -> None:
    for name in ("lesion.algorithms.classify.train", *LATE):  # once, for all forks
        import_module(name)
    statuses = []
    for case in cases:
        child = os.fork()
        if child == 0:
            train(*case)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(statuses))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
