"""Compare: two jobs' out-of-fold predictions of the same images."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import console
from lesion.commands.options import add_margin

SUMMARY = "Compare two jobs' out-of-fold predictions of the same images."
EXAMPLE = "lesion compare job_a job_b --margin 0.02 --output comparison.json"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "run_a",
        type=Path,
        help="a job's folder, the folder of its results, its oof.csv, or a folder that `lesion evaluate` wrote",
    )
    parser.add_argument("run_b", type=Path, help="the other; differences are this one minus the first")
    add_margin(parser, "how much lower a ROC AUC still counts as not inferior")
    parser.add_argument("--output", type=Path, help="a JSON file to write, with every image that changed sides")


def run(args: Namespace) -> int:
    from lesion.compare import compare_runs

    console.say(compare_runs(args.run_a, args.run_b, margin=args.margin, output=args.output))
    return 0
