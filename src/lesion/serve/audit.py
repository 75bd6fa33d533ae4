"""Audit: one line of JSON for each picture that was answered, so that an answer can be accounted for later.

It says which bytes were answered by which model, at which operating point, with which label and warnings. It holds no
pixels, and nothing else that a client sent: no metadata, no name of a file. Off unless it is asked for.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import select
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lesion.algorithms.base import Answer
from lesion.data.decode.images import Pixels
from lesion.errors import UserError
from lesion.serve.records import Record
from lesion.words import shortened

log = logging.getLogger(__name__)

STDOUT = 1
# What one write puts into a pipe without another process's line in between: POSIX promises 512 bytes, Linux 4,096.
PIPE_BYTES = getattr(select, "PIPE_BUF", 512)
MAX_LETTERS = 200  # of the names of classes; each is up to 6 bytes once it is escaped


class Trail:
    """The pictures of one request and their answers, as they become known: a digest may come after its answer.

    One that is off lets both pass.
    """

    def __init__(self, request_id: str, model: str, *, is_on: bool = True) -> None:
        self._shared = {"request_id": request_id, "model": model}
        self.is_on = is_on
        self._digests: list[str | None] = []
        self._answers: list[dict[str, Any]] = []

    def of_pictures(self, records: Iterable[Record | UserError]) -> Iterable[Record | UserError]:
        """The records as they come, each noted after it was handed on: it is decoded meanwhile."""
        return self._noting_pictures(records) if self.is_on else records

    def of_answers(self, answers: Iterable[Answer | UserError]) -> Iterable[Answer | UserError]:
        """The answers as they come. Of a refusal the kind is noted and not its words, which may quote the client's."""
        return self._noting_answers(answers) if self.is_on else answers

    def lines(self) -> Iterator[bytes]:
        """A line for each picture whose answer is known."""
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        for number, (digest, answer) in enumerate(zip(self._digests, self._answers, strict=False)):
            fields = {"audit": time, **self._shared, "picture": number, "sha256": digest, **answer}
            yield json.dumps(fields).encode() + b"\n"

    def _noting_pictures(self, records: Iterable[Record | UserError]) -> Iterator[Record | UserError]:
        for record in records:
            yield record
            self._digests.append(None if isinstance(record, UserError) else _digest(record.picture))

    def _noting_answers(self, answers: Iterable[Answer | UserError]) -> Iterator[Answer | UserError]:
        for answer in answers:
            told = {"refused": answer.kind} if isinstance(answer, UserError) else dict(answer.audit)
            if isinstance(told.get("label"), str):
                told["label"] = shortened(told["label"], MAX_LETTERS)
            self._answers.append(told)
            yield answer


class Audit:
    """Where the lines go: a file by its number, or None for nowhere.

    Safe from several threads, and from several processes that share a pipe: lines stay whole.
    """

    def __init__(self, file: int | None) -> None:
        self._file = file
        self._writing = threading.Lock()

    def trail(self, request_id: str, model: str) -> Trail:
        """What a request's pictures are noted in; off where there is nowhere to write."""
        return Trail(request_id, model, is_on=self._file is not None)

    def write(self, trail: Trail) -> None:
        """Writes a request's lines. To be called when the client has its answer, since the file's reader may be slow.

        A file that cannot be written to is an error in the log; the server goes on.
        """
        if self._file is None:
            return
        try:
            with self._writing:
                for piece in _pieces(trail.lines()):
                    _write_all(self._file, piece)
        except OSError as error:
            log.error("the audit lines of a request cannot be written: %s", error.strerror)


NO_AUDIT = Audit(None)


def _digest(picture: bytes | Pixels) -> str:
    """SHA-256 of a picture's file, or of its pixels in row order where it came as an array."""
    return hashlib.sha256(picture if isinstance(picture, bytes) else np.ascontiguousarray(picture).data).hexdigest()


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines joined, as many at a time as one write keeps together."""
    piece: list[bytes] = []
    for line in lines:
        if piece and sum(map(len, piece)) + len(line) > PIPE_BYTES:
            yield b"".join(piece)
            piece = []
        piece.append(line)
    if piece:
        yield b"".join(piece)


def _write_all(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
