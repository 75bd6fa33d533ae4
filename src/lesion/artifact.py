"""Artifact: all that prediction needs, in one folder: manifest.json and a safetensors file a fold.

What the manifest's fields mean, and what a reader may rely on, is written in docs/artifact.md.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lesion.data.metadata import ColumnEncoder
from lesion.data.transforms import Preprocess
from lesion.errors import PlatformError, UserError
from lesion.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
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


class TargetRecord(BaseModel):
    """The question that was trained for, its answers' names, and the probability from which the answer is class 1."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["binary"]
    class_names: tuple[str, str]
    threshold: float


class FoldRecord(BaseModel):
    """One fold's network: its file and digest, its metadata encoders, and how it did on the rows it never saw."""

    model_config = ConfigDict(frozen=True)

    fold: int
    file: str
    sha256: str
    metadata: tuple[ColumnEncoder, ...]
    best_epoch: int
    metrics: dict[str, float]


class Manifest(BaseModel):
    """What the weights are for and how pictures and metadata reach them."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    format_version: int = FORMAT_VERSION
    algorithm: str
    model: str
    model_args: dict[str, Any]
    target: TargetRecord
    preprocessing: Preprocess
    num_views: int
    metadata_columns: list[str]
    image_column: str
    target_column: str
    metrics: dict[str, Any]
    data_fingerprint: str
    config: dict[str, Any]
    packages: dict[str, str]
    folds: list[FoldRecord]

    def label(self, prob: float) -> str:
        """The class's name at a probability: class 1 from the threshold on."""
        return self.target.class_names[int(prob >= self.target.threshold)]


def save(directory: Path, manifest: Manifest, weights: Mapping[int, Mapping[str, Tensor]]) -> Manifest:
    """Writes the weights of each fold, then the manifest, each complete or absent; returns it with digests filled in.

    Raises PlatformError when the disk refuses.
    """
    from safetensors.torch import save as to_bytes

    try:
        directory.mkdir(parents=True, exist_ok=True)
        records = []
        for record in manifest.folds:
            tensors = {name: tensor.contiguous() for name, tensor in weights[record.fold].items()}
            content = to_bytes(tensors)
            write_atomic(directory / record.file, content)
            records.append(record.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()}))
        manifest = manifest.model_copy(update={"folds": records})
        write_atomic(
            directory / MANIFEST, (json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n").encode()
        )
    except OSError as error:
        raise PlatformError(
            f"the artifact could not be written: {error.strerror}", where=directory, do="Free disk space."
        ) from error
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """The manifest in `directory`, strangers beside it ignored. Raises UserError that says why it cannot be read."""
    path = directory / MANIFEST
    try:
        fields = json.loads(path.read_bytes())
    except FileNotFoundError:
        present = ", ".join(sorted(entry.name for entry in directory.glob("*"))[:8]) or "nothing"
        raise _unusable("no manifest.json, so no Lesion artifact", f"{directory}: {present}") from None
    except (OSError, ValueError) as error:
        raise _unusable(f"manifest.json cannot be read: {error}", path) from error
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        packages = fields.get("packages") if isinstance(fields, dict) else None
        written = packages.get("lesion", "?") if isinstance(packages, dict) else "?"
        what = f"the artifact has format {version} (written by Lesion {written}); this version reads {FORMAT_VERSION}"
        raise _unusable(what, path)
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unusable(f"manifest.json: {'.'.join(map(str, first['loc']))}: {first['msg']}", path) from error


def load_weights(directory: Path, record: FoldRecord) -> dict[str, Tensor]:
    """One fold's tensors on the CPU. Raises UserError for a file that is absent or is not the one that was written."""
    from safetensors.torch import load as from_bytes

    path = directory / Path(record.file).name  # the name only: a manifest may not reach outside its folder
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unusable(f"weights cannot be read: {error.strerror}", path) from error
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise _unusable("weights are not those that the manifest was written with", path)
    return from_bytes(content)


def package_versions() -> dict[str, str]:
    """The versions of what made an artifact, to be kept in it."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}


def _unusable(what: str, where: object) -> UserError:
    return UserError(what, where=where, do="Train again, or give the model.tar.gz of a completed job.", kind="artifact")
