"""How long commands take to open: this source tree beside another, by CPU seconds and wall clock.

    git worktree add build/before COMMIT && python benchmarks/start.py --before build/before/src

Each round opens every command once with each tree, the first turn going around. Bytecode is written before the first
round, below build/. CPU seconds are the ones to compare where other programs run. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from ham10000 import PROJECT, where_and_when
from train import interleaved, spread, spreads

OPENED = {  # what is opened → Python's arguments
    "python": ["-c", "pass"],
    **{
        arguments: ["-m", "lesion.cli", *arguments.split()]
        for arguments in (
            "--help",
            "check --help",
            "describe hyperparameters",
            "describe recipes",
            "describe sources",
            "describe metrics",
        )
    },
    "imports of train": ["-c", "import lesion.algorithms.classify.train"],
    "imports of serve": ["-c", "import lesion.serve.server, lesion.algorithms.classify.prediction.load"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="the src folder of another commit")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--open", nargs="+", choices=OPENED, default=list(OPENED), help="what to open (default: all)")
    args = parser.parse_args()
    trees = {"before": args.before.resolve(), "after": PROJECT / "src"}
    load_before, result = os.getloadavg()[0], {}
    for name in args.open:
        runs = {side: partial(opened, tree, OPENED[name]) for side, tree in trees.items()}
        interleaved(1, runs)  # writes bytecode
        rounds = interleaved(args.rounds, runs)
        ratios = [
            after["cpu_s"] / before["cpu_s"] for before, after in zip(rounds["before"], rounds["after"], strict=True)
        ]
        result[name] = {side: spreads(measured) for side, measured in rounds.items()}
        result[name]["cpu_of_after_to_before"] = spread(ratios)
    print(
        json.dumps(
            {"benchmark": "start", **where_and_when(), "load_before": load_before, "rounds": args.rounds, **result}
        )
    )


def opened(tree: Path, arguments: list[str]) -> dict[str, float]:
    """CPU and wall seconds of one process that Lesion's sources in `tree` are opened by."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONPYCACHEPREFIX": str(PROJECT / "build" / "bytecode")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": cpu_s, "wall_s": time.perf_counter() - started}


if __name__ == "__main__":
    main()
