"""Server: gunicorn around the app. The same on a laptop and in the container."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.workers.base import Worker

from lesion.algorithms.base import Predictor
from lesion.environment import limit_heaps, resident_bytes, usable_memory_bytes
from lesion.errors import LesionError, PlatformError, UserError
from lesion.serve import worker
from lesion.serve.app import create_app
from lesion.serve.audit import STDOUT, Audit
from lesion.serve.limits import Limits

log = logging.getLogger(__name__)

BACKLOG = 512  # connections that wait while the model loads
MAX_EARLY_DEATHS = 3  # of workers in a row that were never ready; then the server ends
RESERVE_BYTES, LEAST_BYTES = 2**27, 2**25
GUNICORN_BOOT_ERROR = 3  # a worker that ends with it makes gunicorn end too, instead of starting the worker again


def serve(
    load: Callable[[], Predictor],
    limits: Limits,
    *,
    model_dir: Path,
    port: int,
    num_workers: int,
    num_cores: int,
    has_metrics: bool,
    has_audit: bool,
    has_page: bool,
) -> int:
    """Serves the predictor that `load` gives until SIGTERM: each worker loads its own, and has `num_cores` for it.

    The exit status: 0 stopped, else the artifact could not be loaded. Raises UserError for a port that is taken.
    """

    def make_app() -> Flask:
        return load_app(
            load,
            limits,
            model_dir=model_dir,
            num_workers=num_workers,
            num_cores=num_cores,
            has_metrics=has_metrics,
            has_audit=has_audit,
            has_page=has_page,
        )

    application = _Gunicorn(make_app, worker.gunicorn_settings(limits, num_workers, listen(port)))
    try:
        _Arbiter(application).run()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def listen(port: int) -> socket.socket:
    """A socket that takes connections on this port, by IPv4 and, where the machine has it, by IPv6.

    Raises UserError for a port that is taken or needs rights, PlatformError where the machine has no network.
    """
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        if error.errno in {errno.EADDRINUSE, errno.EACCES}:
            what = "taken by another program" if error.errno == errno.EADDRINUSE else "not open to this user"
            do = "Choose another with --port or SAGEMAKER_BIND_TO_PORT, or end that program."
            raise UserError(f"port {port} is {what}", do=do, kind="port") from error
        what, do = f"port {port} cannot be listened on: {error.strerror}", "Give the container a network."
        raise PlatformError(what, do=do, kind="port") from error


def load_app(
    load: Callable[[], Predictor],
    limits: Limits,
    *,
    model_dir: Path,
    num_workers: int,
    num_cores: int,
    has_metrics: bool,
    has_audit: bool,
    has_page: bool,
) -> Flask:
    """The app with its loaded model. Ends the process with one clear line if the artifact cannot be used.

    Called in the worker, so that gunicorn's own process stays small.
    """
    started = time.monotonic()
    limit_heaps()
    try:
        predictor = load()  # its first pass, which is slow and shows that the model answers, is part of it
    except LesionError as error:
        log.error("error: the model cannot be served: %s", error)
        raise SystemExit(GUNICORN_BOOT_ERROR) from None
    log.info(
        "ready model=%s version=%s backend=%s executors=%d seconds=%.1f",
        model_dir,
        predictor.manifest.version,
        predictor.backend.replace(" ", "-"),
        len(predictor.executors),
        time.monotonic() - started,
    )
    memory_bytes = _free_memory_bytes(num_workers)
    log.info("memory resident_mib=%d free_mib=%d", resident_bytes() >> 20, memory_bytes >> 20)
    return create_app(
        predictor,
        limits=replace(limits, memory_bytes=memory_bytes),
        num_cores=num_cores,
        has_metrics=has_metrics,
        audit=Audit(STDOUT if has_audit else None),
        has_page=has_page,
        on_death=_end_worker,
    )


def _end_worker() -> None:
    """Stops this process after the requests in progress; gunicorn starts another."""
    log.error("a thread that decodes or computes has ended or hangs: this worker stops, and another is started")
    os.kill(os.getpid(), signal.SIGTERM)


class _Arbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's parent process, which ends with a message if worker after worker dies before it is ready.

    gunicorn itself would restart workers forever: a model too large for the container would be loaded endlessly.
    """

    def __init__(self, app: BaseApplication) -> None:
        super().__init__(app)
        self._ready = mmap.mmap(-1, mmap.PAGESIZE)  # shared with the workers: a byte for each, 1 once it is ready
        self._num_early_deaths = 0
        self.cfg.set("post_worker_init", self._note_ready)
        self.cfg.set("child_exit", self._note_death)
        self._last_signal: int | None = None
        self.log.error_log.addFilter(_says_something_new)

    def reap_workers(self) -> None:
        """As gunicorn's, and remembers how a worker ended."""
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is not None and ended.si_code != os.CLD_EXITED:
                self._last_signal = ended.si_status
        super().reap_workers()

    def _note_ready(self, worker: Worker) -> None:
        self._ready[worker.age % mmap.PAGESIZE] = 1

    def _note_death(self, _: Arbiter, worker: Worker) -> None:
        place = worker.age % mmap.PAGESIZE
        self._num_early_deaths = 0 if self._ready[place] else self._num_early_deaths + 1
        self._ready[place] = 0
        if self._num_early_deaths == MAX_EARLY_DEATHS:
            log.error("error: the model cannot be served: %s", _why_it_died(self._last_signal))
            raise HaltServer("the server's process ended before it was ready", GUNICORN_BOOT_ERROR)


def _says_something_new(record: logging.LogRecord) -> bool:
    """Whether a log line of gunicorn is new: not the exit of a worker that we have already explained."""
    is_end = record.msg in {"Shutting down: %s", "Reason: %s"}
    is_told = record.msg == "Worker (pid:%s) exited with code %s." and record.args[1:] == (GUNICORN_BOOT_ERROR,)  # type: ignore[index]
    return not is_end and not is_told


def _why_it_died(number: int | None) -> str:
    start = f"{MAX_EARLY_DEATHS} times in a row its process ended before it was ready"
    if number == signal.SIGKILL:
        memory = usable_memory_bytes() / 2**20
        return (
            f"{start}, killed by SIGKILL, most likely out of memory: available are {memory:,.0f} MiB. "
            "Give the container more memory, or serve a smaller model."
        )
    how = "" if number is None else f", by {signal.Signals(number).name}"
    return f"{start}{how}. The log above says more; if nothing does, the graph may be damaged: copy the artifact again."


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
