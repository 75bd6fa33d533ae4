"""Prepare tiles: whole slides and large images to tiles with a table."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion.commands.options import add_progress, show_progress
from lesion.environment import usable_cores

SUMMARY = "Cut slides into tiles."
EXAMPLE = "lesion prepare tiles slides --output build/tiles --labels slides.csv"


def add(parser: ArgumentParser) -> None:
    parser.description = "Cut whole slides and large images into tiles, with train.csv beside them."
    parser.add_argument("input", type=Path, help="a slide or image, or a folder of them")
    parser.add_argument(
        "--output", type=Path, required=True, help="a new folder, or one that the same command left unfinished"
    )
    parser.add_argument("--size", type=int, default=256, help="a tile's side in pixels (default: %(default)s)")
    resolution = parser.add_mutually_exclusive_group()
    resolution.add_argument(
        "--magnification",
        type=float,
        help="magnification of the tiles (default: 20, or --level-0 if no slide states its magnification)",
    )
    resolution.add_argument("--mpp", type=float, help="resolution of the tiles in µm per pixel; 0.5 is 20×")
    resolution.add_argument("--level-0", action="store_true", help="cut at the slide's full resolution (level 0)")
    parser.add_argument(
        "--overlap", type=int, default=0, help="overlap of neighbouring tiles in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--min-tissue", type=float, default=0.5, help="smallest share of tissue in a tile (default: %(default)s)"
    )
    parser.add_argument(
        "--labels", type=Path, help="a CSV with file and target of each slide; its other columns are copied"
    )
    parser.add_argument("--target-column", help="target column of --labels (default: target, or label)")
    parser.add_argument(
        "--annotations",
        type=Path,
        help="a folder of GeoJSON (QuPath), XML (ASAP, ImageScope) or JSON (HistomicsUI), each named as its slide",
    )
    parser.add_argument(
        "--positive",
        action="append",
        default=[],
        help="an annotation class that is positive; may be repeated (default: the only one there is)",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        help="an annotation class that is cut out of the positive ones; may be repeated",
    )
    parser.add_argument(
        "--label-from",
        choices=["centre", "area"],
        default="centre",
        help="part of a tile that annotations must overlap: its middle third, or all (default: %(default)s)",
    )
    parser.add_argument(
        "--min-overlap",
        type=float,
        default=0.5,
        help="smallest share of that part in positive annotations; 0: one pixel (default: %(default)s)",
    )
    parser.add_argument(
        "--format", choices=["jpg", "png"], default="jpg", help="file format of the tiles (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, help="number of threads (default: one per core)")
    add_progress(parser)


def run(args: Namespace) -> int:
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
        show_progress=show_progress(args),
    )
    return 0
