"""Artifact: all that prediction needs, in one folder: manifest.json, a safetensors file a fold, a graph for a CPU.

What the manifest's fields mean, and what a reader may rely on, is written in docs/artifact.md.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from lesion.data.metadata import ColumnEncoder
from lesion.data.transforms import Preprocess
from lesion.errors import PlatformError, UserError
from lesion.files import write_atomic
from lesion.targets import Kind, Target

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
MANIFEST = "manifest.json"
GRAPH, GRAPH_WEIGHTS = "graph.xml", "graph.bin"
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
    """The question that was trained for, its classes, and from which probability on an answer is yes.

    One threshold for each answer that is yes or no, none where one of several classes is the answer.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    class_names: tuple[str, ...]
    of_interest: str | None
    thresholds: tuple[float, ...]


class FoldRecord(BaseModel):
    """One fold's network: its file and digest, its metadata encoders, and how it did on the rows it never saw."""

    model_config = ConfigDict(frozen=True)

    fold: int
    file: str
    sha256: str
    metadata: tuple[ColumnEncoder, ...]
    best_epoch: int
    metrics: dict[str, float]


class GraphRecord(BaseModel):
    """All folds as one graph of OpenVINO, and how far its probabilities lay from torch's where it was made.

    `differences` holds the largest by precision, fp32 and, where that machine could compute in it, bf16, over as many
    pictures as `num_checked`.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str
    weights_file: str
    weights_sha256: str
    num_checked: int
    differences: dict[str, float]


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
    target_columns: list[str]
    metrics: dict[str, Any]
    data_fingerprint: str
    config: dict[str, Any]
    packages: dict[str, str]
    folds: list[FoldRecord]
    graph: GraphRecord | None = None

    @property
    def version(self) -> str:
        """What tells this artifact from any other: the beginning of a digest of all that the manifest says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def question(self) -> Target:
        """The target, with all that follows from it."""
        return Target(self.target.kind, self.target.class_names, self.target.of_interest)

    def labels(self, probs_K: NDArray[np.floating]) -> list[str]:
        """What probabilities [K] amount to: one class's name, or for multilabel all that are reached."""
        return self.question.label(probs_K, self.target.thresholds)


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
    except OSError as error:
        raise _unwritten(directory, error) from error
    return _write_manifest(directory, manifest.model_copy(update={"folds": records}))


def add_graph(
    directory: Path,
    manifest: Manifest,
    graph: bytes,
    weights: bytes,
    *,
    num_checked: int,
    differences: dict[str, float],
) -> Manifest:
    """Writes a graph beside the weights, then the manifest that tells of it. Raises PlatformError as `save` does."""
    record = GraphRecord(
        file=GRAPH,
        sha256=hashlib.sha256(graph).hexdigest(),
        weights_file=GRAPH_WEIGHTS,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_checked=num_checked,
        differences=differences,
    )
    try:
        write_atomic(directory / GRAPH_WEIGHTS, weights)
        write_atomic(directory / GRAPH, graph)
    except OSError as error:
        raise _unwritten(directory, error) from error
    return _write_manifest(directory, manifest.model_copy(update={"graph": record}))


def _write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    try:
        write_atomic(
            directory / MANIFEST, (json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n").encode()
        )
    except OSError as error:
        raise _unwritten(directory, error) from error
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
    if version not in READ_VERSIONS:
        packages = fields.get("packages") if isinstance(fields, dict) else None
        written = packages.get("lesion", "?") if isinstance(packages, dict) else "?"
        what = (
            f"the artifact has format {version} (written by Lesion {written}); "
            f"this version reads {READ_VERSIONS[0]} to {READ_VERSIONS[-1]}"
        )
        raise _unusable(what, path)
    try:
        return Manifest.model_validate(_of_format_1(fields) if version == 1 else fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise _unusable(f"manifest.json: {'.'.join(map(str, first['loc']))}: {first['msg']}", path) from error


def load_weights(directory: Path, record: FoldRecord) -> dict[str, Tensor]:
    """One fold's tensors on the CPU. Raises UserError for a file that is absent or is not the one that was written."""
    from safetensors.torch import load as from_bytes

    return from_bytes(_checked(directory, record.file, record.sha256))


def graph_files(directory: Path, graph: GraphRecord) -> tuple[Path, Path]:
    """The graph and its weights. Raises UserError for a file that is absent or is not the one that was written."""
    _checked(directory, graph.file, graph.sha256)
    _checked(directory, graph.weights_file, graph.weights_sha256)
    return directory / Path(graph.file).name, directory / Path(graph.weights_file).name


def _checked(directory: Path, name: str, sha256: str) -> bytes:
    path = directory / Path(name).name  # the name only: a manifest may not reach outside its folder
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unusable(f"weights cannot be read: {error.strerror}", path) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise _unusable("weights are not those that the manifest was written with", path)
    return content


def _of_format_1(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1, which knew yes or no only, in the words of format 2."""
    target = fields.get("target")
    if isinstance(target, dict):
        target = {**target, "of_interest": None, "thresholds": [target.get("threshold")]}
    return {**fields, "target": target, "target_columns": [fields.get("target_column")]}


def package_versions() -> dict[str, str]:
    """The versions of what made an artifact, to be kept in it."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}


def _unwritten(directory: Path, error: OSError) -> PlatformError:
    return PlatformError(f"the artifact could not be written: {error.strerror}", where=directory, do="Free disk space.")


def _unusable(what: str, where: object) -> UserError:
    return UserError(what, where=where, do="Train again, or give the model.tar.gz of a completed job.", kind="artifact")
