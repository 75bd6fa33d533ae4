"""Registry: the commands by what is typed, in the order of `lesion --help`. The one list of them.

To add one: a file with `SUMMARY`, `EXAMPLE`, `add` and `run`, and a row in COMMANDS. parser.py does the rest.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Protocol

from lesion.commands import (
    check,
    compare,
    describe,
    drift,
    evaluate,
    explain,
    export_onnx,
    predict,
    prepare_shards,
    prepare_tiles,
    report,
    sample_data,
    serve,
    train,
)


class Command(Protocol):
    """A file of this folder. It opens without anything large: `run` imports what that command alone needs."""

    SUMMARY: str  # what it does, in one sentence
    EXAMPLE: str  # a command line of it

    def add(self, parser: ArgumentParser) -> None:
        """Adds its arguments and options."""

    def run(self, args: Namespace) -> int:
        """Executes it, and returns the exit status. Raises UserError or PlatformError for what fails."""
        ...


COMMANDS: dict[str, Command] = {
    "train": train,
    "serve": serve,
    "predict": predict,
    "explain": explain,
    "evaluate": evaluate,
    "drift": drift,
    "report": report,
    "check": check,
    "compare": compare,
    "describe": describe,
    "sample-data": sample_data,
    "export onnx": export_onnx,
    "prepare tiles": prepare_tiles,
    "prepare shards": prepare_shards,
}

# The first word of commands that have two: what they do together, and how --help calls the second word.
GROUPS = {
    "export": ("Export a model to a format of other programs.", "FORMAT"),
    "prepare": ("Prepare a data set for `lesion train`.", "WHAT"),
}
