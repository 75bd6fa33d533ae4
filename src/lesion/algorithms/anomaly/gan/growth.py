"""Growth: which block is trained at which picture, and how far it has faded in. Counts pictures, never steps."""

# S rows · N batch

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.gan.networks import side_of

LARGEST_BATCH, SMALLEST_BATCH = 32, 4
BATCH_PX = 2048  # batch size × side in pixels, between these two


@dataclass(frozen=True)
class Stage:
    """A part of training: a block fades in, or is trained once it has faded in."""

    block: int
    is_fading: bool

    @property
    def side_px(self) -> int:
        return side_of(self.block)

    @property
    def batch_size(self) -> int:
        return int(np.clip(BATCH_PX // self.side_px, SMALLEST_BATCH, LARGEST_BATCH))

    def alpha(self, num_pictures: int, of_pictures: int) -> float:
        """How much of the block counts, 0 to 1, after so many of the stage's pictures."""
        return num_pictures / of_pictures if self.is_fading else 1.0

    def __str__(self) -> str:
        return f"{self.side_px} px {'fade-in' if self.is_fading else 'stabilisation'}"


def stages_of(num_blocks: int) -> list[Stage]:
    """The 2B − 1 stages: the first block is trained, then each next one fades in and is trained."""
    return [Stage(block, fading) for block in range(num_blocks) for fading in ((True, False) if block else (False,))]


def batches_of(
    stage: Stage, number: int, rows_S: NDArray[np.intp], *, pictures: int, seed: int
) -> list[NDArray[np.intp]]:
    """The rows of each step of a stage, the `number`-th: together exactly `pictures`, in batches of nearly one size.

    Every row comes once before one comes again. The order depends on seed and number alone.
    """
    num_rounds = -(-pictures // len(rows_S))
    rng = np.random.default_rng([seed, number])
    order = np.concatenate([rng.permutation(rows_S) for _ in range(num_rounds)])[:pictures]
    return list(np.array_split(order, -(-pictures // stage.batch_size)))
