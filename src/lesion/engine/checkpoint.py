"""Checkpoint: the states that a killed job resumes from. One file each, complete or absent, its digest in its name.

A state is tensors and JSON in one safetensors file: no pickle. An incomplete file is recognised by its digest, a file
of another job by the fingerprint inside. `save` waits only for a copy in memory; a thread writes it to disk.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

import lesion
from lesion.engine.distributed import DataParallelGroup
from lesion.errors import PlatformError, UserError
from lesion.files import PART, make_folder, remove, write_atomic, writing
from lesion.logs import scoped_logger
from lesion.stop import Stop

log = scoped_logger(__name__, "process")

GENERATIONS = 2  # states kept per name: the last, and the one before in case the last is incomplete
DIGEST_CHARACTERS = 16
STATE_FILE = re.compile(
    rf"(?P<name>.+)\.(?P<generation>[0-9]{{6,}})\.(?P<digest>[0-9a-f]{{{DIGEST_CHARACTERS}}})\.safetensors"
)
SET_ASIDE = "set_aside"  # the folder in the folder for states of another job
UPLOADING = ".sagemaker-uploading"  # the marker beside a file that SageMaker is uploading


@dataclass(frozen=True)
class State:
    """Tensors by name, and JSON values."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix` and a dot, by the rest of their names."""
        return {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }

    def copied(self) -> State:
        """A deep copy on the CPU, so that training may change the originals at once."""
        tensors = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.tensors.items()}
        return State(tensors, copy.deepcopy(dict(self.values)))

    def to_bytes(self) -> bytes:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        return tensors_to_bytes(tensors, {"values": json.dumps(self.values)})

    @classmethod
    def from_bytes(cls, content: bytes) -> State:
        """The state that `to_bytes` made into `content`."""
        return cls(tensors_from_bytes(content), json.loads(_metadata(content)["values"]))


class Checkpoints:
    """The states of one job, by name, in one folder. `fingerprint` (JSON by name) identifies the job.

    At most one write is in flight; its failure is raised by the next save, load or exit. Leaving the `with` block
    flushes. In a data-parallel group the first process writes, what it loads is sent to the others, and all stop after
    the same step: so all must call `after_step` and `load`.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: Mapping[str, Any],
        stop: Stop,
        *,
        interval_s: float,
        on_foreign: Literal["error", "set_aside"] = "error",
        sets_aside: bool = True,
        data_parallel: DataParallelGroup | None = None,
    ) -> None:
        """Raises UserError if states of another job are in the folder, unless `on_foreign` is set_aside.

        Of several processes that share the folder only one moves them: for the others `sets_aside` is False.
        """
        self._folder, self._stop, self._interval_s = folder, stop, interval_s
        self._data_parallel = DataParallelGroup() if data_parallel is None else data_parallel
        self._saved_at = time.monotonic()
        self._writer = futures.ThreadPoolExecutor(1, "checkpoint")
        self._writing: futures.Future[None] | None = None
        named = {**fingerprint, "code": own_code()}
        self._fingerprint = json.loads(json.dumps(named))  # as it will come back
        make_folder(folder)
        if sets_aside or on_foreign == "error":
            self._treat_foreign(on_foreign)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except PlatformError as failed:
            if not isinstance(error, Exception):  # a stopped job must learn that it cannot resume from here
                raise
            log.error("%s", failed)  # the job has failed already, and says why

    def save(self, name: str, state: State) -> None:
        """Saves a copy of `state` as the newest of `name`. Raises PlatformError if the previous write failed."""
        if not self._data_parallel.is_first:
            return
        self.wait()  # so that at most one copy is in memory
        state = State(state.tensors, {"fingerprint": self._fingerprint, **state.values}).copied()
        self._writing = self._writer.submit(self._write, name, state)
        self._saved_at = time.monotonic()

    def after_step(self, name: str, state: Callable[[], State]) -> None:
        """Saves every `interval_s`, and when a stop was requested; then it raises KeyboardInterrupt.

        If only another process of the group was asked to stop, it raises PlatformError.
        """
        is_stopping = self._data_parallel.any(
            self._stop.is_requested
        )  # any process of the group may get the signal first
        is_free = self._data_parallel.is_first and (self._writing is None or self._writing.done())
        if is_stopping or (is_free and time.monotonic() - self._saved_at >= self._interval_s):
            self.save(name, state())
        if is_stopping:
            self.wait()
            self._stop.check_soon()
            raise PlatformError(
                "another process of the job was stopped", do="Start the job again: it resumes here.", kind="peer_lost"
            )

    def wait(self) -> None:
        """Waits until the last save is on disk. Raises PlatformError if the write failed."""
        if self._writing is not None:
            futures.wait([self._writing])
            writing, self._writing = self._writing, None  # an error is raised once
            writing.result()

    def load(self, name: str) -> State | None:
        """The newest complete state of `name`; None if there is none."""
        state = self.load_own(name)
        if self._data_parallel.size == 1:
            return state
        content = self._data_parallel.from_first(None if state is None else state.to_bytes())
        return None if content is None else State.from_bytes(content)

    def load_own(self, name: str) -> State | None:
        """As `load`, without the other processes of the group, which may have ended; None except in the first."""
        if not self._data_parallel.is_first:
            return None
        self.wait()
        for part in self._folder.glob(f"{name}.*.safetensors{PART}"):  # a write that was killed
            remove(part)  # of this name only: others may be written by another process just now
        return self.look_up(name)

    def look_up(self, name: str) -> State | None:
        """The newest complete state of `name` that lies in the folder, whoever wrote it or writes the next just now."""
        whole = (state for _, path in _files(self._folder, name) if (state := _read(path)) is not None)
        return next((state for state in whole if state.values["fingerprint"] == self._fingerprint), None)

    def remove(self, name: str) -> None:
        """Removes all states of `name`, after pending writes."""
        if self._data_parallel.is_first:
            self.wait()
            self._forget(name, keep=0)

    def clear(self) -> None:
        """Removes all states: the job is done, and the next job in this folder is another one.

        A disk error is only a warning, since the job is done.
        """
        self.wait()
        try:
            for _, path in _files(self._folder):
                remove(path)
        except PlatformError as error:
            log.warning("the checkpoints of a finished job cannot be removed: %s", error)

    def _write(self, name: str, state: State) -> None:
        content = state.to_bytes()
        newest = max((generation for generation, _ in _files(self._folder, name)), default=-1) + 1
        path = self._folder / f"{name}.{newest:06d}.{_digest(content)}.safetensors"
        write_atomic(path, content, refusal="the checkpoint could not be written")
        self._forget(name, keep=GENERATIONS)

    def _forget(self, name: str, *, keep: int) -> None:
        for _, path in _files(self._folder, name)[keep:]:
            if not path.with_name(path.name + UPLOADING).exists():  # the upload fails if its file is removed
                remove(path)

    def _treat_foreign(self, policy: Literal["error", "set_aside"]) -> None:
        if policy == "error":
            refuse_foreign(self._folder, self._fingerprint)
        foreign = _foreign(self._folder, self._fingerprint)
        if not foreign:
            return
        aside, files = self._folder / SET_ASIDE, "1 file" if len(foreign) == 1 else f"{len(foreign)} files"
        log.warning("%s; moving %s to %s, and deleting what was there", _reason(foreign), files, aside)
        make_folder(aside)
        with writing(aside, "the checkpoints of another job cannot be moved"):
            for path in aside.iterdir():
                if STATE_FILE.fullmatch(path.name):
                    path.unlink()
            for path in foreign:
                with suppress(FileNotFoundError):  # another process of the job has written newer ones
                    path.replace(aside / path.name)


def refuse_foreign(folder: Path, known: Mapping[str, Any]) -> None:
    """Raises UserError if states in `folder` are of a job with another fingerprint, as far as this one's is `known`."""
    if foreign := _foreign(folder, json.loads(json.dumps(known))):
        raise UserError(
            _reason(foreign),
            where=folder,
            do="Empty that folder (on SageMaker: give this job another checkpoint_s3_uri), or set "
            "on_foreign_checkpoint=set_aside to start afresh.",
            kind="checkpoint",
        )


