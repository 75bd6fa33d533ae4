"""CLI: `lesion train | serve | predict | export | check | describe | sample-data | prepare`.

The one place on the command line that catches errors.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from tqdm import tqdm

from lesion import launch, sagemaker
from lesion.errors import LesionError, PlatformError, UserError

log = logging.getLogger("lesion")

EXIT_BUG = 1
PEER_LOST = "peer_lost"  # the file among a host's processes with the word of one that another was lost


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and ends the process: 0 done, 2 the user's to mend, 3 the platform's, 1 our bug."""
    args = _parser().parse_args(arguments)
    sagemaker.prepare_libraries()
    _log_to_stdout()
    try:
        status = args.run(args)
    except LesionError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        status = error.exit_code
    except KeyboardInterrupt:
        status = launch.INTERRUPTED
    if args.run is _train_process:
        # At once: Python's tidying up would end the threads that wait for peers within gloo's own frames, and abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _train(args: argparse.Namespace) -> int:
    """The parent: starts the training processes, and writes the failure file if they could not."""
    root: Path = args.root
    sagemaker.clear_failure(root)
    asked = sagemaker.asked_processes(root)
    processes = max(launch.num_gpus(), 1) if asked is None else asked
    progress = [] if args.no_progress else ["--progress"] * sys.stderr.isatty()
    command = [sys.executable, "-m", "lesion.cli", "train-process", "--root", str(root)]
    with tempfile.TemporaryDirectory(prefix="lesion-") as shared:
        places = [["--process", str(number), "--processes", str(processes)] for number in range(processes)]
        commands = [[*command, "--shared", shared, *place] for place in places]
        commands[0] += progress
        # Children end without Python's tidying up: what they leave in temporary folders goes with ours.
        environment = {**sagemaker.training_environment(root, processes=processes), "TMPDIR": shared}
        ending = launch.run_children(commands, environment)
        told = [path.read_text() for path in Path(shared).glob(PEER_LOST)]
    status = PlatformError.exit_code if ending.status == launch.PEER_LOST else ending.status
    if status and not ending.was_stopped and not sagemaker.has_failure(root):
        ended = f"a training process ended with exit code {status}; the log says why"
        reason = next(iter([*filter(None, [ending.describe_death()]), *told, ended]))
        print(f"error: {reason}", file=sys.stderr)  # noqa: T201
        sagemaker.write_failure(root, reason)
    return status if status >= 0 else 128 - status


def _train_process(args: argparse.Namespace) -> int:
    """A child: trains, and turns whatever goes wrong into a failure file and an exit code."""
    try:
        job = sagemaker.read_job(
            args.root,
            show_progress=args.progress,
            processes=args.processes,
            process=args.process,
            shared_dir=args.shared,
        )
        signal.signal(signal.SIGTERM, job.stop)  # before this line nothing is lost by ending at once
        if job.processes > 1:
            _log_as(job.peers[job.peer], is_first=job.process == 0)
        from lesion.algorithms.classify.config import ClassifyConfig

        config = ClassifyConfig.parse(job.hyperparameters)  # a misspelt name is told before torch is imported
        from lesion.algorithms.classify.train import train

        train(job, config)
    except LesionError as error:
        if error.kind == "peer_lost":  # no cause: that is told by the parent, of this host or of another
            (args.shared / PEER_LOST).write_text(str(error))
            return launch.PEER_LOST
        sagemaker.write_failure(args.root, str(error))
        raise
    except MemoryError:
        sagemaker.write_failure(
            args.root, "out of memory: lower batch_size_train or image_size, or choose a larger instance"
        )
        raise
    except Exception as error:
        traceback.print_exc()
        sagemaker.write_failure(
            args.root, f"a bug in Lesion: {type(error).__name__}: {error}. The log has the traceback."
        )
        return EXIT_BUG
    return 0


def _serve(args: argparse.Namespace) -> int:
    from lesion.serve.server import serve

    settings = sagemaker.read_server_settings()
    return serve(
        args.root / "model",
        settings,
        port=args.port or settings.port,
        device=_device(args.device),
        fold=args.fold,
        precision=args.precision or settings.precision,
        has_page=args.page,
    )


def _device(name: str) -> Literal["auto", "cpu", "cuda"]:
    """The device of that name; auto where no GPU is to be seen is the CPU, which needs no torch."""
    if name == "auto" and not launch.num_gpus():
        log.info("no GPU is to be seen here: computing on the CPU")
        return "cpu"
    return cast(Literal["auto", "cpu", "cuda"], name)


