"""Root folder: the option --root, and what to type where its folder is given without it."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from pathlib import Path

from lesion import sagemaker


def add_root(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=sagemaker.ROOT,
        help="the folder laid out as SageMaker lays out /opt/ml (default: %(default)s)",
    )


def advise_root(command: str, folder: Path) -> str:
    """What to type instead of `lesion train FOLDER` or `lesion serve FOLDER`."""
    from lesion.artifact import MANIFEST  # here: no other command line needs it

    if command == "serve" and (folder / MANIFEST).is_file():  # the model itself
        if folder.resolve().name == "model":
            return f"the folder is given by --root: type lesion serve --root {shlex.quote(str(folder.parent))}"
        return f"--root is a folder that holds the model as model/: move {folder} there, and give that folder"
    said = f"the folder is given by --root: type lesion {command} --root {shlex.quote(str(folder))}"
    needed = "input" if command == "train" else "model"
    if (folder / needed).is_dir():
        return said
    where = "the data set in input/data/training/" if command == "train" else "the model in model/"
    return f"{said}, where {folder} is a job's folder, with {where}" + (
        f" (lesion check {shlex.quote(str(folder))} takes a data set itself)" if command == "train" else ""
    )
