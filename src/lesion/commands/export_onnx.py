"""Export ONNX: an artifact's networks for other programs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

SUMMARY = "Write the networks as one ONNX model."
EXAMPLE = "lesion export onnx --model model --output model.onnx"


def add(parser: ArgumentParser) -> None:
    parser.description = (
        "Write the networks as one ONNX model: RGB squares (and encoded metadata) to mean probabilities."
    )
    parser.add_argument("--model", type=Path, required=True, help="the folder of the artifact")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--fold", type=int, help="one fold's network instead of the mean of all")


def run(args: Namespace) -> int:
    from lesion.algorithms.written_by import algorithm_of_artifact

    algorithm_of_artifact(args.model).export_onnx(args.model, args.output, fold=args.fold)
    return 0
