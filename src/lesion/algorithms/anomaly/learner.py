"""Learner: the one interface of the scorers that a job can train, and which of them the settings ask for."""

# S rows · h, w places

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.gan.learner import GanLearner
from lesion.algorithms.anomaly.manifest import GanRecord, MemoryRecord
from lesion.algorithms.anomaly.memory_learner import MemoryLearner
from lesion.algorithms.anomaly.resumable import compute_rows
from lesion.data.cache import Pictures
from lesion.data.loader import Batch
from lesion.data.remark import Remark
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.run import Run
from lesion.models.starting_weights import preprocess_for
from lesion.models.weight_files import WeightsFile


class Learner(Protocol):
    """Learns a scorer: a module from uint8 RGB pictures [N, H, W, 3] to the distances of their places from normal,
    float32 [N, h, w], 0 or more, which depend on no other picture of the batch."""

    @property
    def name(self) -> str:
        """What it learns, in a word."""
        ...

    @property
    def less_memory(self) -> str:
        """What to change where memory is short, as the end of a sentence."""
        ...

    def refuse(self, run: Run) -> None:
        """Raises UserError where it cannot learn on these processes and this device."""
        ...

    def remarks(self) -> Sequence[Remark]:
        """What is said of its size before an image is read. Raises UserError for settings that cannot be."""
        ...

    @property
    def weights_file(self) -> WeightsFile | None:
        """The file of pretrained weights that it starts from, if there is one."""
        ...

    def starting_digest(self) -> str:
        """A digest of the weights that it starts from, for the fingerprint of checkpoints."""
        ...

    def learn(
        self,
        pictures: Pictures,
        rows_S: NDArray[np.intp],
        group_S: NDArray[np.str_],
        *,
        run: Run,
        checkpoints: Checkpoints,
    ) -> Any:
        """The scorer, on the run's device, from the pictures of these normal rows, whose groups are `group_S`. A killed
        job goes on where it was."""
        ...

    def record(self, scorer: Any, file: str) -> MemoryRecord | GanRecord:
        """What the manifest says of the scorer that it learned, whose weights are in `file`."""
        ...


def learner_of(config: AnomalyConfig, channel: Path | None) -> Learner:
    """The learner that the settings ask for. `channel` is that of pretrained weights. Reads nothing yet."""
    return GanLearner(config) if config.scorer == "gan" else MemoryLearner(config, channel)


def preprocess_of(config: AnomalyConfig) -> Preprocess:
    """What the scorer sees of a picture. The GAN's pictures are in −1 to 1, whatever timm states for the backbone."""
    if config.scorer == "gan":
        config = config.model_copy(update={"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3})
    return preprocess_for(config)


def held_out_maps(
    scorer: nn.Module,
    pictures: Pictures,
    rows_S: NDArray[np.intp],
    *,
    batch_size: int,
    run: Run,
    checkpoints: Checkpoints,
) -> NDArray[np.float32]:
    """The distances [S, h, w] of the pictures of these rows, from none of which was learned."""

    def distances(batch: Batch) -> Tensor:
        return scorer(torch.from_numpy(batch.images_NHWC).to(run.device))  # type: ignore[no-any-return]

    found = compute_rows("maps", rows_S, distances, pictures, batch_size=batch_size, run=run, checkpoints=checkpoints)
    return np.asarray(found.numpy())
