"""Artifact: all that prediction needs, in one folder: manifest.json, and beside it the files that the manifest lists.

The envelope is the same for every algorithm: which files there are, their digests, what they were trained with and on.
Their meaning is in `payload`, which only the algorithm writes and reads. docs/artifact.md says what a reader may
rely on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesion.errors import PlatformError, UserError
from lesion.files import PART, make_folder, remove, write_atomic, writing
from lesion.flat_manifests import with_envelope
from lesion.stored_files import (
    FileName,
    FileRecord,
    TensorHeader,
    float_arrays,
    in_words,
    json_object,
    last_line,
    path_as_written,
    read_as_written,
    read_stored,
    tensor_headers,
    unusable,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Content = bytes | Mapping[str, Tensor]  # tensors are written as a safetensors file

FORMAT_VERSION = 4
READ_VERSIONS = (1, 2, 3, 4)
FLAT_VERSIONS = (1, 2)  # without an envelope
MANIFEST = "manifest.json"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
# Far beyond what training writes: a manifest holds every word of a column of metadata.
MAX_MANIFEST_BYTES, MAX_FILE_BYTES = 2**26, 2**36
RECORDED_PACKAGES = (
    "lesion",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "scikit-learn",
)

Payload = TypeVar("Payload", bound=BaseModel)


class Manifest(BaseModel):
    """The envelope: the files, what made them, and in `payload` the fields of the algorithm."""

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION  # as it was read: an upgraded manifest keeps its own number
    algorithm: Annotated[str, Field(pattern="^[a-z][a-z0-9_-]{0,63}$")]
    files: dict[FileName, FileRecord]  # every file of the artifact but the manifest
    packages: dict[str, str]  # the versions that trained it
    data_fingerprint: str
    config: dict[str, Any]  # every hyperparameter as it was resolved
    metrics: dict[str, Any]
    payload: dict[str, Any]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if MANIFEST in self.files:
            raise ValueError(f"files lists {MANIFEST}, which cannot hold its own digest")
        if self.format_version not in FLAT_VERSIONS and any(record.bytes is None for record in self.files.values()):
            raise ValueError("files lists a file without its bytes")
        return self

    @property
    def version(self) -> str:
        """The version of this artifact: the first characters of a digest of the manifest."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def save(directory: Path, manifest: Manifest, files: Mapping[str, Content]) -> Manifest:
    """Writes the files, then the manifest that lists them, each complete or absent; returns it as it will be read.

    Raises PlatformError when the disk refuses.
    """
    make_folder(directory)
    records = {name: _write_file(directory / name, content) for name, content in files.items()}
    return save_manifest(directory, manifest.model_copy(update={"files": records}))


def add_files(
    directory: Path,
    manifest: Manifest,
    files: Mapping[str, Content],
    *,
    payload: Mapping[str, Any],
) -> Manifest:
    """Writes further files into a saved artifact, then its manifest again, with the payload that names them.

    Killed in between it leaves the artifact as it was. Raises PlatformError as `save` does.
    """
    assert manifest.format_version == FORMAT_VERSION and not files.keys() & manifest.files.keys()
    records = {name: _write_file(directory / name, content) for name, content in files.items()}
    more = {"files": {**manifest.files, **records}, "payload": dict(payload)}
    return save_manifest(directory, manifest.model_copy(update=more))


def clear(directory: Path, own: re.Pattern[str]) -> None:
    """Removes what an earlier or killed job left of an artifact; other files stay.

    These are the files that the manifest lists, and those whose names match `own`, the algorithm's: after a kill they
    are there without a manifest. The manifest is removed first, so that an incomplete artifact never looks complete.
    """
    try:
        listed = set(load_manifest(directory).files)
    except UserError:  # there is none, or none that can be read
        listed = set()
    remove(directory / MANIFEST)
    with writing(directory):
        names = sorted(entry.name for entry in directory.iterdir() if not entry.is_dir())
    for name in names:
        written = name.removesuffix(PART)
        if written in {MANIFEST, *listed} or own.fullmatch(written):
            remove(directory / name)


