"""Warm: `lesion` commands in forks of one process that has imported torch and what else a job needs; 3 s less for each.

A fork is a process of its own: with its environment, output, affinity, signals and exit status, and `lesion train` in
one has its training processes below it, as forks again. What differs from a command that was started: modules are there
already, and what glibc, OpenMP and Python read as they start (MALLOC_*, GLIBC_TUNABLES, OMP_*, PYTHON*), or a library
as it is imported (HF_*), is what this test run was started with. Tests of those, and of what a command imports, start
a process anew (`processes.cold_lesion`).

As a program (`warm.py FD`) it is the parent, which waits for requests on a socket. It starts no thread of its own and
asks for no GPU, since neither outlives a fork.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import logging
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn

LIMIT_S = 120  # no test waits longer for anything
MESSAGE_BYTES = 1 << 17

# Of others, what a command imports when it comes to it.
LIBRARIES = (
    *("sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "sklearn.pipeline", "scipy.cluster.vq"),
    *("matplotlib.backends.backend_agg", "matplotlib.figure", "tensorboardX.summary", "openvino", "jinja2"),
)


class Command:
    """A `lesion` command that runs, or has ended: what tests use of subprocess.Popen."""

    def __init__(self, ends: int) -> None:
        self._ends = os.fdopen(ends)  # tells first the process's number, at its end the status
        told = self._ends.readline()
        assert told, "the warm parent has ended; its error stands on stderr"
        self.pid = int(told)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, negative for a death by signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._ends], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("lesion", timeout or 0)
            self.returncode = int(self._ends.readline())
            self._ends.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    arguments: Sequence[object],
    output: IO[Any],
    errors: IO[Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    cores: Collection[int] | None = None,
    preload: Sequence[str] = (),
) -> Command:
    """`lesion ARGUMENTS`, started, with what it writes in `output`, or its stderr in `errors`.

    It has our environment but for what `environment` says, may use `cores` (None: all that we may), and imports the
    modules `preload` first, found as they are here.
    """
    request = {
        "arguments": [*map(str, arguments)],
        "environment": {**os.environ, **(environment or {})},
        "folder": str(Path.cwd()),
        "path": sys.path,
        "cores": sorted(cores or os.sched_getaffinity(0)),
        "preload": [*preload],
    }
    ends, theirs = os.pipe()
    with open(os.devnull) as nothing:  # noqa: PTH123
        files = [nothing, output, errors or output]
        socket.send_fds(_parent(), [json.dumps(request).encode()], [*(file.fileno() for file in files), theirs])
    os.close(theirs)
    return Command(ends)


@cache
def _parent() -> socket.socket:
    """The way to this test run's parent process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class Fork:
    """A `lesion` command in a fork of this process: what launch.py uses of subprocess.Popen."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        assert [*command[:3]] == [sys.executable, "-m", "lesion.cli"]
        self.pid = _fork(lambda: _run(command[3:], env))
        self.returncode: int | None = None
        self._lock = threading.Lock()

    def wait(self) -> int:
        with self._lock:
            if self.returncode is None:
                self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _fork(work: Callable[[], NoReturn]) -> int:
    """The number of a new process that does `work`."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(int(ended.code or 0))
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(1)
    return pid


def _run(arguments: Sequence[str], environment: Mapping[str, str], preload: Sequence[str] = ()) -> NoReturn:
    """The command, as if this process had just been started."""
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for log in (logging.getLogger(), logging.getLogger("lesion")):  # the parent's, if that is a `lesion train`
        log.handlers.clear()
    logging.captureWarnings(False)
    os.environ.clear()
    os.environ.update(environment)
    for name in preload:
        importlib.import_module(name)
    from lesion import cli, launch

    launch.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": Fork})  # type: ignore[attr-defined]
    cli.main(arguments)
    raise AssertionError("main ends the process")


def _answer(request: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """In a fork of the parent: runs the command in one more, and tells how that ended."""
    *streams, told = files

    def work() -> NoReturn:
        os.close(told)
        for number, file in enumerate(streams):
            os.dup2(file, number)
            os.close(file)
        os.chdir(request["folder"])
        os.sched_setaffinity(0, request["cores"])
        sys.path[:] = request["path"]
        _run(request["arguments"], request["environment"], request["preload"])

    pid = _fork(work)
    with os.fdopen(told, "w") as told_to:
        print(pid, file=told_to, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=told_to)
    os._exit(0)


def main(requests: socket.socket) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # is for those who asked
    import lesion
    from lesion import sagemaker

    sagemaker.prepare_libraries()
    ours = (module.name for module in pkgutil.walk_packages(lesion.__path__, "lesion."))
    for name in (*ours, *LIBRARIES):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a fork's collections leave these pages shared
    while True:
        message, files, _, _ = socket.recv_fds(requests, MESSAGE_BYTES, 4)
        if not message:  # whoever asked has ended
            return
        _fork(lambda: _answer(json.loads(message), files))  # noqa: B023
        for file in files:
            os.close(file)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
