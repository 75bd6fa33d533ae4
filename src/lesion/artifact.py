"""Artifact: all that prediction needs, in one folder: manifest.json, a safetensors file a fold, a graph for a CPU.

What the manifest's fields mean, and what a reader may rely on, is written in docs/artifact.md.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesion.data.metadata import ColumnEncoder
from lesion.data.transforms import MAX_VIEWS, Preprocess
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic
from lesion.model_args import refuse_factory_args
from lesion.stored_files import (
    TensorHeader,
    in_words,
    is_plain_name,
    json_object,
    last_line,
    path_as_written,
    read_as_written,
    read_stored,
    tensor_headers,
    unusable,
)
from lesion.targets import Kind, Target

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
MANIFEST = "manifest.json"
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")
GRAPH, GRAPH_WEIGHTS = "graph.xml", "graph.bin"
MAX_IMAGE_SIZE = 2048  # pixels, as of the hyperparameter
# Far beyond what training writes: a manifest holds every word of a column of metadata, a graph a line for each step.
MAX_MANIFEST_BYTES, MAX_GRAPH_BYTES, MAX_WEIGHTS_BYTES = 2**26, 2**29, 2**36
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


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name[:80]!r} is not the name of a file in the artifact's own folder")
    return name


def _each_once(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) < len(names):
        raise ValueError("a name stands twice in it")
    return names


def _sound(encoder: ColumnEncoder) -> ColumnEncoder:
    _each_once(encoder.categories)
    if not (np.isfinite(encoder.mean) and np.isfinite(encoder.std) and encoder.std > 0):
        raise ValueError(f"{encoder.name[:80]!r} has mean {encoder.mean} and deviation {encoder.std}")
    return encoder


def _possible(preprocess: Preprocess) -> Preprocess:
    if not 1 <= preprocess.image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size is {preprocess.image_size}, and a side is 1 to {MAX_IMAGE_SIZE} pixels")
    numbers = np.array([*preprocess.mean, *preprocess.std])
    # Colours are 0 to 1 there; some networks' own numbers are those of 0 to 255.
    if not (np.isfinite(numbers).all() and (np.abs(numbers) <= 255).all() and (numbers[3:] >= 1e-6).all()):
        raise ValueError(f"mean {preprocess.mean} and deviation {preprocess.std} cannot be those of colours")
    return preprocess


def _makeable(model_args: dict[str, Any]) -> dict[str, Any]:
    refuse_factory_args(model_args)
    return model_args


FileName = Annotated[str, AfterValidator(_plain_name)]
Names = AfterValidator(_each_once)
Text = Annotated[str, Field(max_length=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]  # NaN is neither


class TargetRecord(BaseModel):
    """The question that was trained for, its classes, and from which probability on an answer is yes.

    One threshold for each answer that is yes or no, none where one of several classes is the answer.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind
    class_names: Annotated[tuple[Text, ...], Field(min_length=1), Names]
    of_interest: str | None
    thresholds: tuple[Share, ...]

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        names = self.class_names
        if self.of_interest is not None and (self.kind != "multiclass" or self.of_interest not in names):
            raise ValueError(f"of_interest {self.of_interest[:80]!r} is none of several classes")
        if len(names) != 2 if self.kind == "binary" else self.kind == "multiclass" and len(names) < 2:
            raise ValueError(f"{len(names)} class_names are no {self.kind} question")
        is_yes_no = self.kind == "binary" or self.of_interest is not None
        wanted = 1 if is_yes_no else len(names) if self.kind == "multilabel" else 0
        if len(self.thresholds) != wanted:
            raise ValueError(f"{len(self.thresholds)} thresholds where the question takes {wanted}")
        return self


class FoldRecord(BaseModel):
    """One fold's network: its file and digest, its metadata encoders, and how it did on the rows it never saw."""

    model_config = ConfigDict(frozen=True)

    fold: Annotated[int, Field(ge=0)]
    file: FileName
    sha256: str
    metadata: tuple[Annotated[ColumnEncoder, AfterValidator(_sound)], ...]
    best_epoch: int
    metrics: dict[str, float]

    @property
    def num_features(self) -> int:
        """How many numbers the network takes of a row's metadata."""
        return sum(encoder.width for encoder in self.metadata)


class GraphRecord(BaseModel):
    """All folds as one graph of OpenVINO, and how far its probabilities lay from torch's where it was made.

    `differences` holds the largest by precision, fp32 and, where that machine could compute in it, bf16, over as many
    pictures as `num_checked`.
    """

    model_config = ConfigDict(frozen=True)

    file: FileName
    sha256: str
    weights_file: FileName
    weights_sha256: str
    num_checked: int
    differences: dict[str, float]


