"""Evaluate: a model on another labelled set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion import console
from lesion.commands.options import (
    add_answer,
    add_device,
    add_input_format,
    add_margin,
    add_progress,
    add_settings,
    device,
    show_progress,
)
from lesion.environment import usable_cores
from lesion.errors import UserError, collecting, raise_all

SUMMARY = "Evaluate a model on a labelled set of its own: predictions, metrics, and a report beside that of training."
EXAMPLE = "lesion evaluate other_hospital --model model --output build/evaluation --set target_column=diagnosis"


def add(parser: ArgumentParser) -> None:
    parser.set_defaults(check_values=check_values)
    parser.add_argument(
        "input", type=Path, help="a table with images, class folders or another set with labels, as training takes it"
    )
    parser.add_argument(
        "--model", type=Path, required=True, help="the folder of the artifact, a model.tar.gz, or a folder with one"
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument(
        "--champion",
        type=Path,
        help="the folder of another model's evaluation on the same set: is this model inferior to it?",
    )
    add_margin(parser, "how much lower a ROC AUC than the champion's still counts as not inferior")
    add_input_format(parser)
    add_settings(
        parser,
        "a training hyperparameter of the table: target_column, group_column, image_column, class_name_column, "
        "label_separator, on_uncertain or report_names; may be repeated (default: as in training)",
    )
    add_progress(parser)
    add_device(parser)
    add_answer(parser, of_anomalies=False)


def check_values(args: Namespace) -> None:
    """Raises UserError for all values that no model and no set make right. Loads neither torch nor pandas."""
    from lesion.algorithms.evaluation_settings import check_settings
    from lesion.data.sources.layouts import check_source
    from lesion.evaluation.operating_points import parse_spec

    problems: list[UserError] = []
    with collecting(problems):
        check_source(args.source)
    with collecting(problems):
        check_settings(dict(args.set))
    if args.operating_point is not None:
        with collecting(problems):
            parse_spec(args.operating_point, where="--operating-point")
    raise_all(problems)


def run(args: Namespace) -> int:
    check_values(args)
    from lesion.algorithms.written_by import algorithm_of_artifact
    from lesion.packed_model import unpacked
    from lesion.verdict import check_champion, write_verdict

    check_champion(args.champion, args.output)
    with unpacked(args.model) as model_dir:
        text = algorithm_of_artifact(model_dir).evaluate(
            model_dir,
            args.input,
            output=args.output,
            source=args.source,
            settings=dict(args.set),
            device=device(args),
            num_cores=usable_cores(),
            precision=args.precision or "auto",
            operating_point=args.operating_point,
            show_progress=show_progress(args),
        )
    verdict = write_verdict(args.output, champion=args.champion, margin=args.margin)
    console.say(f"{text}\n{verdict}\nreport: {args.output / 'report.html'}")
    return 0
