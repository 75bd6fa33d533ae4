"""Reference: what the artifact holds of training for `lesion drift`, and how served answers and images are read by it.

Made at the end of training (save_reference). Imports neither torch nor pandas.
"""

# K outputs · A numbers of appearance

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.manifest import ClassifierRecord, read
from lesion.algorithms.classify.prediction.point import Point
from lesion.algorithms.classify.prediction.served_answer import is_number, read_probabilities, score_names
from lesion.artifact import MANIFEST, Manifest, load_manifest, read_arrays
from lesion.data.appearance import COLOURS, appearance, colours
from lesion.data.decode.images import FrameChoice, Pixels
from lesion.data.quality.image_quality import MEASURES, image_quality
from lesion.data.quality.quality_bounds import warnings_of
from lesion.evaluation.drift import MIN_ROWS
from lesion.stored_files import unusable
from lesion.targets import Target

REFERENCE = "reference.safetensors"
UNFAMILIAR, LOW_QUALITY, REFUSED = "unfamiliar", "low_quality", "refused"
TITLES = {
    "short_side_px": "shorter side of the image, in pixels",
    "blur": "blur (0 sharp, 1 blurred)",
    "brightness": "brightness (0 to 255)",
    "contrast": "contrast (standard deviation of the brightness)",
    "clipped_dark": "share of black pixels",
    "clipped_bright": "share of white pixels",
    "dark_corners": "share of dark corners",
    "ink": "share of pen marks",
    "hair": "share of hair",
    "red_green": "colour from green to red (CIELAB a*)",
    "yellow_blue": "colour from blue to yellow (CIELAB b*)",
    "fine_grain": "contrast of the finest details",
    UNFAMILIAR: "share of images called unfamiliar (out of distribution)",
    LOW_QUALITY: "share of images beyond a bound of the image gate",
    REFUSED: "share of requests for an image that were refused",
}


@dataclass(frozen=True)
class ClassifierReference:
    """A Reference (base.py)."""

    manifest: Manifest
    model: ClassifierRecord
    values: Mapping[str, NDArray[np.float32]]
    shares: Mapping[str, tuple[int, int]]
    gaps: Sequence[str]
    point: Point

    @property
    def scores(self) -> Sequence[str]:
        return tuple(score_names(self.model.question))

    @property
    def titles(self) -> Mapping[str, str]:
        target = self.model.question
        scores = {name: f"probability of {of}" for name, of in score_names(target).items()}
        return {**scores, **{share_name(of): f"share of answers {of}" for of in counted(target)}, **TITLES}

    @property
    def metadata_columns(self) -> Sequence[str]:
        return self.model.metadata_columns

    @property
    def dicom_frames(self) -> FrameChoice:
        return self.model.dicom_frames

    @property
    def decode_px(self) -> int | None:
        return self.model.preprocessing.decode_px

    def read_answer(self, told: object) -> tuple[Mapping[str, float], Mapping[str, bool]]:
        """The probabilities of one answer, and the label that they amount to at the operating point. An answer that
        holds only the most probable classes (top_k) has neither. Raises ValueError for an answer of another model.
        """
        target = self.model.question
        if isinstance(told, dict) and told.get("model", self.manifest.version) != self.manifest.version:
            raise ValueError(f"it is of the model {str(told['model'])[:40]}, not of {self.manifest.version}")
        probs_K = read_probabilities(told, target)
        shares: dict[str, bool] = {}
        if isinstance(told, dict) and is_number(familiarity := told.get("familiarity")) and self.model.familiarity:
            shares[UNFAMILIAR] = familiarity < self.model.familiarity.rare
        if probs_K is None:
            return {}, shares
        values = dict(zip(score_names(target), probs_K.tolist(), strict=True))
        return values, {**self._labels(probs_K), **shares}

    def read_image(self, image: Pixels, whole_px: tuple[int, int]) -> tuple[Mapping[str, float], Mapping[str, bool]]:
        """Its quality and colours, measured as of the training images, and whether the image gate warns of it."""
        quality = replace(image_quality(image), short_side_px=min(whole_px))
        values = {name: float(getattr(quality, name)) for name in MEASURES}
        values |= dict(zip(COLOURS, colours(appearance(self.model.preprocessing(image))), strict=True))
        gate = self.model.quality
        return values, {} if gate is None else {LOW_QUALITY: bool(warnings_of(quality, gate.bounds))}

    def _labels(self, probs_K: NDArray[np.float64]) -> dict[str, bool]:
        target = self.model.question
        if target.has_multiclass_answer:
            return {share_name(name): bool(k == probs_K.argmax()) for k, name in enumerate(target.class_names)}
        pairs = zip(counted(target), probs_K.tolist(), self.point.thresholds_Q, strict=True)
        return {share_name(name): prob >= threshold for name, prob, threshold in pairs}


