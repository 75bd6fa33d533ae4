"""CLI: `lesion train | serve | predict | explain | evaluate | report | export | check | compare | describe | …`.

The one place on the command line that catches errors.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast

from lesion import console, launch, sagemaker
from lesion.arguments import TRAIN_PROCESS, parse
from lesion.environment import usable_cores
from lesion.errors import LesionError, PlatformError, UserError
from lesion.files import only_one, temporary_folder, write_atomic
from lesion.job import STEP_FILE

log = logging.getLogger("lesion")

EXIT_BUG = 1
PEER_LOST = "peer_lost"  # the file among a host's processes with the word of one that another was lost


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits. Exit code 0: done; 2: a user's mistake; 3: a platform failure; 1: our bug."""
    console.open_streams()
    args = parse(sys.argv[1:] if arguments is None else list(arguments))
    sagemaker.prepare_libraries()
    console.log_to_stdout()
    status = _run(args)
    console.finish()
    if args.command == TRAIN_PROCESS:
        # At once: Python's tidying up would end the threads that wait for peers within gloo's own frames, and abort.
        os._exit(status)
    sys.exit(status)


def _run(args: argparse.Namespace) -> int:
    """The command's exit status; every error is printed on a line of its own."""
    try:
        status = COMMANDS[args.command](args)
        console.raise_lost_lines()
        return status
    except LesionError as error:
        console.complain(error)
        return error.exit_code
    except MemoryError:
        is_training = args.command == TRAIN_PROCESS  # only it knows which hyperparameter to lower
        console.complain(_out_of_memory(args.root) if is_training else "out of memory: choose a larger machine")
        return PlatformError.exit_code
    except KeyboardInterrupt:
        return launch.INTERRUPTED
    except Exception as error:
        console.complain_of_bug(error)
        return EXIT_BUG


def _train(args: argparse.Namespace) -> int:
    """The parent: starts the training processes, and writes the failure file if they could not.

    Raises UserError if another command trains below the same root: its files, that of a failure too, stay untouched.
    """
    with only_one(args.root):
        return _train_alone(args)


def _train_alone(args: argparse.Namespace) -> int:
    root: Path = args.root
    sagemaker.clear_failure(root)
    asked = sagemaker.processes_setting(root)
    processes = max(launch.num_gpus(), 1) if asked is None else asked
    progress = [] if args.no_progress else ["--progress"] * sys.stderr.isatty()
    command = [sys.executable, "-m", "lesion.cli", TRAIN_PROCESS, "--root", str(root)]
    with temporary_folder() as shared:
        places = [["--process", str(number), "--processes", str(processes)] for number in range(processes)]
        commands = [[*command, "--shared", str(shared), *place] for place in places]
        commands[0] += progress
        # Children end without Python's tidying up: what they leave in temporary folders goes with ours.
        environment = {**sagemaker.training_environment(root, processes=processes), "TMPDIR": str(shared)}
        ending = launch.run_children(commands, environment)
        told = [path.read_text() for path in shared.glob(PEER_LOST)]
        step, _, remedy = _step(shared / f"{STEP_FILE}_{ending.process}")
    status = PlatformError.exit_code if ending.status == launch.PEER_LOST else ending.status
    if status and not ending.was_stopped and not sagemaker.has_failure(root):
        ended = f"a training process ended with exit code {status}; the log says why"
        death = ending.describe_death(remedy or _less_memory(root), step=step)
        reason = next(iter([*filter(None, [death]), *told, ended]))
        console.complain(reason)
        sagemaker.write_failure(root, reason)
    return status if status >= 0 else 128 - status


def _step(path: Path) -> tuple[str, str, str]:
    """What a training process was doing when it ended, and what to set where that needs too much memory."""
    with suppress(OSError):
        return path.read_text().partition("\n")
    return "", "", ""


