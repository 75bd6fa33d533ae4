"""Options: what several commands can be told in the same words, and what it means."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Literal, TypedDict, cast

from lesion import launch
from lesion.environment import usable_cores

log = logging.getLogger(__name__)


def add_input_format(parser: ArgumentParser) -> None:
    parser.add_argument("--source", default="auto", help="format of the input, as in training (default: recognised)")


def add_settings(parser: ArgumentParser, help_: str) -> None:
    """--set NAME=VALUE, which `dict(args.set)` collects; `help_` says which hyperparameters can be named."""
    parser.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help=help_)


def add_progress(parser: ArgumentParser, help_: str = "no progress bar") -> None:
    parser.add_argument("--no-progress", action="store_true", help=help_)


def show_progress(args: Namespace) -> bool:
    """Whether to draw a progress bar: on a terminal only."""
    return not args.no_progress and sys.stderr.isatty()


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="device that computes (default: %(default)s)"
    )


def device(args: Namespace) -> Literal["auto", "cpu", "cuda"]:
    """The device that --device asks for; auto without a GPU is cpu, so that torch need not be imported."""
    if args.device == "auto" and not launch.num_gpus():
        log.info("no GPU found: using the CPU")
        return "cpu"
    return cast(Literal["auto", "cpu", "cuda"], args.device)


def add_fold(parser: ArgumentParser) -> None:
    parser.add_argument("--fold", type=int, help="use one fold's network instead of all")


class SetOptions(TypedDict):
    """How the rows of a set are read and computed, as `predict_files` and `explain_files` take it."""

    source: str
    image_column: str | None
    device: Literal["auto", "cpu", "cuda"]
    fold: int | None
    num_cores: int
    show_progress: bool


def add_set_options(parser: ArgumentParser) -> None:
    """The options of a command that gives every row of a set an answer, with or without a target."""
    add_input_format(parser)
    parser.add_argument("--image-column", help="column that names the images (default: as in training)")
    add_progress(parser)
    add_device(parser)
    add_fold(parser)


def set_options(args: Namespace) -> SetOptions:
    """What `add_set_options` was told."""
    return {
        "source": args.source,
        "image_column": args.image_column,
        "device": device(args),
        "fold": args.fold,
        "num_cores": usable_cores(),
        "show_progress": show_progress(args),
    }


def add_margin(parser: ArgumentParser, help_: str) -> None:
    """--margin, a difference of two ROC AUCs; `help_` says what of."""
    parser.add_argument("--margin", type=_margin, default=0.02, help=f"{help_} (default: %(default)s)")


def add_engine(parser: ArgumentParser) -> None:
    """What runs the parts of a set that several workers share."""
    parser.add_argument(
        "--engine",
        choices=["processes", "ray"],
        default="processes",
        help="processes on this machine, or the Ray cluster of RAY_ADDRESS (default: %(default)s)",
    )


def add_answer(parser: ArgumentParser, *, of_anomalies: bool = True) -> None:
    """--precision and --operating-point: what an answer is computed with and decided by; `of_anomalies`, if the command
    takes models of anomaly detection too."""
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        help="precision of the CPU graph (default: auto, bf16 if it is faster here and the graph passed its test)",
    )
    parser.add_argument(
        "--operating-point",
        metavar="POINT",
        help="what labels are decided by: youden, sensitivity=0.95, specificity=0.9, cost=10, f_beta=0.5 or "
        f"threshold=0.3{', and for anomaly detection sigma=3' if of_anomalies else ''} (default: as training chose)",
    )


def _margin(text: str) -> float:
    value = float(text)  # argparse words a ValueError
    if not 0 <= value < 1:
        raise ArgumentTypeError(f"{text} is not from 0 to 1: give a difference of AUC, such as 0.02")
    return value


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value
