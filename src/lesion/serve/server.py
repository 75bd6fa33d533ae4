"""Server: gunicorn around the app. The same on a laptop and in the container."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from flask import Flask
from gunicorn.app.base import BaseApplication

from lesion.algorithms.classify.load import Device, Wanted, load
from lesion.artifact import load_manifest
from lesion.environment import limit_heaps, resident_bytes, usable_memory_bytes
from lesion.errors import LesionError
from lesion.serve import worker
from lesion.serve.app import Limits, create_app

log = logging.getLogger(__name__)

RESERVE_BYTES, LEAST_BYTES = 2**27, 2**25
GUNICORN_BOOT_ERROR = 3  # a worker that ends with it makes gunicorn end too, instead of starting the worker again


class Settings(worker.Settings, Protocol):
    """What the server needs to be told; sagemaker.ServerSettings is one."""

    @property
    def max_payload_mib(self) -> int: ...
    @property
    def max_bodies_mib(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def max_wait_ms(self) -> int: ...
    @property
    def num_cores(self) -> int: ...
    @property
    def has_metrics(self) -> bool: ...


def serve(
    model_dir: Path,
    settings: Settings,
    *,
    port: int,
    device: Device,
    fold: int | None,
    precision: Wanted,
    has_page: bool,
) -> int:
    """Serves the artifact in `model_dir` until SIGTERM.

    The exit status: 0 stopped, else the artifact could not be loaded.
    """

    def make_app() -> Flask:
        return load_app(model_dir, settings, device=device, fold=fold, precision=precision, has_page=has_page)

    try:
        _Gunicorn(make_app, worker.gunicorn_settings(settings, port)).run()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def load_app(
    model_dir: Path,
    settings: Settings,
    *,
    device: Device,
    fold: int | None,
    precision: Wanted,
    has_page: bool,
) -> Flask:
    """The app, once its model answers. Ends the process with one clear line if the artifact cannot be used.

    Called in the worker, so that gunicorn's own process stays small.
    """
    started = time.monotonic()
    limit_heaps()
    num_cores = max(settings.num_cores // settings.num_workers, 1)
    try:
        load_manifest(model_dir)  # before anything large is imported: a folder with no artifact is told at once
        predictor = load(model_dir, device=device, num_cores=num_cores, fold=fold, precision=precision)
        # The first pass is slow, and shows that the model answers.
        for lane in predictor.lanes:
            lane([predictor.prepare(np.zeros((64, 64, 3), np.uint8), {})])
    except LesionError as error:
        log.error("error: the model cannot be served: %s", error)
        raise SystemExit(GUNICORN_BOOT_ERROR) from None
    log.info(
        "ready model=%s version=%s folds=%d backend=%s lanes=%d seconds=%.1f",
        model_dir,
        predictor.manifest.version,
        len(predictor.folds),
        predictor.backend.replace(" ", "-"),
        len(predictor.lanes),
        time.monotonic() - started,
    )
    memory_bytes = _free_memory_bytes(settings.num_workers)
    log.info("memory resident_mib=%d free_mib=%d", resident_bytes() >> 20, memory_bytes >> 20)
    limits = Limits(
        max_payload_mib=settings.max_payload_mib,
        max_pixels=settings.max_pixels,
        max_requests=settings.max_requests,
        max_bodies_mib=settings.max_bodies_mib,
        memory_bytes=memory_bytes,
        max_wait_s=settings.max_wait_ms / 1000,
        hung_s=settings.timeout_s,
    )
    return create_app(
        predictor, limits=limits, num_cores=num_cores, has_metrics=settings.has_metrics, has_page=has_page
    )


def _free_memory_bytes(num_workers: int) -> int:
    """What this worker may take for requests: its share of the container's memory, less the loaded model and a reserve
    for what the model computes with, and for what the heap cannot give back.
    """
    share = usable_memory_bytes() // num_workers
    return max(share - resident_bytes() - RESERVE_BYTES - share // 8, LEAST_BYTES)


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