def saved_setting(folder: Path, name: str, known: Mapping[str, Any]) -> Any:
    """The value of `name` in the fingerprint of the job that is `known` otherwise; None where `folder` holds no state
    of it."""
    known = json.loads(json.dumps(known))
    fingerprints = (_fingerprint(path) for _, path in _files(folder))
    of_job = (one for one in fingerprints if one is not None and all(one.get(key) == known[key] for key in known))
    return next((one.get(name) for one in of_job), None)


@cache
def own_code() -> str:
    """The digest of this package's source code."""
    return code_digest(Path(lesion.__file__).parent)


def code_digest(package: Path) -> str:
    """A digest of the source code, since the version number does not change during development."""
    sources = sorted(package.rglob("*.py"))
    named = (f"{path.relative_to(package)}\n".encode() + path.read_bytes() for path in sources)
    return _digest(b"".join(named))


def _files(folder: Path, name: str | None = None) -> list[tuple[int, Path]]:
    """Generation and file of each state of `name`, or of all, newest first; other files are ignored."""
    if not folder.exists():
        return []
    with writing(folder, "the checkpoints cannot be listed"):
        paths = list(folder.iterdir())
    return sorted(
        (
            (int(match["generation"]), path)
            for path in paths
            if (match := STATE_FILE.fullmatch(path.name)) and name in {None, match["name"]} and path.is_file()
        ),
        reverse=True,
    )


def _foreign(folder: Path, known: Mapping[str, Any]) -> dict[Path, str]:
    """The states of other jobs, and how each differs."""
    return {path: difference for _, path in _files(folder) if (difference := _difference(path, known))}


def _reason(foreign: Mapping[Path, str]) -> str:
    return f"the checkpoints belong to another job: {next(iter(foreign.values()))}"


def _difference(path: Path, known: Mapping[str, Any]) -> str:
    """How a state's job differs from this one, in words; "" for our own states and for incomplete files."""
    other = _fingerprint(path)
    if other is None:
        return ""
    changed = [
        f"{name} was {_short(other.get(name))} and is {_short(value)}"
        for name, value in known.items()
        if other.get(name) != value
    ]
    return "; ".join(changed) if changed and _read(path) is not None else ""


def _fingerprint(path: Path) -> dict[str, Any] | None:
    """The fingerprint of the job that wrote a state; None of an incomplete file."""
    try:
        with safe_open(path, "pt") as file:
            return dict(json.loads(file.metadata()["values"])["fingerprint"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path) -> State | None:
    """The state in a file; None if it is incomplete or unreadable."""
    try:
        content = path.read_bytes()
        if _digest(content) == path.name.split(".")[-2]:
            return State.from_bytes(content)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        log.warning("checkpoint=%s cannot be read: %s", path.name, error)
    log.warning("checkpoint=%s is damaged: the one before is used", path.name)
    return None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]


def _metadata(content: bytes) -> dict[str, str]:
    """The texts that a safetensors file carries beside its tensors: an 8-byte length, then a JSON header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(header["__metadata__"])


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
