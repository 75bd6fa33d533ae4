"""Drift: what an endpoint captured, beside what the model was trained on."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from lesion import console
from lesion.environment import usable_cores
from lesion.errors import LesionError

SUMMARY = "Compare captured requests and answers with training: scores, labels, images, and what is refused."
EXAMPLE = "lesion drift captured --model model --output build/drift"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "captured",
        type=Path,
        nargs="?",
        metavar="CAPTURED",
        help="a folder of the endpoint's data capture, or one file of it (default: dataset_source, which a monitoring "
        "schedule sets)",
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="the folder of the artifact, a model.tar.gz, or a folder with one (default: /opt/ml/processing/model, or "
        "what baseline_statistics or baseline_constraints names)",
    )
    parser.add_argument("--output", type=Path, help="the folder to write to (default: output_path)")
    parser.add_argument(
        "--alpha",
        type=_share,
        help="how often, at most, a report without drift may show some: above 0, below 1 (default: 0.01)",
    )
    parser.add_argument(
        "--operating-point",
        metavar="POINT",
        help="what the endpoint decides labels by, if it was told (default: LESION_OPERATING_POINT, else as training "
        "chose)",
    )


def run(args: Namespace) -> int:
    from lesion import sagemaker_monitoring as monitoring
    from lesion.drift.run import find_drift
    from lesion.evaluation.drift import ALPHA
    from lesion.sagemaker import read_server_settings

    try:
        job = monitoring.read_monitoring_job(captured=args.captured, model=args.model, output=args.output)
        said, message = find_drift(
            job,
            alpha=ALPHA if args.alpha is None else args.alpha,
            operating_point=args.operating_point or read_server_settings().operating_point,
            num_cores=usable_cores(),
        )
    except LesionError as error:
        if monitoring.is_monitoring():
            monitoring.write_exit_message(f"Failed: {error}")
        raise
    if monitoring.is_monitoring():
        monitoring.write_exit_message(message)
    console.say(f"{said}\nreport: {job.output / 'drift.html'}")
    return 0


def _share(text: str) -> float:
    value = float(text)  # argparse words a ValueError
    if not 0 < value < 1:
        raise ArgumentTypeError(f"'{text}' is not between 0 and 1")
    return value
