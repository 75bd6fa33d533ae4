"""Checkpoint: what a job that was killed goes on from. One file a state, complete or absent, its digest in its name.

A state is tensors and JSON in one safetensors file: nothing is unpickled, a torn file is known by its digest, and a
file of another job by the fingerprint inside.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from lesion.errors import PlatformError, UserError
from lesion.files import PART, make_folder, write_atomic
from lesion.stop import Stop

log = logging.getLogger(__name__)

GENERATIONS = 2  # states kept of one name: the last, and the one before for the case that the last is torn
DIGEST_CHARACTERS = 16
INTERVAL_S = 300  # what a machine that goes without a word may cost, at most, within an epoch
UPLOADING = ".sagemaker-uploading"  # the mark beside a file that SageMaker is copying


@dataclass(frozen=True)
class State:
    """Tensors by name, and whatever else JSON can hold."""

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix` and a dot, by the rest of their names."""
        return {
            name.removeprefix(f"{prefix}."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{prefix}.")
        }

    def to_bytes(self) -> bytes:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        return tensors_to_bytes(tensors, {"values": json.dumps(self.values)})

    @classmethod
    def from_bytes(cls, content: bytes) -> State:
        """The state that `to_bytes` made into `content`."""
        return cls(tensors_from_bytes(content), json.loads(_metadata(content)["values"]))


class Checkpoints:
    """The states of one job, by name, under one folder. `fingerprint` tells this job from others: JSON by name."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], stop: Stop) -> None:
        self._folder, self._stop = folder, stop
        self._saved_at = time.monotonic()
        self._fingerprint = json.loads(json.dumps(fingerprint))  # as it will come back
        make_folder(folder)

    def save(self, name: str, state: State) -> None:
        """Keeps `state` as the newest of `name`. Raises PlatformError when the disk refuses."""
        content = State(state.tensors, {"fingerprint": self._fingerprint, **state.values}).to_bytes()
        newest = max((generation for generation, _ in self._files(name)), default=-1) + 1
        digest = hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS]
        try:
            write_atomic(self._folder / f"{name}.{newest:06d}.{digest}.safetensors", content)
        except OSError as error:
            raise PlatformError(
                f"the checkpoint could not be written: {error.strerror}", where=self._folder, do="Free disk space."
            ) from error
        self._forget(name, keep=GENERATIONS)
        self._saved_at = time.monotonic()

    def after_step(self, name: str, state: Callable[[], State]) -> None:
        """Saves now and then, and when the job is to stop; then it stops, by a KeyboardInterrupt."""
        if self._stop.is_requested or time.monotonic() - self._saved_at > INTERVAL_S:
            self.save(name, state())
        self._stop.check()

    def load(self, name: str) -> State | None:
        """The newest whole state of `name`; None if there is none. Raises UserError for one of another job."""
        for part in self._folder.glob(f"{name}.*.safetensors{PART}"):  # a write that was killed
            part.unlink(missing_ok=True)  # of this name only: others may be written by another process just now
        for _, path in self._files(name):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest()[:DIGEST_CHARACTERS] != path.name.split(".")[-2]:
                log.warning("checkpoint=%s torn, so the one before is taken", path.name)
                continue
            state = State.from_bytes(content)
            self._check(state.values["fingerprint"])
            return state
        return None

    def remove(self, name: str) -> None:
        """Takes away all states of `name`."""
        self._forget(name, keep=0)

    def clear(self) -> None:
        """Takes away the states of all names: the job is done, and the next one in this folder is another."""
        for path in self._folder.glob(f"*.{'?' * 6}.{'?' * DIGEST_CHARACTERS}.safetensors"):
            path.unlink(missing_ok=True)

    def _files(self, name: str) -> list[tuple[int, Path]]:
        """Generation and file of each state of `name`, newest first; marks and strangers are no states."""
        files = [
            (int(generation), path)
            for path in self._folder.glob(f"{name}.*.safetensors")
            if (generation := path.name.removeprefix(f"{name}.").split(".")[0]).isdecimal()
        ]
        return sorted(files, reverse=True)

    def _forget(self, name: str, *, keep: int) -> None:
        for _, path in self._files(name)[keep:]:
            if not path.with_name(path.name + UPLOADING).exists():  # the copier fails when its file goes
                path.unlink(missing_ok=True)

    def _check(self, other: Mapping[str, Any]) -> None:
        changed = [
            f"{name} was {_short(other.get(name))} and is {_short(value)}"
            for name, value in self._fingerprint.items()
            if other.get(name) != value
        ]
        if changed:
            raise UserError(
                f"the checkpoints are of another job: {'; '.join(changed)}",
                where=self._folder,
                do="Give this job another checkpoint_s3_uri, or empty the folder to start afresh.",
                kind="checkpoint",
            )


def _metadata(content: bytes) -> dict[str, str]:
    """The texts that a safetensors file carries beside its tensors: an 8-byte length, then a JSON header."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(header["__metadata__"])


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "…"
