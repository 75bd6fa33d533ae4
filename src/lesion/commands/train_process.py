"""Train process: one of the processes that `lesion train` starts. Trains, and leaves a failure file for every error."""

from __future__ import annotations

import logging
import signal
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from lesion import console, launch, sagemaker
from lesion.commands.root_folder import add_root
from lesion.environment import usable_memory_bytes
from lesion.errors import EXIT_BUG, LesionError, PlatformError, UserError
from lesion.files import write_atomic

log = logging.getLogger(__name__)

NAME = "train-process"
AUTO = "auto"  # the first process finds out how many there will be, and leaves the number in a file of the folder
NUM_PROCESSES = "processes"
PEER_LOST = "peer_lost"  # the file among a host's processes with the word of one that another was lost


def add(parser: ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--processes", default="1", help="a number, or auto")
    parser.add_argument("--shared", type=Path, required=True)


def run(args: Namespace) -> int:
    try:
        _train(args)
        console.raise_lost_lines()
    except LesionError as error:
        if error.kind == "peer_lost":  # not the cause: the parent reports that, on this host or on another
            _leave_word(args.shared / PEER_LOST, error)
            return launch.PEER_LOST
        sagemaker.write_failure(args.root, str(error))
        raise
    except MemoryError:
        reason = f"out of memory: {less_memory(args.root)}"
        sagemaker.write_failure(args.root, reason)
        console.complain(reason)
        return PlatformError.exit_code
    except Exception as error:
        console.complain_of_bug(error)
        sagemaker.write_failure(
            args.root, f"a bug in Lesion: {type(error).__name__}: {error}. The log has the traceback."
        )
        return EXIT_BUG
    return 0


def less_memory(root: Path) -> str:
    """How to need less memory, in the words of the job's algorithm."""
    from lesion.algorithms.registry import DEFAULT, find_algorithm

    try:
        return find_algorithm(str(sagemaker.peek_hyperparameters(root).get("algorithm", DEFAULT))).out_of_memory
    except UserError:  # no such algorithm: that refusal was the job's end, not the memory
        return "choose a larger instance"


def _train(args: Namespace) -> None:
    from lesion.algorithms.registry import parse_hyperparameters

    job = sagemaker.read_job(
        args.root,
        show_progress=args.progress,
        processes=1 if args.processes == AUTO else int(args.processes),
        process=args.process,
        shared_dir=args.shared,
    )
    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, job.stop)  # before this line ending at once loses nothing
    algorithm, config = parse_hyperparameters(job.hyperparameters)  # a misspelt name is refused before torch loads
    if args.processes == AUTO:
        number = algorithm.processes_on_cpu(config, num_cores=job.num_cores, memory_bytes=usable_memory_bytes())
        job = replace(job, processes=number, num_cores=max(job.num_cores // number, 1))
        write_atomic(args.shared / NUM_PROCESSES, str(number).encode())  # the parent starts the others
    if job.processes > 1:
        console.log_as(job.process_names[job.process_index], is_first=job.process == 0)
    algorithm.train(job, config)


def _leave_word(path: Path, error: LesionError) -> None:
    """Leaves a file for the parent: another process was lost."""
    try:
        write_atomic(path, str(error).encode())
    except PlatformError as unwritten:
        log.error("%s %s", error, unwritten)
