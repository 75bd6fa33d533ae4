"""Check: what is wrong with a data set, before training."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import console, sagemaker
from lesion.commands.options import add_progress, add_settings, show_progress
from lesion.environment import usable_cores
from lesion.errors import UserError, collecting, raise_all

SUMMARY = "Check a data set before training, and list what is wrong."
EXAMPLE = "lesion check data --set group_column=lesion_id --output build/check"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "data", type=Path, help="a training channel's folder, or a whole job as `train --root` takes it"
    )
    parser.add_argument("--validation", type=Path, help="a validation channel's folder")
    parser.add_argument("--test", type=Path, help="a test channel's folder")
    add_settings(parser, "a training hyperparameter; may be repeated")
    parser.add_argument(
        "--output", type=Path, default=Path("check"), help="where to write check.json and check.html (default: check)"
    )
    add_progress(parser)


def run(args: Namespace) -> int:
    from lesion.algorithms.registry import parse_hyperparameters
    from lesion.data.decode.reading import check_given

    problems: list[UserError] = []
    for path in filter(None, (args.data, args.validation, args.test)):
        with collecting(problems):
            check_given(path)
    raise_all(problems)
    channels, hyperparameters = {"training": args.data}, {}
    if (args.data / "input" / "data").is_dir():  # a whole job, as `train --root` takes it
        job = sagemaker.read_job(args.data)
        channels, hyperparameters = dict(job.channels), dict(job.hyperparameters)
    for name in ("validation", "test"):
        if getattr(args, name) is not None:
            channels[name] = getattr(args, name)
    algorithm, config = parse_hyperparameters({**hyperparameters, **dict(args.set)})
    report = algorithm.check(
        config, channels, output=args.output, num_workers=usable_cores(), show_progress=show_progress(args)
    )
    console.say(f"{report.as_text()}\nwith images: {args.output / 'check.html'}")
    return UserError.exit_code if report.num("error") else 0
