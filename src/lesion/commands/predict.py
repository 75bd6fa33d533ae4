"""Predict: a set of images to a CSV."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion.commands.options import add_answer, add_engine, add_set_options, set_options

SUMMARY = "Predict the images of a file or a folder, and write a CSV."
EXAMPLE = "lesion predict test.csv --model model --output out.csv"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "input",
        type=Path,
        help="a CSV whose images lie beside it as in training, an image, a folder of images, or a file or folder in "
        "another format that training takes",
    )
    parser.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    parser.add_argument("--output", type=Path, required=True, help="the CSV to write")
    parser.add_argument(
        "--maps",
        type=Path,
        help="a folder for maps (algorithm=anomaly): map and overlay of each image as PNG, polygons for QuPath "
        "(GeoJSON), heat maps of slides, and slides.csv",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=1024,
        help="images per part of a large set; finished parts are kept if the command is killed (default: %(default)s)",
    )
    add_engine(parser)
    parser.add_argument(
        "--workers", type=int, default=1, help="number of processes, which share the cores (default: %(default)s)"
    )
    add_set_options(parser)
    add_answer(parser)


def run(args: Namespace) -> int:
    from lesion.predict_files import predict_files

    num_failed = predict_files(
        args.input,
        model_dir=args.model,
        output=args.output,
        **set_options(args),
        precision=args.precision or "auto",
        operating_point=args.operating_point,
        maps=args.maps,
        rows_per_part=args.rows,
        engine=args.engine,
        num_workers=args.workers,
    )
    return 2 if num_failed else 0
