"""Server: gunicorn around the app, with its settings and the reason for each.

The same on a laptop and in the container.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from flask import Flask
from gunicorn.app.base import BaseApplication

from lesion.artifact import load_manifest
from lesion.errors import LesionError, UserError
from lesion.serve.app import create_app

log = logging.getLogger(__name__)

GUNICORN_BOOT_ERROR = 3  # a worker that ends with it makes gunicorn end too, instead of starting the worker again


class Settings(Protocol):
    """What the server needs to be told; sagemaker.ServerSettings is one."""

    @property
    def max_payload_mib(self) -> int: ...
    @property
    def num_threads(self) -> int: ...
    @property
    def num_cores(self) -> int: ...
    @property
    def timeout_s(self) -> int: ...


def serve(
    model_dir: Path, settings: Settings, *, port: int, device: Literal["auto", "cpu", "cuda"], fold: int | None
) -> int:
    """Serves the artifact in `model_dir` until SIGTERM.

    The exit status: 0 stopped, else the artifact could not be loaded.
    """

    def make_app() -> Flask:
        return load_app(model_dir, settings, device=device, fold=fold)

    try:
        _Gunicorn(make_app, gunicorn_settings(settings, port)).run()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def gunicorn_settings(settings: Settings, port: int) -> dict[str, Any]:
    return {
        "bind": f"0.0.0.0:{port}",
        # One process, since each would hold its own copy of the model; threads read bodies and decode side by side.
        "workers": 1,
        "worker_class": "gthread",
        "threads": settings.num_threads,
        # The model loads in the worker, after the fork, which CUDA does not survive. Until then connections wait.
        "preload_app": False,
        "backlog": 512,
        "timeout": settings.timeout_s,  # longer than SageMaker's 60 s, so that only a hung worker meets it
        "graceful_timeout": 25,  # SageMaker kills 30 s after SIGTERM
        "keepalive": 65,  # longer than the platform's own, so that it never writes to a connection we just closed
        "worker_tmp_dir": "/tmp",  # noqa: S108  the one place that is writable on a read-only container
        "control_socket_disable": True,
        "accesslog": None,
        "loglevel": "warning",
    }


def load_app(model_dir: Path, settings: Settings, *, device: Literal["auto", "cpu", "cuda"], fold: int | None) -> Flask:
    """The app, once its model answers. Ends the process with one clear line if the artifact cannot be used."""
    started = time.monotonic()
    try:
        load_manifest(model_dir)  # before torch is imported: a folder with no artifact is told at once
        if importlib.util.find_spec("torch") is None:
            raise UserError(
                "this image has no torch, and the artifact holds no graph for it",
                where=model_dir,
                do="Serve it with the image that trained it.",
                kind="artifact",
            )
        from lesion.algorithms.classify.predict import load  # in the worker: the parent stays small
        from lesion.engine.device import limit_threads, pick_device

        limit_threads(settings.num_cores)
        predictor = load(model_dir, pick_device(device), fold=fold)
        # The first pass is slow, and shows that the model answers.
        predictor.predict([np.zeros((64, 64, 3), np.uint8)], [{}])
    except LesionError as error:
        log.error("error: the model cannot be served: %s", error)
        raise SystemExit(GUNICORN_BOOT_ERROR) from None
    log.info(
        "ready model=%s folds=%d seconds=%.1f", model_dir, len(predictor.manifest.folds), time.monotonic() - started
    )
    return create_app(predictor, max_payload_mib=settings.max_payload_mib)


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """gunicorn started from Python, with settings from a dictionary and none from files, flags or the environment."""

    def __init__(self, make_app: Callable[[], Flask], settings: Mapping[str, Any]) -> None:
        self._make_app, self._settings = make_app, settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make_app()