def _write_file(path: Path, content: Content) -> FileRecord:
    if not isinstance(content, bytes):
        from safetensors.torch import save as to_bytes

        content = to_bytes({name: tensor.contiguous() for name, tensor in content.items()})
    write_atomic(path, content)
    return FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def save_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Writes the manifest of a saved artifact, complete or not at all; returns it as it will be read."""
    text = json.dumps(manifest.model_dump(), indent=2, sort_keys=True)
    write_atomic(directory / MANIFEST, f"{text}\n".encode())
    return Manifest.model_validate(json.loads(text))


def load_manifest(directory: Path) -> Manifest:
    """The manifest in `directory`. Raises UserError that says why it cannot be used.

    Formats 1 and 2 are read as format 3. Neither the payload nor any other file is looked at.
    """
    with in_words(directory):
        path = directory / MANIFEST
        if not (path.exists() or path.is_symlink()):
            raise _no_manifest(directory)
        content = read_stored(directory, MANIFEST, max_bytes=MAX_MANIFEST_BYTES)
    try:
        fields = json_object(content)
    except ValueError as error:
        raise unusable(f"manifest.json cannot be read: {last_line(error)}", path) from error
    version = fields.get("format_version")
    if type(version) is not int or version not in READ_VERSIONS:
        packages = fields.get("packages")
        written = str(packages.get("lesion", "?") if isinstance(packages, dict) else "?")
        what = (
            f"the artifact has format {str(version)[:40]!s} (written by Lesion {written[:40]}); "
            f"this version reads {READ_VERSIONS[0]} to {READ_VERSIONS[-1]}"
        )
        raise unusable(what, path)
    with _in_the_manifests_words(path):
        manifest = Manifest.model_validate(with_envelope(fields) if version in FLAT_VERSIONS else fields)
        _ = manifest.version  # it is part of every answer: what cannot be encoded is refused here
    return manifest


def differs(directory: Path, what: str) -> PlatformError:
    """The error where a saved artifact does not predict an image as its networks did before, in this job or, of a
    finished part that was resumed from, in an earlier run of it."""
    return PlatformError(
        what,
        where=directory,
        do="If images were replaced under the same names since the job was first started, empty its checkpoints/ (on "
        "SageMaker: give it another checkpoint_s3_uri). Else check disk and memory of this machine. Then run it again.",
    )


def read_payload(directory: Path, manifest: Manifest, form: type[Payload]) -> Payload:
    """The payload in the algorithm's own form. Raises UserError that names the first field which is wrong."""
    place = "" if manifest.format_version in FLAT_VERSIONS else "payload."
    with _in_the_manifests_words(directory / MANIFEST, place):
        return form.model_validate(manifest.payload)


@contextmanager
def _in_the_manifests_words(path: Path, place: str = "") -> Iterator[None]:
    """Turns pydantic's errors into one UserError that names the field, below the path `place`."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        field = (place + ".".join(map(str, first["loc"]))).removesuffix(".")[:200] or "the whole"
        raise unusable(f"manifest.json: {field}: {first['msg'].removeprefix('Value error, ')}", path) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise unusable(f"manifest.json cannot be used: {last_line(error)}", path) from error


def _no_manifest(directory: Path) -> UserError:
    """The error for a missing manifest, with the likely cause: an archive that was not unpacked, or a nested folder."""
    if directory.is_file():
        do = f"Unpack it: mkdir model && tar -xf {directory.name} -C model, and give that folder."
        return unusable("this is a file, but the folder of an artifact is needed", directory, do)
    names = sorted(entry.name for entry in directory.glob("*"))
    where = f"{directory}: {', '.join(names[:8]) or 'nothing'}"
    for manifest in sorted([*directory.glob(f"*/{MANIFEST}"), *directory.glob(f"*/*/{MANIFEST}")]):
        place = manifest.parent
        do = f"Give {place}, or move what lies in it to {directory}."
        return unusable(f"no manifest.json here: it lies in {place.relative_to(directory)}/", where, do)
    for name in names:
        if name.endswith(ARCHIVES) and not name.startswith("._"):
            do = f"Unpack it there: tar -xf {name}."
            return unusable(f"no manifest.json here, but {name}, which is still packed", where, do)
    return unusable("no manifest.json: not a Lesion artifact", where)


def read_file(directory: Path, manifest: Manifest, name: str, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """One file's bytes. Raises UserError for a file that is absent, or is not the one that was written."""
    return read_as_written(directory, name, _listed(directory, manifest, name), max_bytes=max_bytes)


def path_of_file(directory: Path, manifest: Manifest, name: str, *, max_bytes: int = MAX_FILE_BYTES) -> Path:
    """The path of a file that another library reads, its digest compared. Raises UserError as `read_file` does."""
    return path_as_written(directory, name, _listed(directory, manifest, name), max_bytes=max_bytes)


def read_tensors(directory: Path, manifest: Manifest, name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU. Raises UserError as `read_file` does, and for any other file."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    content = read_file(directory, manifest, name)
    try:
        return from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise unusable(f"not a safetensors file: {last_line(error)}", directory / name) from error


def read_arrays(directory: Path, manifest: Manifest, name: str) -> dict[str, NDArray[np.float32]]:
    """The float32 arrays of a safetensors file, by NumPy alone. Raises UserError as `read_file` does, and for any other
    file."""
    headers = read_headers(directory, manifest, name)  # refuses a file that is not whole
    return float_arrays(read_file(directory, manifest, name), headers, where=directory / name)


def read_headers(directory: Path, manifest: Manifest, name: str) -> dict[str, TensorHeader]:
    """The header of a safetensors file. Of its bytes only their number is compared, so that it costs nothing.

    Raises UserError for a file that is absent or not whole.
    """
    return tensor_headers(directory, name, _listed(directory, manifest, name), max_bytes=MAX_FILE_BYTES)


def _listed(directory: Path, manifest: Manifest, name: str) -> FileRecord:
    if name not in manifest.files:
        raise unusable(f"manifest.json: files does not list {name[:80]!r}", directory / MANIFEST)
    return manifest.files[name]


def package_versions() -> dict[str, str]:
    """The versions of what makes an artifact, to be kept in it."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