def load_reference(model_dir: Path, *, operating_point: str | None) -> ClassifierReference:
    """The reference of an artifact. Raises UserError for a wrong artifact, or an operating point that it cannot have.

    One that is older than the samples is compared by what it holds: the share of unfamiliar images, and of those that
    the image gate warns of.
    """
    manifest = load_manifest(model_dir)
    model = read(model_dir, manifest)
    point = model.points().of(operating_point, where="operating point")
    values: dict[str, NDArray[np.float32]] = {}
    shares: dict[str, tuple[int, int]] = {}
    gaps = []
    if model.reference is None:
        gaps.append(
            "The artifact holds no scores and no image statistics of training: it was trained with fewer than "
            f"{MIN_ROWS} held-out rows, or by an earlier version of Lesion."
        )
    else:
        values = _stored_values(model_dir, manifest, model)
        shares |= _answered(model, point, values)
    gate, familiarity = model.quality, model.familiarity
    if gate is None:
        gaps.append("The artifact has no image gate: it was trained on fewer than 100 images, or is older.")
    else:
        num_warned = round(gate.share_warned.get("any", 0.0) * gate.num_pictures)
        shares[LOW_QUALITY] = num_warned, gate.num_pictures
        shares[REFUSED] = num_warned if gate.on_low_quality == "refuse" else 0, gate.num_pictures
    if familiarity is None:
        gaps.append("The artifact has no familiarity score, so no share of unfamiliar images is compared.")
    else:
        shares[UNFAMILIAR] = round(familiarity.rare * familiarity.num_rows), familiarity.num_rows
    return ClassifierReference(manifest, model, values, shares, gaps, point)


def counted(target: Target) -> Sequence[str]:
    """The classes whose share among the answers is compared."""
    return (target.positive_class,) if target.positive_class is not None else target.class_names


def share_name(class_name: str) -> str:
    return f"answered_{class_name}"


def _stored_values(model_dir: Path, manifest: Manifest, model: ClassifierRecord) -> dict[str, NDArray[np.float32]]:
    """The samples by name. Raises UserError for a file that does not hold them."""
    assert model.reference is not None
    stored = read_arrays(model_dir, manifest, model.reference.file)
    target, key_of = model.question, stored_keys(model.question)
    values = {name: stored[key] for name, key in key_of.items() if key in stored}
    num_counts = target.num_outputs if target.has_multiclass_answer else 0
    if len(model.reference.answered) != num_counts:
        raise unusable("manifest.json: payload.reference.answered does not fit the target", model_dir / MANIFEST)
    if set(stored) - set(key_of.values()) or not all(map(_is_sample, values.values())):
        raise unusable("the samples of training cannot be used", model_dir / model.reference.file)
    return values


def stored_keys(target: Target) -> dict[str, str]:
    """The names of the values in the file, which are plain where classes are not."""
    scores = {name: f"scores.{k}" for k, name in enumerate(score_names(target))}
    return scores | {name: f"images.{name}" for name in (*MEASURES, *COLOURS)}


def _is_sample(values: NDArray[np.float32]) -> bool:
    return values.ndim == 1 and len(values) > 0 and bool(np.isfinite(values).all())


def _answered(
    model: ClassifierRecord, point: Point, values: Mapping[str, NDArray[np.float32]]
) -> dict[str, tuple[int, int]]:
    """How many held-out rows were answered by each class that is counted, at the operating point."""
    target, reference = model.question, model.reference
    assert reference is not None
    if target.has_multiclass_answer:
        counts = zip(target.class_names, reference.answered, strict=True)
        return {share_name(name): (num, sum(reference.answered)) for name, num in counts}
    rows = zip(counted(target), score_names(target), point.thresholds_Q, strict=True)
    return {
        share_name(name): (int((values[score].astype(np.float64) >= threshold).sum()), len(values[score]))
        for name, score, threshold in rows
        if score in values
    }
