"""Serve: an artifact behind HTTP."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from lesion import sagemaker
from lesion.commands.options import add_answer, add_device, add_fold, device
from lesion.commands.root_folder import add_root

if TYPE_CHECKING:
    from lesion.algorithms.base import Predictor

SUMMARY = "Serve the model over HTTP: /ping and /invocations."
EXAMPLE = "lesion serve --root build/demo"


def add(parser: ArgumentParser) -> None:
    add_root(parser)
    parser.add_argument(
        "--no-page", dest="page", action="store_false", help="no web page at / for trying an image by hand"
    )
    parser.add_argument(
        "--audit", action="store_true", help="a line of JSON on stdout for each picture that is answered (LESION_AUDIT)"
    )
    parser.add_argument("--port", type=_port, help="port to listen on (default: SAGEMAKER_BIND_TO_PORT, or 8080)")
    add_device(parser)
    add_fold(parser)
    add_answer(parser)


def run(args: Namespace) -> int:
    from lesion.algorithms.written_by import algorithm_of_artifact
    from lesion.serve.server import serve

    settings, model_dir = sagemaker.read_server_settings(), args.root / "model"
    computes_on = device(args)

    def load() -> Predictor:
        algorithm = algorithm_of_artifact(model_dir)  # before anything large is imported: a wrong folder is refused
        return algorithm.load(
            model_dir,
            device=computes_on,
            num_cores=settings.num_cores,
            fold=args.fold,
            precision=args.precision or settings.precision,
            operating_point=args.operating_point or settings.operating_point,
        )

    return serve(
        load,
        settings.limits,
        model_dir=model_dir,
        port=args.port or settings.port,
        num_workers=settings.num_workers,
        num_cores=settings.num_cores,
        has_metrics=settings.has_metrics,
        has_audit=settings.has_audit or args.audit,
        has_page=args.page,
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= sagemaker.MAX_PORT:
        raise ArgumentTypeError(f"'{text}' is not a port, a whole number from 1 to {sagemaker.MAX_PORT}")
    return int(text)
