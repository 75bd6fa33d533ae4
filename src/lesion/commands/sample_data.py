"""Sample data: a data set that is drawn, for first trials."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import console

SUMMARY = "Draw a synthetic data set for first trials: dermoscopy, or tissue with planted anomalies."
EXAMPLE = "lesion sample-data build/data"


def add(parser: ArgumentParser) -> None:
    parser.add_argument("directory", type=Path, help="where to write train.csv, train_jpg/, test.csv and test_jpg/")
    parser.add_argument(
        "--kind",
        choices=("dermoscopy", "tissue"),
        default="dermoscopy",
        help="dermoscopy: for classification; tissue: for algorithm=anomaly, with masks (default: %(default)s)",
    )
    parser.add_argument("--num-images", type=int, default=300, help="training images (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same images (default: %(default)s)")


def run(args: Namespace) -> int:
    if args.kind == "tissue":
        from lesion.data.sample_tissue import draw_tissue as draw
    else:
        from lesion.data.sample_data import draw_dataset as draw

    draw(args.directory, num_images=args.num_images, seed=args.seed)
    console.say(f"{args.num_images} synthetic images in {args.directory}")
    return 0
