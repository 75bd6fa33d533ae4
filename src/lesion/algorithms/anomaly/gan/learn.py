"""Learn: phases 0 and 1: the generator from pictures of normal tissue, then the errors that it makes on others."""

# N batch · S rows · C channels

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.algorithms.anomaly.gan.errors import ErrorMoments
from lesion.algorithms.anomaly.gan.growth import Stage, batches_of
from lesion.algorithms.anomaly.gan.rollback import NOW, Rollback
from lesion.algorithms.anomaly.gan.scorer import GanScorer
from lesion.algorithms.anomaly.gan.training import LOSSES, GanTraining
from lesion.algorithms.anomaly.resumable import compute_rows, pictures_alone
from lesion.data.cache import Pictures
from lesion.data.loader import Batch, load_batches
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.run import Run

log = logging.getLogger(__name__)

GOOD_STEPS = 200  # between two states that training can go back to; the end of each stage is one too
Rows = NDArray[np.intp]


def train_generator(
    training: GanTraining,
    stages: Sequence[Stage],
    pictures: Pictures,
    rows_S: Rows,
    *,
    num_pictures: int,
    seed: int,
    run: Run,
    checkpoints: Checkpoints,
) -> None:
    """Phase 0: trains all stages with `num_pictures` each, on the pictures of these rows. A killed job goes on where
    it was, bit for bit. Raises UserError where the losses do not stay numbers."""
    dataset, rollback = pictures_alone(pictures, rows_S), Rollback(training, checkpoints)
    with run.progress(len(stages) * num_pictures) as bar:
        while training.stage < len(stages):
            number, stage, started = training.stage, stages[training.stage], time.monotonic()
            batches = batches_of(stage, number, rows_S, pictures=num_pictures, seed=seed)
            for batch in load_batches(dataset, batches[training.step :], num_workers=run.num_workers):
                losses = training.learn(stage, torch.from_numpy(batch.images_NHWC))
                is_last = training.step == len(batches)
                if is_last:
                    training.next_stage()
                is_good = rollback.after_step(losses, is_due=is_last or training.step % GOOD_STEPS == 0)
                bar.update(training.num_learned - bar.n)
                if not is_good:
                    break  # training is at an earlier step, perhaps of an earlier stage
                checkpoints.after_step(NOW, training.state)
            if training.stage > number:
                told = " ".join(f"loss_{name}={loss:.4g}" for name, loss in zip(LOSSES, losses.tolist(), strict=True))
                seconds = time.monotonic() - started
                log.info("gan: stage=%d of %d (%s) %s seconds=%.1f", number + 1, len(stages), stage, told, seconds)
    checkpoints.save(NOW, training.state())


def learn_errors(
    scorer: GanScorer, pictures: Pictures, rows_S: Rows, *, batch_size: int, run: Run, checkpoints: Checkpoints
) -> None:
    """Phase 1: gives the scorer the mean and the covariance of the errors of these rows' pictures, which phase 0 has
    not seen; not masked."""

    def moments(batch: Batch) -> Tensor:
        errors_NHWC = scorer.errors(torch.from_numpy(batch.images_NHWC).to(run.device))
        return torch.stack([ErrorMoments.of(errors_HWC.flatten(0, 1)).as_row() for errors_HWC in errors_NHWC])

    rows = compute_rows("errors", rows_S, moments, pictures, batch_size=batch_size, run=run, checkpoints=checkpoints)
    together = functools.reduce(ErrorMoments.merged, (ErrorMoments.from_row(row, len(scorer.mean_C)) for row in rows))
    scorer.mean_C.copy_(together.mean_C)
    scorer.whitening_CC.copy_(together.whitening())
    log.info("gan: errors of images=%d mean=%s", len(rows_S), " ".join(f"{mean:.4f}" for mean in together.mean_C))
