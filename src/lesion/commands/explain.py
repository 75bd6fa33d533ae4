"""Explain: where in the images of a set, and in which metadata, the predictions lie."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from lesion.commands.options import add_set_options, set_options

SUMMARY = "Show where in each image and in which metadata a prediction lies: overlays, raw maps, and a CSV."
EXAMPLE = "lesion explain images --model model --output build/explained"


def add(parser: ArgumentParser) -> None:
    parser.add_argument(
        "input", type=Path, help="an image, a folder of images or another set, as `lesion predict` takes"
    )
    parser.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument(
        "--class", dest="class_name", help="class to explain (default: the positive class, or of several the predicted)"
    )
    parser.add_argument(
        "--method",
        help="grad_cam, hires_cam, layer_cam, cam, occlusion or integrated_gradients (default: what training chose)",
    )
    add_set_options(parser)


def run(args: Namespace) -> int:
    from lesion.explain_files import explain_files

    num_failed = explain_files(
        args.input,
        model_dir=args.model,
        output=args.output,
        class_name=args.class_name,
        method=args.method,
        **set_options(args),
    )
    return 2 if num_failed else 0