def _predict(args: argparse.Namespace) -> int:
    from lesion.algorithms.classify.predict_files import predict_files

    show_progress = not args.no_progress and sys.stderr.isatty()
    num_failed = predict_files(
        args.input,
        model_dir=args.model,
        output=args.output,
        device=_device(args.device),
        fold=args.fold,
        precision=args.precision or "auto",
        num_cores=sagemaker.usable_cores(),
        show_progress=show_progress,
    )
    return 2 if num_failed else 0


def _export_onnx(args: argparse.Namespace) -> int:
    from lesion.algorithms.classify.export_files import export_onnx

    export_onnx(args.model, args.output, fold=args.fold)
    return 0


def _check(args: argparse.Namespace) -> int:
    from lesion.algorithms.classify.config import ClassifyConfig

    channels, hyperparameters = {"training": args.data}, {}
    if (args.data / "input" / "data").is_dir():  # a whole job, as `train --root` takes it
        job = sagemaker.read_job(args.data)
        channels, hyperparameters = dict(job.channels), dict(job.hyperparameters)
    for name in ("validation", "test"):
        if getattr(args, name) is not None:
            channels[name] = getattr(args, name)
    config = ClassifyConfig.parse({**hyperparameters, **dict(args.set)})  # before torch and pandas are imported
    from lesion.algorithms.classify.check import check_channels

    report = check_channels(
        config,
        channels,
        output=args.output,
        num_workers=sagemaker.usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    print(report.as_text())  # noqa: T201
    print(f"with pictures: {args.output / 'check.html'}")  # noqa: T201
    return UserError.exit_code if report.num("error") else 0


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


def _describe(args: argparse.Namespace) -> int:
    if args.what == "hyperparameters":
        from lesion.algorithms.classify.config import ClassifyConfig
        from lesion.config import describe

        print(describe(ClassifyConfig))  # noqa: T201
    elif args.what == "recipes":
        from lesion.algorithms.classify import recipes

        print(recipes.describe())  # noqa: T201
    else:
        from lesion.metrics import REPORTED

        print(json.dumps([{"Name": m.name, "Regex": m.regex} for m in REPORTED.values()], indent=2))  # noqa: T201
    return 0


def _sample_data(args: argparse.Namespace) -> int:
    from lesion.data.sample_data import draw_dataset

    draw_dataset(args.directory, num_images=args.num_images, seed=args.seed)
    print(f"{args.num_images} drawn pictures in {args.directory}")  # noqa: T201
    return 0


def _prepare_tiles(args: argparse.Namespace) -> int:
    from lesion.prepare.marks import Marking
    from lesion.prepare.slides import Resolution
    from lesion.prepare.tiles import Labels, Tiling, prepare_tiles

    resolution = Resolution("level_0") if args.level_0 else None
    if args.magnification is not None:
        resolution = Resolution("magnification", args.magnification)
    if args.mpp is not None:
        resolution = Resolution("mpp", args.mpp)
    marking = Marking(args.label_from, args.min_overlap, tuple(args.positive), tuple(args.exclude))
    prepare_tiles(
        args.input,
        output=args.output,
        tiling=Tiling(args.size, args.overlap, args.min_tissue, resolution, args.format),
        labels=Labels(args.labels, args.target_column, args.annotations, marking),
        num_workers=args.workers or sagemaker.usable_cores(),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 0


def _prepare_shards(args: argparse.Namespace) -> int:
    from lesion.algorithms.classify.config import ClassifyConfig

    config = ClassifyConfig.parse(dict(args.set))
    from lesion.algorithms.classify.sources import any_columns
    from lesion.prepare.shard import Sharding
    from lesion.prepare.shards import Share, prepare_shards

    prepare_shards(
        args.input,
        output=args.output,
        columns=any_columns(config),
        source=config.source,
        sharding=Sharding(args.size, args.quality, args.rows, args.seed, config.on_bad_image == "drop"),
        engine=args.engine,
        num_workers=args.workers or sagemaker.usable_cores(),
        share=Share(*sagemaker.processing_share(args.root)),
        show_progress=not args.no_progress and sys.stderr.isatty(),
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lesion", description="Train and serve classifiers of medical pictures.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, summary: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary, epilog=f"example: {example}")
        added.set_defaults(run=run)
        return added

    train = command(
        "train", _train, "Train on the channels and write the model.", "lesion train --root local_test/test_dir"
    )
    _add_root(train)
    train.add_argument("--no-progress", action="store_true", help="no progress bar, as in the container")

    process = commands.add_parser("train-process")  # what `train` starts; not for people
    process.set_defaults(run=_train_process)
    _add_root(process)
    process.add_argument("--progress", action="store_true")
    process.add_argument("--process", type=int, default=0)
    process.add_argument("--processes", type=int, default=1)
    process.add_argument("--shared", type=Path, required=True)

    serve = command("serve", _serve, "Answer /ping and /invocations from the model.", "lesion serve --root build/demo")
    _add_root(serve)
    serve.add_argument("--no-page", dest="page", action="store_false", help="no page at / to try a picture by hand")
    serve.add_argument("--port", type=int, help="port to listen on (default: SAGEMAKER_BIND_TO_PORT, or 8080)")
    _add_model_options(serve)

    predict = command(
        "predict",
        _predict,
        "Predict a CSV or a folder of pictures into a CSV.",
        "lesion predict test.csv --model model --output out.csv",
    )
    predict.add_argument(
        "input", type=Path, help="a CSV whose pictures lie beside it as in training, or a folder of pictures"
    )
    predict.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    predict.add_argument("--output", type=Path, required=True, help="the CSV to write")
    predict.add_argument("--no-progress", action="store_true", help="no progress bar")
    _add_model_options(predict)

    check = command(
        "check",
        _check,
        "Say what is wrong with a data set before anything is trained.",
        "lesion check data --set group_column=lesion_id --output build/check",
    )
    check.add_argument("data", type=Path, help="a training channel's folder, or a whole job as `train --root` takes it")
    check.add_argument("--validation", type=Path, help="a validation channel's folder")
    check.add_argument("--test", type=Path, help="a test channel's folder")
    check.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter of the training; may be repeated",
    )
    check.add_argument(
        "--output", type=Path, default=Path("check"), help="where to write check.json and check.html (default: check)"
    )
    check.add_argument("--no-progress", action="store_true", help="no progress bar")

    describe = command(
        "describe", _describe, "Print what can be set, or what can be scraped.", "lesion describe hyperparameters"
    )
    describe.add_argument(
        "what",
        choices=["hyperparameters", "recipes", "metrics"],
        help="a Markdown table, or SageMaker's MetricDefinitions",
    )

    draw = command(
        "sample-data",
        _sample_data,
        "Draw a made-up dermoscopy data set to try things on.",
        "lesion sample-data build/data",
    )
    draw.add_argument("directory", type=Path, help="where to write train.csv, train_jpg/, test.csv and test_jpg/")
    draw.add_argument("--num-images", type=int, default=300, help="training pictures (default: %(default)s)")
    draw.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default: %(default)s)")

    _add_export(commands)
    summary = "Make a data set that `lesion train` takes."
    prepare = commands.add_parser("prepare", help=summary, description=summary)
    kinds = prepare.add_subparsers(required=True, metavar="WHAT")
    _add_tiles(kinds)
    _add_shards(kinds)
    return parser


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "Write a model in a format that other programs read."
    export = commands.add_parser("export", help=summary, description=summary)
    formats = export.add_subparsers(required=True, metavar="FORMAT")
    onnx = formats.add_parser(
        "onnx",
        help="Write the networks as one ONNX model.",
        description="Write the networks as one ONNX model: RGB squares (and encoded metadata) to mean probabilities.",
        epilog="example: lesion export onnx --model model --output model.onnx",
    )
    onnx.set_defaults(run=_export_onnx)
    onnx.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    onnx.add_argument("--output", type=Path, required=True, help="the file to write")
    onnx.add_argument("--fold", type=int, help="one fold's network instead of the mean of all")


