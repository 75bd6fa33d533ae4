"""Train: the parent of a job. Starts the training processes, and writes the failure file if they could not.

What they run is train_process.py.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from lesion import console, launch, sagemaker
from lesion.commands import train_process
from lesion.commands.options import add_progress, show_progress
from lesion.commands.root_folder import add_root
from lesion.data.decode.reading import check_given
from lesion.errors import PlatformError
from lesion.files import only_one, temporary_folder
from lesion.job import CHECKED_FILE, STEP_FILE

SUMMARY = "Train on the channels and write the model."
EXAMPLE = "lesion train --root local_test/test_dir"


def add(parser: ArgumentParser) -> None:
    add_root(parser)
    add_progress(parser, "no progress bar, as in the container")


def run(args: Namespace) -> int:
    """Raises UserError if another command trains below the same root: its files, that of a failure too, stay as they
    are.
    """
    check_given(args.root)  # else a mistyped root would get folders, and the complaint would be of channels
    with only_one(args.root):
        return _train_alone(args.root, progress=show_progress(args))


def _train_alone(root: Path, *, progress: bool) -> int:
    sagemaker.clear_failure(root)
    processes = sagemaker.processes_setting(root, num_gpus=launch.num_gpus)
    with temporary_folder() as shared:

        def command(process: int, processes: int | str) -> list[str]:
            place = ["--process", str(process), "--processes", str(processes), "--shared", str(shared)]
            return [sys.executable, "-m", "lesion.cli", train_process.NAME, "--root", str(root), *place]

        def others() -> list[list[str]] | None:
            """The processes beside the first one, once that has said how many there will be."""
            with suppress(FileNotFoundError):
                number = int((shared / train_process.NUM_PROCESSES).read_text())
                return [command(process, number) for process in range(1, number)]
            return None

        first = command(0, train_process.AUTO if processes is None else processes) + ["--progress"] * progress
        more = [] if processes is None else [command(process, processes) for process in range(1, processes)]
        # Children end without Python's tidying up: what they leave in temporary folders goes with ours.
        environment = {**sagemaker.training_environment(root, processes=processes or 2), "TMPDIR": str(shared)}
        ending = launch.run_children(
            [first, *more],
            environment,
            later=others if processes is None else None,
            # Data that are refused end all: one that still starts would connect to the first, and gloo would complain.
            has_begun=(shared / CHECKED_FILE).exists,
        )
        told = [path.read_text() for path in shared.glob(train_process.PEER_LOST)]
        step, _, remedy = _step(shared / f"{STEP_FILE}_{ending.process}")
    status = PlatformError.exit_code if ending.status == launch.PEER_LOST else ending.status
    if status and not ending.was_stopped and not sagemaker.has_failure(root):
        ended = f"a training process ended with exit code {status}; the log says why"
        death = ending.describe_death(remedy or train_process.less_memory(root), step=step)
        reason = next(iter([*filter(None, [death]), *told, ended]))
        console.complain(reason)
        sagemaker.write_failure(root, reason)
    return status if status >= 0 else 128 - status


def _step(path: Path) -> tuple[str, str, str]:
    """What a training process was doing when it ended, and what to set where that needs too much memory."""
    with suppress(OSError):
        return path.read_text().partition("\n")
    return "", "", ""
