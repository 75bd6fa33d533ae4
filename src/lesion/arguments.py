"""Arguments: the command line's commands and options. cli.py executes them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from lesion import sagemaker
from lesion.algorithms.registry import DEFAULT

TRAIN_PROCESS = "train-process"


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line: `command` names the command, the rest are its options."""
    whole = argparse.ArgumentParser(prog="lesion", description="Train and serve classifiers of medical images.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary, epilog=f"example: {example}")
        added.set_defaults(command=name)
        return added

    train = command("train", "Train on the channels and write the model.", "lesion train --root local_test/test_dir")
    _add_root(train)
    train.add_argument("--no-progress", action="store_true", help="no progress bar, as in the container")

    serve = command("serve", "Serve the model over HTTP: /ping and /invocations.", "lesion serve --root build/demo")
    _add_root(serve)
    serve.add_argument(
        "--no-page", dest="page", action="store_false", help="no web page at / for trying an image by hand"
    )
    serve.add_argument(
        "--audit", action="store_true", help="a line of JSON on stdout for each picture that is answered (LESION_AUDIT)"
    )
    serve.add_argument("--port", type=_port, help="port to listen on (default: SAGEMAKER_BIND_TO_PORT, or 8080)")
    _add_model_options(serve)

    predict = command(
        "predict",
        "Predict the images of a file or a folder, and write a CSV.",
        "lesion predict test.csv --model model --output out.csv",
    )
    predict.add_argument(
        "input",
        type=Path,
        help="a CSV whose images lie beside it as in training, an image, a folder of images, or a file or folder in "
        "another format that training takes",
    )
    predict.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    predict.add_argument("--output", type=Path, required=True, help="the CSV to write")
    _add_set_options(predict)
    _add_model_options(predict)

    explain = command(
        "explain",
        "Show where in each image and in which metadata a prediction lies: overlays, raw maps, and a CSV.",
        "lesion explain images --model model --output build/explained",
    )
    explain.add_argument(
        "input", type=Path, help="an image, a folder of images or another set, as `lesion predict` takes"
    )
    explain.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    explain.add_argument("--output", type=Path, required=True, help="the folder to write to")
    explain.add_argument(
        "--class", dest="class_name", help="class to explain (default: the positive class, or of several the predicted)"
    )
    explain.add_argument(
        "--method",
        help="grad_cam, hires_cam, layer_cam, cam, occlusion or integrated_gradients (default: what training chose)",
    )
    _add_set_options(explain)
    _add_device_options(explain)

    _add_evaluate(command)
    _add_report(command)
    _add_check(command)
    _add_compare(command)
    describe = command(
        "describe",
        "Print the hyperparameters, the recipes, the sources of data, or the metrics in the log.",
        "lesion describe hyperparameters",
    )
    describe.add_argument(
        "what",
        choices=["hyperparameters", "recipes", "sources", "metrics"],
        help="hyperparameters, recipes and sources as Markdown, metrics as SageMaker's MetricDefinitions",
    )
    describe.add_argument("--algorithm", default=DEFAULT, help="algorithm to describe (default: %(default)s)")

    draw = command(
        "sample-data",
        "Draw a synthetic dermoscopy data set for first trials.",
        "lesion sample-data build/data",
    )
    draw.add_argument("directory", type=Path, help="where to write train.csv, train_jpg/, test.csv and test_jpg/")
    draw.add_argument("--num-images", type=int, default=300, help="training images (default: %(default)s)")
    draw.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")

    _add_export(commands)
    summary = "Prepare a data set for `lesion train`."
    prepare = commands.add_parser("prepare", help=summary, description=summary)
    kinds = prepare.add_subparsers(required=True, metavar="WHAT")
    _add_tiles(kinds)
    _add_shards(kinds)
    return whole


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line as `command` and its options. Ends the program, as argparse does, where it is wrong."""
    if arguments[:1] == [TRAIN_PROCESS]:
        return _process_parser().parse_args(arguments[1:])
    whole = parser()
    args, others = whole.parse_known_args(arguments)
    is_folder = len(others) == 1 and not others[0].startswith("-")
    if is_folder and args.command in ("train", "serve"):
        whole.error(_about_root(args.command, Path(others[0])))
    if others:
        whole.error(f"unrecognized arguments: {' '.join(others)}")
    return args


def _about_root(command: str, folder: Path) -> str:
    """What to type instead of a folder without --root before it."""
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


def _process_parser() -> argparse.ArgumentParser:
    """The parser of a training process, which `train` starts. Not for people, so `parser` does not list it."""
    process = argparse.ArgumentParser(prog=f"lesion {TRAIN_PROCESS}")
    process.set_defaults(command=TRAIN_PROCESS)
    _add_root(process)
    process.add_argument("--progress", action="store_true")
    process.add_argument("--process", type=int, default=0)
    process.add_argument("--processes", type=int, default=1)
    process.add_argument("--shared", type=Path, required=True)
    return process


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= sagemaker.MAX_PORT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port, a whole number from 1 to {sagemaker.MAX_PORT}")
    return int(text)


def _add_evaluate(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    evaluate = command(
        "evaluate",
        "Evaluate a model on a labelled set of its own: predictions, metrics, and a report beside that of training.",
        "lesion evaluate other_hospital --model model --output build/evaluation --set target_column=diagnosis",
    )
    evaluate.add_argument(
        "input", type=Path, help="a table with images, class folders or another set with labels, as training takes it"
    )
    evaluate.add_argument(
        "--model", type=Path, required=True, help="the folder of the artifact, a model.tar.gz, or a folder with one"
    )
    evaluate.add_argument("--output", type=Path, required=True, help="the folder to write to")
    evaluate.add_argument("--source", default="auto", help="format of the input, as in training (default: recognised)")
    evaluate.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a training hyperparameter of the table: target_column, group_column, image_column, class_name_column, "
        "label_separator, on_uncertain or report_names; may be repeated (default: as in training)",
    )
    evaluate.add_argument("--no-progress", action="store_true", help="no progress bar")
    _add_device(evaluate)
    _add_answer_options(evaluate)


def _add_report(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    report = command(
        "report",
        "Write report.html and the model cards again, from report.json alone.",
        "lesion report my_job --output build/report",
    )
    report.add_argument(
        "folder", type=Path, help="a job's folder, that of its results or of an evaluation, or a report.json"
    )
    report.add_argument("--output", type=Path, help="the folder to write to (default: where report.json lies)")


def _add_check(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    check = command(
        "check",
        "Check a data set before training, and list what is wrong.",
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
        help="a training hyperparameter; may be repeated",
    )
    check.add_argument(
        "--output", type=Path, default=Path("check"), help="where to write check.json and check.html (default: check)"
    )
    check.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_compare(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    compare = command(
        "compare",
        "Compare two jobs' out-of-fold predictions of the same images.",
        "lesion compare job_a job_b --margin 0.02 --output comparison.json",
    )
    compare.add_argument("run_a", type=Path, help="a job's folder, the folder of its results, or its oof.csv")
    compare.add_argument("run_b", type=Path, help="the other; differences are this one minus the first")
    compare.add_argument(
        "--margin",
        type=float,
        default=0.02,
        help="how much lower a ROC AUC still counts as not inferior (default: %(default)s)",
    )
    compare.add_argument("--output", type=Path, help="a JSON file to write, with every image that changed sides")


def _add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    summary = "Export a model to a format of other programs."
    export = commands.add_parser("export", help=summary, description=summary)
    formats = export.add_subparsers(required=True, metavar="FORMAT")
    onnx = formats.add_parser(
        "onnx",
        help="Write the networks as one ONNX model.",
        description="Write the networks as one ONNX model: RGB squares (and encoded metadata) to mean probabilities.",
        epilog="example: lesion export onnx --model model --output model.onnx",
    )
    onnx.set_defaults(command="export onnx")
    onnx.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    onnx.add_argument("--output", type=Path, required=True, help="the file to write")
    onnx.add_argument("--fold", type=int, help="one fold's network instead of the mean of all")


def _add_tiles(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tiles = kinds.add_parser(
        "tiles",
        help="Cut slides into tiles.",
        description="Cut whole slides and large images into tiles, with train.csv beside them.",
        epilog="example: lesion prepare tiles slides --output build/tiles --labels slides.csv",
    )
    tiles.set_defaults(command="prepare tiles")
    tiles.add_argument("input", type=Path, help="a slide or image, or a folder of them")
    tiles.add_argument(
        "--output", type=Path, required=True, help="a new folder, or one that the same command left unfinished"
    )
    tiles.add_argument("--size", type=int, default=256, help="a tile's side in pixels (default: %(default)s)")
    resolution = tiles.add_mutually_exclusive_group()
    resolution.add_argument(
        "--magnification",
        type=float,
        help="magnification of the tiles (default: 20, or --level-0 if no slide states its magnification)",
    )
    resolution.add_argument("--mpp", type=float, help="resolution of the tiles in µm per pixel; 0.5 is 20×")
    resolution.add_argument("--level-0", action="store_true", help="cut at the slide's full resolution (level 0)")
    tiles.add_argument(
        "--overlap", type=int, default=0, help="overlap of neighbouring tiles in pixels (default: %(default)s)"
    )
    tiles.add_argument(
        "--min-tissue", type=float, default=0.5, help="smallest share of tissue in a tile (default: %(default)s)"
    )
    tiles.add_argument(
        "--labels", type=Path, help="a CSV with file and target of each slide; its other columns are copied"
    )
    tiles.add_argument("--target-column", help="target column of --labels (default: target, or label)")
    tiles.add_argument(
        "--annotations",
        type=Path,
        help="a folder of GeoJSON (QuPath), XML (ASAP, ImageScope) or JSON (HistomicsUI), each named as its slide",
    )
    tiles.add_argument(
        "--positive",
        action="append",
        default=[],
        help="an annotation class that is positive; may be repeated (default: the only one there is)",
    )
    tiles.add_argument(
        "--exclude",
        action="append",
        default=[],
        help="an annotation class that is cut out of the positive ones; may be repeated",
    )
    tiles.add_argument(
        "--label-from",
        choices=["centre", "area"],
        default="centre",
        help="part of a tile that annotations must overlap: its middle third, or all (default: %(default)s)",
    )
    tiles.add_argument(
        "--min-overlap",
        type=float,
        default=0.5,
        help="smallest share of that part in positive annotations; 0: one pixel (default: %(default)s)",
    )
    tiles.add_argument(
        "--format", choices=["jpg", "png"], default="jpg", help="file format of the tiles (default: %(default)s)"
    )
    tiles.add_argument("--workers", type=int, help="number of threads (default: one per core)")
    tiles.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_shards(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    shards = kinds.add_parser(
        "shards",
        help="Check and resize images into WebDataset shards.",
        description="Check and resize the images of a data set into WebDataset shards, with a data card.",
        epilog="example: lesion prepare shards data --output build/shards --size 512",
    )
    shards.set_defaults(command="prepare shards")
    shards.add_argument("input", type=Path, help="a data set in any format that training takes")
    shards.add_argument(
        "--output", type=Path, required=True, help="a new folder, or one that the same command left unfinished"
    )
    shards.add_argument(
        "--size", type=int, default=512, help="shorter side in pixels; images are never enlarged (default: %(default)s)"
    )
    shards.add_argument("--quality", type=int, default=95, help="JPEG quality (default: %(default)s)")
    shards.add_argument("--rows", type=int, default=1000, help="images per shard (default: %(default)s)")
    shards.add_argument("--seed", type=int, default=0, help="random seed of the order of rows (default: %(default)s)")
    shards.add_argument(
        "--engine",
        choices=["processes", "ray"],
        default="processes",
        help="processes on this machine, or the Ray cluster of RAY_ADDRESS (default: %(default)s)",
    )
    shards.add_argument("--workers", type=int, help="number of processes (default: one per core)")
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


def _add_set_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", default="auto", help="format of the input, as in training (default: recognised)")
    parser.add_argument("--image-column", help="column that names the images (default: as in training)")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    _add_device_options(parser)
    _add_answer_options(parser)


def _add_answer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        help="precision of the CPU graph (default: auto, bf16 if the CPU supports it and the graph passed its test)",
    )
    parser.add_argument(
        "--operating-point",
        metavar="POINT",
        help="what labels are decided by: youden, sensitivity=0.95, specificity=0.9, cost=10 or threshold=0.3 "
        "(default: as training chose)",
    )


def _add_device_options(parser: argparse.ArgumentParser) -> None:
    _add_device(parser)
    parser.add_argument("--fold", type=int, help="use one fold's network instead of all")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="device that computes (default: %(default)s)"
    )


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value
