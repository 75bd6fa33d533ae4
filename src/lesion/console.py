"""Console: everything printed on stdout and stderr, one event per line.

A name or a table cell of the user can neither start a new line nor look like a metric. If the reader of our output
closes it, or its disk is full, the work continues.
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import time
import traceback
from pathlib import Path
from typing import TextIO

from lesion.errors import PlatformError, UserError
from lesion.files import refused
from lesion.logs import leave_to_first
from lesion.words import one_line

log = logging.getLogger("lesion")

METRIC_LINE = re.compile(r"metric [a-z_]+:[a-z_0-9]+=[-0-9.a-z]+")  # as Metric.line writes it, alone in its message
METRIC_WORDS = re.compile(r"\bmetric (?=\S*=)")  # what a MetricDefinition would find in the middle of a line


def open_streams() -> None:
    """Opens missing standard streams before any other file: a file would get the number of a closed stream, and printed
    text would land in it.

    Characters that the terminal cannot show become escapes.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def log_to_stdout() -> None:
    """Our lines go to stdout; other libraries' warnings, which may quote a user's words, to stderr by the same door."""
    handler = _LineHandler(sys.stdout)
    handler.setFormatter(_LineFormatter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    others = _LineHandler(sys.stderr)
    others.setFormatter(_LineFormatter())
    others.addFilter(lambda record: not f"{record.name}.".startswith("lesion."))
    logging.getLogger().addHandler(others)
    logging.captureWarnings(True)


def log_as(name: str, *, is_first: bool) -> None:
    """Adds the process's name to each line. Lines about the job come only from the first process of a host."""
    for handler in log.handlers:
        handler.setFormatter(_LineFormatter(f"process={_harmless(name)} "))
    if not is_first:
        leave_to_first("job", below=logging.ERROR)


def say(text: str) -> None:
    """Prints a command's result. Raises PlatformError if it cannot be written; a closed pipe is no error."""
    try:
        print("\n".join(map(_harmless, text.split("\n"))), flush=True)  # noqa: T201
    except OSError as error:
        where = _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise refused(error, where) from error


def complain(reason: object) -> None:
    """Prints one line on stderr, or one for each of several errors; a failure to print is ignored, since there is no
    other place to report it."""
    errors = reason.each if isinstance(reason, UserError) else (reason,)
    for number, error in enumerate(errors, 1):
        place = f" {number} of {len(errors)}" if len(errors) > 1 else ""
        _tell(f"error{place}: {_harmless(str(error))}")


def complain_of_bug(error: BaseException) -> None:
    """Prints a traceback on stderr."""
    _tell(_indented("".join(traceback.format_exception(error))))


def finish() -> None:
    """Flushes both streams, so that the interpreter's exit raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)


def raise_lost_lines() -> None:
    """Raises PlatformError where lines of the log were lost to a disk, and not because their reader went."""
    for handler in log.handlers:
        if isinstance(handler, _LineHandler) and handler.refusal is not None:
            raise handler.refusal


class _LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z PREFIX MESSAGE`, in UTC. A traceback follows in lines that begin with a bar."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._prefix = prefix

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = record.message if METRIC_LINE.fullmatch(record.message) else _harmless(record.message)
        return f"{self.formatTime(record, self.datefmt)}Z {self._prefix}{text}"

    def formatException(self, ei: object) -> str:
        return _indented(super().formatException(ei))  # type: ignore[arg-type]


class _LineHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes lines without breaking a progress bar. After a first failure it writes no more, and reports it once."""

    refusal: PlatformError | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" not in sys.modules:  # then there is no bar to break, and importing it takes 40 ms
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream, nolock=True):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        where = _silence(self.stream)
        if not isinstance(error, BrokenPipeError):
            self.refusal = refused(error, where, "the log cannot be written, though all else was done")
            complain(refused(error, where, "the log cannot be written, and the work goes on without it"))


def _harmless(line: str) -> str:
    """The text as one line that no MetricDefinition matches."""
    line = one_line(line)
    return METRIC_WORDS.sub(r"metric\\x20", line) if "metric " in line else line


def _indented(text: str) -> str:
    return "\n".join(f"| {_harmless(line)}" for line in text.rstrip("\n").split("\n"))


def _tell(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> str:
    """Redirects a stream to /dev/null. Returns where it went before."""
    try:
        number = stream.fileno()
        where = str(Path(f"/proc/self/fd/{number}").readlink())
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except OSError:  # not a stream of the system's
        return "standard output"
    return where
