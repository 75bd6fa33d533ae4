"""Prepare shards: a data set to resized images in WebDataset shards."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import sagemaker
from lesion.commands.options import add_engine, add_progress, add_settings, show_progress
from lesion.commands.root_folder import add_root
from lesion.environment import usable_cores
from lesion.errors import UserError, collecting, raise_all

SUMMARY = "Check and resize images into WebDataset shards."
EXAMPLE = "lesion prepare shards data --output build/shards --size 512"


def add(parser: ArgumentParser) -> None:
    parser.description = "Check and resize the images of a data set into WebDataset shards, with a data card."
    parser.set_defaults(check_values=check_values)
    parser.add_argument("input", type=Path, help="a data set in any format that training takes")
    parser.add_argument(
        "--output", type=Path, required=True, help="a new folder, or one that the same command left unfinished"
    )
    parser.add_argument(
        "--size", type=int, default=512, help="shorter side in pixels; images are never enlarged (default: %(default)s)"
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality (default: %(default)s)")
    parser.add_argument("--rows", type=int, default=1000, help="images per shard (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the order of rows (default: %(default)s)")
    add_engine(parser)
    parser.add_argument("--workers", type=int, help="number of processes (default: one per core)")
    add_settings(parser, "a hyperparameter that names columns, the source or on_bad_image; may be repeated")
    add_progress(parser)
    add_root(parser)


def check_values(args: Namespace) -> None:
    """Raises UserError for all values that no data set makes right. Loads neither torch nor pandas."""
    from lesion.algorithms.registry import parse_hyperparameters
    from lesion.prepare.sharding import Sharding

    problems: list[UserError] = []
    with collecting(problems):
        parse_hyperparameters(dict(args.set))
    with collecting(problems):
        Sharding(args.size, args.quality, args.rows, args.seed)
    raise_all(problems)


def run(args: Namespace) -> int:
    check_values(args)
    from lesion.algorithms.registry import parse_hyperparameters
    from lesion.data.channels import columns_of
    from lesion.prepare.sharding import Sharding
    from lesion.prepare.shards import Share, prepare_shards

    _, config = parse_hyperparameters(dict(args.set))
    prepare_shards(
        args.input,
        output=args.output,
        columns=columns_of(config),
        source=config.source,
        sharding=Sharding(args.size, args.quality, args.rows, args.seed, config.on_bad_image == "drop"),
        engine=args.engine,
        num_workers=args.workers or usable_cores(),
        share=Share(*sagemaker.processing_share(args.root)),
        show_progress=show_progress(args),
    )
    return 0