def _add_tiles(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tiles = kinds.add_parser(
        "tiles",
        help="Cut slides into tiles.",
        description="Cut whole slides and large pictures into tiles, with train.csv beside them.",
        epilog="example: lesion prepare tiles slides --output build/tiles --labels slides.csv",
    )
    tiles.set_defaults(run=_prepare_tiles)
    tiles.add_argument("input", type=Path, help="a slide or picture, or a folder of them")
    tiles.add_argument("--output", type=Path, required=True, help="a new folder, or one of the same command to finish")
    tiles.add_argument("--size", type=int, default=256, help="a tile's side in pixels (default: %(default)s)")
    resolution = tiles.add_mutually_exclusive_group()
    resolution.add_argument(
        "--magnification", type=float, help="of the tiles (default: 20, and --level-0 where no slide states its own)"
    )
    resolution.add_argument("--mpp", type=float, help="of the tiles, in µm a pixel: 0.5 is 20×")
    resolution.add_argument("--level-0", action="store_true", help="cut the pixels as they are, whatever they measure")
    tiles.add_argument(
        "--overlap", type=int, default=0, help="of neighbours, in pixels of the tile (default: %(default)s)"
    )
    tiles.add_argument(
        "--min-tissue", type=float, default=0.5, help="the share of a tile that must be tissue (default: %(default)s)"
    )
    tiles.add_argument("--labels", type=Path, help="a CSV with file and target of each slide; other columns come along")
    tiles.add_argument("--target-column", help="of --labels (default: target, or label)")
    tiles.add_argument("--annotations", type=Path, help="a folder of GeoJSON (QuPath) or XML (ASAP), called as slides")
    tiles.add_argument(
        "--positive", action="append", default=[], help="a class of annotations; may be repeated (default: any)"
    )
    tiles.add_argument(
        "--exclude", action="append", default=[], help="a class cut out of the positive ones; may be repeated"
    )
    tiles.add_argument(
        "--label-from",
        choices=["centre", "area"],
        default="centre",
        help="look for annotations in a tile's middle third or in all of it (default: %(default)s)",
    )
    tiles.add_argument(
        "--min-overlap",
        type=float,
        default=0.5,
        help="the share of that which makes a tile positive; 0: any pixel (default: %(default)s)",
    )
    tiles.add_argument("--format", choices=["jpg", "png"], default="jpg", help="of the tiles (default: %(default)s)")
    tiles.add_argument("--workers", type=int, help="threads (default: one a core)")
    tiles.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_shards(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    shards = kinds.add_parser(
        "shards",
        help="Check and resize pictures into WebDataset shards.",
        description="Check and resize the pictures of a data set into WebDataset shards, with a data card.",
        epilog="example: lesion prepare shards data --output build/shards --size 512",
    )
    shards.set_defaults(run=_prepare_shards)
    shards.add_argument("input", type=Path, help="a data set in any format that training takes")
    shards.add_argument("--output", type=Path, required=True, help="a new folder, or one of the same command to finish")
    shards.add_argument(
        "--size", type=int, default=512, help="pixels of the shorter side; never enlarged (default: %(default)s)"
    )
    shards.add_argument("--quality", type=int, default=95, help="of JPEG (default: %(default)s)")
    shards.add_argument("--rows", type=int, default=1000, help="pictures a shard (default: %(default)s)")
    shards.add_argument("--seed", type=int, default=0, help="of the order of rows (default: %(default)s)")
    shards.add_argument(
        "--engine",
        choices=["processes", "ray"],
        default="processes",
        help="who does it: this machine, or the Ray cluster of RAY_ADDRESS (default: %(default)s)",
    )
    shards.add_argument("--workers", type=int, help="processes (default: one a core)")
    shards.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyperparameter that names columns, the source or on_bad_image; may be repeated",
    )
    shards.add_argument("--no-progress", action="store_true", help="no progress bar")
    _add_root(shards)


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        type=Path,
        default=sagemaker.ROOT,
        help="the folder laid out as SageMaker lays out /opt/ml (default: %(default)s)",
    )


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where to compute (default: %(default)s)"
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        help="of the graph on a CPU (default: auto, bf16 where the CPU has it and the graph was found to answer alike)",
    )
    parser.add_argument("--fold", type=int, help="ask one fold's network instead of the mean of all")


class _LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Lines on stdout that do not tear a progress bar on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.external_write_mode(file=self.stream, nolock=True):
            super().emit(record)


def _log_to_stdout() -> None:
    handler = _LineHandler(sys.stdout)
    handler.setFormatter(_formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _log_as(name: str, *, is_first: bool) -> None:
    """Lines that say which process they are of. What all would say alike only the first of a host says."""
    for handler in log.handlers:
        handler.setFormatter(_formatter(f"process={name} %(message)s"))
    if not is_first:
        log.setLevel(logging.ERROR)
        of_its_own = ("algorithms.classify.fold", "report.watch", "engine.peers", "engine.checkpoint")
        for own in of_its_own:
            logging.getLogger(f"lesion.{own}").setLevel(logging.INFO)


def _formatter(message: str) -> logging.Formatter:
    formatter = logging.Formatter(f"%(asctime)sZ {message}", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    return formatter


if __name__ == "__main__":
    main()