def _train_process(args: argparse.Namespace) -> int:
    """A child process: trains, and turns every error into a failure file and an exit code."""
    try:
        job = sagemaker.read_job(
            args.root,
            show_progress=args.progress,
            processes=args.processes,
            process=args.process,
            shared_dir=args.shared,
        )
        signal.signal(signal.SIGTERM, job.stop)  # before this line ending at once loses nothing
        if job.processes > 1:
            console.log_as(job.process_names[job.process_index], is_first=job.process == 0)
        from lesion.algorithms.registry import parse_hyperparameters

        algorithm, config = parse_hyperparameters(job.hyperparameters)  # a misspelt name is refused before torch loads
        algorithm.train(job, config)
        console.raise_lost_lines()
    except LesionError as error:
        if error.kind == "peer_lost":  # not the cause: the parent reports that, on this host or on another
            _leave_word(args.shared / PEER_LOST, error)
            return launch.PEER_LOST
        sagemaker.write_failure(args.root, str(error))
        raise
    except MemoryError:
        sagemaker.write_failure(args.root, _out_of_memory(args.root))
        raise
    except Exception as error:
        console.complain_of_bug(error)
        sagemaker.write_failure(
            args.root, f"a bug in Lesion: {type(error).__name__}: {error}. The log has the traceback."
        )
        return EXIT_BUG
    return 0


def _out_of_memory(root: Path) -> str:
    return f"out of memory: {_less_memory(root)}"


def _less_memory(root: Path) -> str:
    """How to need less memory, in the words of the job's algorithm."""
    from lesion.algorithms.registry import DEFAULT, find_algorithm

    try:
        return find_algorithm(str(sagemaker.peek_hyperparameters(root).get("algorithm", DEFAULT))).out_of_memory
    except UserError:  # no such algorithm: that refusal was the job's end, not the memory
        return "choose a larger instance"


def _leave_word(path: Path, error: LesionError) -> None:
    """Leaves a file for the parent: another process was lost."""
    try:
        write_atomic(path, str(error).encode())
    except PlatformError as unwritten:
        log.error("%s %s", error, unwritten)


def _serve(args: argparse.Namespace) -> int:
    from lesion.algorithms.base import Predictor
    from lesion.algorithms.written_by import algorithm_of_artifact
    from lesion.serve.server import serve

    settings, model_dir = sagemaker.read_server_settings(), args.root / "model"
    device, precision = _device(args.device), args.precision or settings.precision

    def load() -> Predictor:
        algorithm = algorithm_of_artifact(model_dir)  # before anything large is imported: a wrong folder is refused
        return algorithm.load(
            model_dir,
            device=device,
            num_cores=settings.num_cores,
            fold=args.fold,
            precision=precision,
            operating_point=args.operating_point or settings.operating_point,
        )

    return serve(
        load,
        settings.limits,
        model_dir=model_dir,
        port=args.port or settings.port,
        num_workers=settings.num_workers,
        num_cores=settings.num_cores,
        has_metrics=settings.has_metrics,
        has_audit=settings.has_audit or args.audit,
        has_page=args.page,
    )


def _device(name: str) -> Literal["auto", "cpu", "cuda"]:
    """The device of that name; auto without a GPU is cpu, so that torch need not be imported."""
    if name == "auto" and not launch.num_gpus():
        log.info("no GPU found: using the CPU")
        return "cpu"
    return cast(Literal["auto", "cpu", "cuda"], name)


