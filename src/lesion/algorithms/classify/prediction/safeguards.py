"""Safeguards: what an answer says beside its probability of how unusual a picture is: quality and familiarity.

Fitted at the end of training (save_safeguards), applied here while serving. Imports neither torch nor SciPy.
"""

# F folds · V views · D features · A numbers of appearance

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Output
from lesion.algorithms.classify.manifest import ClassifierRecord, QualityRecord
from lesion.artifact import Manifest, read_arrays
from lesion.data.appearance import NUM_VALUES, appearance
from lesion.data.decode.images import Pixels
from lesion.data.quality.image_quality import image_quality
from lesion.data.quality.quality_bounds import in_words, warnings_of
from lesion.errors import UserError
from lesion.evaluation.familiarity import Familiarity
from lesion.stored_files import unusable

FAMILIARITY = "familiarity.safetensors"
UNFAMILIAR = "unfamiliar"


@dataclass(frozen=True)
class Note:
    """What is noted of a picture while its pixels are at hand, for the answer."""

    warnings: tuple[str, ...]
    appearance_A: NDArray[np.float32] | None


@dataclass(frozen=True)
class Safeguards:
    """The quality gate, the familiarity score, or both."""

    quality: QualityRecord | None
    familiarity: Familiarity | None
    rare: float = 0.0  # below it a picture is called unfamiliar

    def note(self, image: Pixels, square_HWC: Pixels, *, is_told: bool = True) -> Note:
        """What there is to say of a picture (uint8 RGB, any size) and of the square that the networks see.

        Where the answer has no place for it (`is_told` false), only what may refuse the picture is measured.

        Raises UserError of kind `low_quality` where on_low_quality=refuse and the picture is worse than nearly all of
        training.
        """
        warnings: tuple[str, ...] = ()
        if self.quality is not None and (is_told or self.quality.on_low_quality == "refuse"):
            warnings = warnings_of(image_quality(image), self.quality.bounds)
            if warnings and self.quality.on_low_quality == "refuse":
                raise UserError(
                    f"the image's quality is too low: {in_words(warnings)}, compared with the training images",
                    do="Take the image again.",
                    kind="low_quality",
                )
        has_appearance = is_told and self.familiarity is not None
        return Note(warnings, appearance(square_HWC) if has_appearance else None)

    def judge(self, output: Output, folds: Sequence[int]) -> tuple[float | None, list[str]]:
        """The familiarity of a picture, None where it is not known, and all its warnings, each once."""
        familiarity = None
        notes: tuple[Note, ...] = output.notes
        appearance_NA = [note.appearance_A for note in notes if note.appearance_A is not None]
        if self.familiarity is not None and output.features_FVD is not None and appearance_NA:
            familiarity = self.familiarity.of(output.features_FVD, np.stack(appearance_NA), folds)
        warnings = list(dict.fromkeys(warning for note in notes for warning in note.warnings))
        if familiarity is not None and familiarity < self.rare:
            warnings.append(UNFAMILIAR)
        return familiarity, warnings


def load_safeguards(model_dir: Path, manifest: Manifest, model: ClassifierRecord) -> Safeguards | None:
    """The safeguards of an artifact; None where it has none. Raises UserError for statistics that cannot be used."""
    quality = model.quality
    if quality is not None and quality.on_low_quality == "ignore":
        quality = None
    record = model.familiarity
    if record is None:
        return None if quality is None else Safeguards(quality, None)
    try:
        familiarity = Familiarity.of_arrays(read_arrays(model_dir, manifest, record.file), record.folds)
        widths = {len(components.mean_D) for components in familiarity.folds.values()}
        wanted = None if model.graph is None else model.graph.num_features
        if len(familiarity.appearance.mean_D) != NUM_VALUES or (wanted is not None and widths - {wanted}):
            raise ValueError("its statistics are of another number of features")
    except ValueError as error:
        raise unusable(f"the statistics of familiarity cannot be used: {error}", model_dir / record.file) from error
    return Safeguards(quality, familiarity, record.rare)
