"""Report: a report written again, from report.json."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import console

SUMMARY = "Write report.html and the model cards again, from report.json alone."
EXAMPLE = "lesion report my_job --output build/report"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="a job's folder, that of its results or of an evaluation, or a report.json"
    )
    parser.add_argument("--output", type=Path, help="the folder to write to (default: where report.json lies)")


def run(args: Namespace) -> int:
    from lesion.report_files import rebuild_report

    for path in rebuild_report(args.folder, output=args.output):
        console.say(str(path))
    return 0
