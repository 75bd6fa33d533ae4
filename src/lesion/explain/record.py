"""Record: which map an artifact's networks are explained by, and what was measured when it was chosen. Plain values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(max_length=1000)]
Correlation = Annotated[float, Field(ge=-1, le=1)]


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
    randomised: Correlation | None = None
    randomised_other: Correlation | None = None
    num_pictures: Annotated[int, Field(ge=1)]
    candidates: list[CandidateRecord] = []

    @property
    def is_better_than_chance(self) -> bool:
        """Whether it was more faithful than random numbers."""
        return self.insertion - self.deletion > self.chance.gain
