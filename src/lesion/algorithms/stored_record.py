"""Stored record: what payloads of all algorithms have in common: types with their bounds, and how one is read.

The bounds let through all that training can write, and nothing that prediction cannot use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field

from lesion.artifact import MANIFEST, Manifest, read_payload
from lesion.data.transforms import Preprocess
from lesion.model_args import refuse_factory_args
from lesion.normalisation import refuse_impossible_mean, refuse_impossible_std
from lesion.stored_files import unusable

MAX_IMAGE_SIZE = 2048  # pixels, as of the hyperparameter


def _possible(preprocess: Preprocess) -> Preprocess:
    if not 1 <= preprocess.image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size is {preprocess.image_size}, and a side is 1 to {MAX_IMAGE_SIZE} pixels")
    if preprocess.decode_px is not None and preprocess.decode_px < preprocess.image_size:
        raise ValueError(f"decode_px is {preprocess.decode_px}, less than image_size, {preprocess.image_size}")
    for name, refuse in (("mean", refuse_impossible_mean), ("std", refuse_impossible_std)):
        try:
            refuse(getattr(preprocess, name))
        except ValueError as error:
            raise ValueError(f"{name}, {error}") from error
    return preprocess


def _makeable(model_args: dict[str, Any]) -> dict[str, Any]:
    refuse_factory_args(model_args)
    return model_args


Text = Annotated[str, Field(max_length=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]  # NaN is neither
Finite = Annotated[float, Field(allow_inf_nan=False)]
StoredPreprocess = Annotated[Preprocess, AfterValidator(_possible)]
StoredArgs = Annotated[dict[str, Any], AfterValidator(_makeable)]


class Record(BaseModel):
    """A payload: it names the files of its artifact."""

    @property
    def files(self) -> Sequence[str]:
        raise NotImplementedError


R = TypeVar("R", bound=Record)


def read_record(model_dir: Path, manifest: Manifest, algorithm: str, form: type[R]) -> R:
    """The payload of this algorithm's manifest. Raises UserError where it is another algorithm's, a field is wrong, or
    it names a file that the manifest does not list.
    """
    path = model_dir / MANIFEST
    if manifest.algorithm != algorithm:
        raise unusable(f"manifest.json: algorithm: '{manifest.algorithm}', but '{algorithm}' is needed", path)
    record = read_payload(model_dir, manifest, form)
    for name in record.files:
        if name not in manifest.files:
            raise unusable(f"manifest.json: files does not list '{name}', which its payload names", path)
    return record
