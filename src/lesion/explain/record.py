"""Record: which map an artifact's networks are explained by, and what was measured when it was chosen. Plain values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(max_length=1000)]
Correlation = Annotated[float, Field(ge=-1, le=1)]

# By how much a map must gain more than random numbers: standard errors, and probability. The best of many maps of a
# network that has learnt nothing is some thousandths better than random numbers on nearly every picture.
MIN_ERRORS, MIN_GAIN = 2.0, 0.02
MORE_ALIKE = 0.1  # by how much maps of random weights may be more alike than unrelated ones


class CandidateRecord(BaseModel):
    """One map that was tried: areas under its insertion and deletion curves, means over the pictures."""

    model_config = ConfigDict(frozen=True)

    method: Name
    level: Name = ""  # of the methods that have one
    insertion: Share
    deletion: Share

    @property
    def gain(self) -> float:
        """Insertion − deletion: what maps are compared by."""
        return self.insertion - self.deletion


class ExplanationRecord(BaseModel):
    """The map that was chosen on held-out pictures, by insertion − deletion.

    `gain_error`: the standard error, over the pictures, of its gain over random numbers; None of a single picture.
    `method` and `level`: for torch. `without_gradient`: for the CPU graph, and `agreement`, the rank correlation of the
    two maps, mean over the pictures. `chance`: a map of random numbers on the same pictures. `randomised`: how alike
    the chosen maps are to those that the same network gives with random weights, mean |rank correlation|; near 1 would
    mean that the map does not show what was learnt (Adebayo et al. 2018). `randomised_other`: the same between maps of
    different pictures, which is as alike as unrelated maps are: `randomised` should not lie far above it.
    """

    model_config = ConfigDict(frozen=True)

    method: Name
    level: Name = ""
    insertion: Share
    deletion: Share
    chance: CandidateRecord
    without_gradient: Literal["cam", "occlusion"]
    agreement: Correlation | None = None
    gain_error: Annotated[float, Field(ge=0)] | None = None
    randomised: Correlation | None = None
    randomised_other: Correlation | None = None
    num_pictures: Annotated[int, Field(ge=1)]
    candidates: list[CandidateRecord] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def warning(self) -> str:
        """Why the maps are not to be read as what was learnt; "" where nothing speaks against it. Kept beside what it
        follows from, so that whoever reads the artifact or the report has the same words."""
        return "; ".join([*self._no_better_than_chance(), *self._same_with_random_weights()])

    def is_of(self, method: str | None) -> bool:
        """Whether a map by that method, None for the artifact's own choice, is one of those that were chosen."""
        return method in (None, self.method, self.without_gradient)

    def _no_better_than_chance(self) -> list[str]:
        gain = self.insertion - self.deletion - self.chance.gain
        if gain > max(MIN_GAIN, MIN_ERRORS * (self.gain_error or 0.0)):
            return []
        images = "1 image" if self.num_pictures == 1 else f"{self.num_pictures} images"
        error = "" if self.gain_error is None else f", standard error {self.gain_error:.3f}"
        return [f"on {images} no map was clearly better than a random one (gain over it {gain:+.3f}{error})"]

    def _same_with_random_weights(self) -> list[str]:
        same, other = self.randomised, self.randomised_other
        if same is None or other is None or same <= other + MORE_ALIKE:
            return []
        return [
            f"networks of random weights draw much the same ones (correlation {same:.2f}; of unrelated images "
            f"{other:.2f}), so they show the image more than what was learnt"
        ]