class Manifest(BaseModel):
    """What the weights are for and how pictures and metadata reach them.

    Its bounds let through all that training can write, and nothing that prediction cannot use.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    format_version: int = FORMAT_VERSION
    algorithm: Literal["classify"]
    model: Text
    model_args: Annotated[dict[str, Any], AfterValidator(_makeable)]
    target: TargetRecord
    preprocessing: Annotated[Preprocess, AfterValidator(_possible)]
    num_views: Annotated[int, Field(ge=1, le=MAX_VIEWS)]
    metadata_columns: Annotated[list[str], Names]
    image_column: str
    target_columns: list[str]
    metrics: dict[str, Any]
    data_fingerprint: str
    config: dict[str, Any]
    packages: dict[str, str]
    folds: Annotated[list[FoldRecord], Field(min_length=1)]
    graph: GraphRecord | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        _each_once([str(record.fold) for record in self.folds])
        files = [record.file for record in self.folds]
        _each_once([*files, MANIFEST, *([self.graph.file, self.graph.weights_file] if self.graph else [])])
        for record in self.folds:
            if [encoder.name for encoder in record.metadata] != self.metadata_columns:
                raise ValueError(f"the metadata of fold {record.fold} is not that of metadata_columns")
            kinds = [[(encoder.kind, encoder.is_log) for encoder in of.metadata] for of in (record, self.folds[0])]
            if kinds[0] != kinds[1]:
                raise ValueError(f"fold {record.fold} reads metadata otherwise than fold {self.folds[0].fold}")
        return self

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

    make_folder(directory)
    records = []
    for record in manifest.folds:
        tensors = {name: tensor.contiguous() for name, tensor in weights[record.fold].items()}
        content = to_bytes(tensors)
        write_atomic(directory / record.file, content)
        records.append(record.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()}))
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
    write_atomic(directory / GRAPH_WEIGHTS, weights)
    write_atomic(directory / GRAPH, graph)
    return _write_manifest(directory, manifest.model_copy(update={"graph": record}))


def _write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    write_atomic(directory / MANIFEST, (json.dumps(manifest.model_dump(), indent=2, sort_keys=True) + "\n").encode())
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """The manifest in `directory`, strangers beside it ignored. Raises UserError that says why it cannot be used."""
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
    try:
        manifest = Manifest.model_validate(_of_format_1(fields) if version == 1 else fields)
        _ = manifest.version  # it is told in every answer: what cannot be written again is refused here
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:200] or "the whole"
        raise unusable(f"manifest.json: {place}: {first['msg'].removeprefix('Value error, ')}", path) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise unusable(f"manifest.json cannot be used: {last_line(error)}", path) from error
    return manifest


def _no_manifest(directory: Path) -> UserError:
    """Why there is none, as far as what is there can tell: an archive that was not unpacked, a folder too many."""
    if directory.is_file():
        do = f"Unpack it: mkdir model && tar -xf {directory.name} -C model, and give that folder."
        return unusable("a file, where the folder of an artifact is wanted", directory, do)
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
    return unusable("no manifest.json, so no Lesion artifact", where)


def load_weights(directory: Path, record: FoldRecord) -> dict[str, Tensor]:
    """One fold's tensors on the CPU. Raises UserError for a file that is absent or is not the one that was written."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    content = read_as_written(directory, record.file, record.sha256, max_bytes=MAX_WEIGHTS_BYTES)
    try:
        return from_bytes(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise unusable(f"not a safetensors file: {last_line(error)}", directory / record.file) from error


def weights_headers(directory: Path, record: FoldRecord) -> dict[str, TensorHeader]:
    """What one fold's file says that it holds. Raises UserError for a file that is absent or not whole."""
    return tensor_headers(directory, record.file, max_bytes=MAX_WEIGHTS_BYTES)


def graph_files(directory: Path, graph: GraphRecord) -> tuple[Path, Path]:
    """The graph and its weights. Raises UserError for a file that is absent or is not the one that was written."""
    return (
        path_as_written(directory, graph.file, graph.sha256, max_bytes=MAX_GRAPH_BYTES),
        path_as_written(directory, graph.weights_file, graph.weights_sha256, max_bytes=MAX_WEIGHTS_BYTES),
    )


def _of_format_1(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1, which knew yes or no only, in the words of format 2."""
    target = fields.get("target")
    if isinstance(target, dict):
        target = {**target, "of_interest": None, "thresholds": [target.get("threshold")]}
    return {**fields, "target": target, "target_columns": [fields.get("target_column")]}


def package_versions() -> dict[str, str]:
    """The versions of what made an artifact, to be kept in it."""
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