def _predict(args: argparse.Namespace) -> int:
    from lesion.predict_files import predict_files

    num_failed = predict_files(
        args.input,
        model_dir=args.model,
        output=args.output,
        source=args.source,
        image_column=args.image_column,
        device=_device(args.device),
        fold=args.fold,
        precision=args.precision or "auto",
        operating_point=args.operating_point,
        num_cores=usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 2 if num_failed else 0


def _explain(args: argparse.Namespace) -> int:
    from lesion.explain_files import explain_files

    num_failed = explain_files(
        args.input,
        model_dir=args.model,
        output=args.output,
        class_name=args.class_name,
        method=args.method,
        source=args.source,
        image_column=args.image_column,
        device=_device(args.device),
        fold=args.fold,
        num_cores=usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 2 if num_failed else 0


def _evaluate(args: argparse.Namespace) -> int:
    from lesion.algorithms.written_by import algorithm_of_artifact
    from lesion.packed_model import unpacked

    with unpacked(args.model) as model_dir:
        text = algorithm_of_artifact(model_dir).evaluate(
            model_dir,
            args.input,
            output=args.output,
            source=args.source,
            settings=dict(args.set),
            device=_device(args.device),
            num_cores=usable_cores(),
            precision=args.precision or "auto",
            operating_point=args.operating_point,
            show_progress=not args.no_progress and sys.stderr.isatty(),
        )
    console.say(f"{text}\nreport: {args.output / 'report.html'}")
    return 0


def _report(args: argparse.Namespace) -> int:
    from lesion.report_files import rebuild_report

    for path in rebuild_report(args.folder, output=args.output):
        console.say(str(path))
    return 0


def _export_onnx(args: argparse.Namespace) -> int:
    from lesion.algorithms.written_by import algorithm_of_artifact

    algorithm_of_artifact(args.model).export_onnx(args.model, args.output, fold=args.fold)
    return 0


def _check(args: argparse.Namespace) -> int:
    from lesion.algorithms.registry import parse_hyperparameters

    channels, hyperparameters = {"training": args.data}, {}
    if (args.data / "input" / "data").is_dir():  # a whole job, as `train --root` takes it
        job = sagemaker.read_job(args.data)
        channels, hyperparameters = dict(job.channels), dict(job.hyperparameters)
    for name in ("validation", "test"):
        if getattr(args, name) is not None:
            channels[name] = getattr(args, name)
    algorithm, config = parse_hyperparameters({**hyperparameters, **dict(args.set)})
    report = algorithm.check(
        config,
        channels,
        output=args.output,
        num_workers=usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    console.say(f"{report.as_text()}\nwith images: {args.output / 'check.html'}")
    return UserError.exit_code if report.num("error") else 0


def _compare(args: argparse.Namespace) -> int:
    from lesion.compare import compare_runs

    console.say(compare_runs(args.run_a, args.run_b, margin=args.margin, output=args.output))
    return 0


def _describe(args: argparse.Namespace) -> int:
    from lesion.algorithms.registry import find_algorithm
    from lesion.config import describe

    algorithm = find_algorithm(args.algorithm, where="--algorithm")
    if args.what == "hyperparameters":
        console.say(describe(algorithm.config))
    elif args.what == "recipes":
        console.say(algorithm.describe("recipes"))
    elif args.what == "sources":
        from lesion.data.sources.describe import describe_sources

        console.say(describe_sources())
    else:
        lines = algorithm.metric_lines.values()
        console.say(json.dumps([{"Name": line.name, "Regex": line.regex} for line in lines], indent=2))
    return 0


def _sample_data(args: argparse.Namespace) -> int:
    from lesion.data.sample_data import draw_dataset

    draw_dataset(args.directory, num_images=args.num_images, seed=args.seed)
    console.say(f"{args.num_images} synthetic images in {args.directory}")
    return 0


def _prepare_tiles(args: argparse.Namespace) -> int:
    from lesion.prepare.annotation_mask import PositiveRule
    from lesion.prepare.slides import Resolution
    from lesion.prepare.tiles import LabelSource, Tiling, prepare_tiles

    resolution = Resolution("level_0") if args.level_0 else None
    if args.magnification is not None:
        resolution = Resolution("magnification", args.magnification)
    if args.mpp is not None:
        resolution = Resolution("mpp", args.mpp)
    rule = PositiveRule(args.label_from, args.min_overlap, tuple(args.positive), tuple(args.exclude))
    prepare_tiles(
        args.input,
        output=args.output,
        tiling=Tiling(args.size, args.overlap, args.min_tissue, resolution, args.format),
        labels=LabelSource(args.labels, args.target_column, args.annotations, rule),
        num_workers=args.workers or usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 0


def _prepare_shards(args: argparse.Namespace) -> int:
    from lesion.algorithms.registry import parse_hyperparameters

    _, config = parse_hyperparameters(dict(args.set))
    from lesion.data.channels import columns_of
    from lesion.prepare.shard import Sharding
    from lesion.prepare.shards import Share, prepare_shards

    prepare_shards(
        args.input,
        output=args.output,
        columns=columns_of(config),
        source=config.source,
        sharding=Sharding(args.size, args.quality, args.rows, args.seed, config.on_bad_image == "drop"),
        engine=args.engine,
        num_workers=args.workers or usable_cores(),
        share=Share(*sagemaker.processing_share(args.root)),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": _train,
    TRAIN_PROCESS: _train_process,
    "serve": _serve,
    "predict": _predict,
    "explain": _explain,
    "evaluate": _evaluate,
    "report": _report,
    "export onnx": _export_onnx,
    "check": _check,
    "compare": _compare,
    "describe": _describe,
    "sample-data": _sample_data,
    "prepare tiles": _prepare_tiles,
    "prepare shards": _prepare_shards,
}


if __name__ == "__main__":
    main()
