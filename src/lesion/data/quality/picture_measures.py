"""Picture measures: the quality and skin tone of every picture of a set, as one array, and the groups they make.

The groups serve the evaluation by subgroup: skin tone, ink, hair, ruler, dark corners.
"""

# S pictures · M measures

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lesion.data.quality.image_quality import MEASURES, Surveyed
from lesion.data.quality.skin_tone import SkinTone

COLUMNS = (*MEASURES, "ruler", "skin_tone_deg", "skin_tone_error_deg")
# From which value on a picture counts as one that shows it. Of the training pictures of HAM10000 the extreme ones were
# looked at: below these are specks of JPEG, net-like pigment and blue lesions.
SHOWN = {"ink": 0.002, "hair": 0.02, "ruler": 6, "dark_corners": 0.01}
UNKNOWN = "unknown"


@dataclass(frozen=True)
class PictureMeasures:
    """The measures [S, M] by COLUMNS, float32; NaN where a picture cannot be read, or shows no skin."""

    values_SM: NDArray[np.float32]

    @classmethod
    def of(cls, pictures_S: Sequence[Surveyed | None]) -> Self:
        """Of each picture's measures; None stands for one that cannot be read."""
        values_SM = np.full((len(pictures_S), len(COLUMNS)), np.nan, dtype=np.float32)
        for row, picture in enumerate(pictures_S):
            if picture is not None:
                tone = (np.nan, np.nan) if picture.skin_tone is None else astuple(picture.skin_tone)
                values_SM[row] = (*astuple(picture.quality), picture.ruler, *tone)
        return cls(values_SM)

    def __len__(self) -> int:
        return len(self.values_SM)

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """One measure [S]."""
        return self.values_SM[:, COLUMNS.index(name)]

    def rows(self, index_S: NDArray[np.intp]) -> PictureMeasures:
        return PictureMeasures(self.values_SM[index_S])

    def readable(self) -> dict[str, NDArray[np.float32]]:
        """The measures of quality by name, of the pictures that could be read."""
        read_SM = self.values_SM[~np.isnan(self["blur"])]
        return {name: read_SM[:, number] for number, name in enumerate(MEASURES)}

    @property
    def share_of_certain_tones(self) -> float | None:
        """The share of pictures whose skin tone is in one band with two standard errors to both sides; None if none
        shows skin."""
        tones = [
            SkinTone(*pair)
            for pair in zip(self["skin_tone_deg"].tolist(), self["skin_tone_error_deg"].tolist(), strict=True)
            if pair[0] == pair[0]
        ]
        return sum(tone.is_certain for tone in tones) / len(tones) if tones else None

    def groups(self) -> dict[str, list[str]]:
        """Columns for the evaluation by subgroup: the band of the skin tone, and yes or no for what else is shown.

        `unknown` where a picture cannot be read or shows no skin. A band is that of the angle; how sure it is, its
        error says.
        """
        columns = {
            "skin tone (measured)": [
                UNKNOWN if np.isnan(angle) else SkinTone(float(angle), 0.0).band for angle in self["skin_tone_deg"]
            ]
        }
        for name, least in SHOWN.items():
            columns[f"{name.replace('_', ' ')} (measured)"] = [
                UNKNOWN if np.isnan(value) else "yes" if value >= least else "no" for value in self[name]
            ]
        return columns

    def to_text(self) -> str:
        """For a file of JSON."""
        return base64.b64encode(self.values_SM.astype("<f4").tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The inverse of `to_text`. Raises ValueError for another text."""
        return cls(np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4").reshape(-1, len(COLUMNS)))
