"""fastai: a DataBlock over the table, `vision_learner` and its schedules: `fine_tune` from weights, `fit_one_cycle`
from noise. The last epoch is taken, where its one cycle ends.
"""

from __future__ import annotations

# First, since its clock counts the import of the others.
from job import NUM_WARM, Indices, Job, OnBatch, Phases, rate_of_pass, rate_of_steps, read_job, run  # isort: skip

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    Callback,
    CancelFitException,
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    IndexSplitter,
    Normalize,
    Resize,
    RocAucBinary,
    aug_transforms,
    set_seed,
    vision_learner,
)
from numpy.typing import NDArray


class FastaiLearner:
    def __init__(self, job: Job) -> None:
        if job.bf16 and not torch.cuda.is_available():
            raise SystemExit("fastai's mixed precision knows GPUs only; leave --bf16 out")
        self.job, self.table = job, job.table()
        set_seed(job.seed)

    def cross_validate(self, phases: Phases) -> NDArray[np.float64]:
        job = self.job
        prob_S = np.full(len(self.table), np.nan)
        for fold, training_S, valid_S in job.splits():
            with phases("start"):
                learner = self.learner(valid_S)
            with phases("training", job.epochs * len(training_S)):  # fastai validates within
                self.fit(learner)
            with phases("validation", len(valid_S)):
                prob_S[valid_S] = learner.get_preds()[0][:, 1].double().numpy()
            print(f"fold={fold} {learner.recorder.values}")
        return prob_S

    def fit(self, learner: Any) -> None:
        """`epochs` in all. From weights the first trains the head alone, as `fine_tune` does."""
        if self.job.weights is None:
            learner.fit_one_cycle(self.job.epochs, self.job.learning_rate)
        elif self.job.epochs == 1:
            learner.fit_one_cycle(1)  # the head alone
        else:
            learner.fine_tune(self.job.epochs - 1)

    def learner(self, valid_S: Indices) -> Any:
        # Dermoscopy and tissue have no upright; nothing was photographed at a slant.
        transforms = aug_transforms(flip_vert=True, max_warp=0.0)
        block = DataBlock(
            blocks=(ImageBlock, CategoryBlock(vocab=[0, 1])),
            get_x=ColReader("path"),
            get_y=ColReader("target"),
            splitter=IndexSplitter(valid_S.tolist()),
            item_tfms=Resize(self.job.image_size),
            batch_tfms=[*transforms, Normalize.from_stats(self.job.mean, self.job.std)],
        )
        # Without the default's drop_last less than a batch would be no step at all.
        batch_size = min(self.job.batch_size, len(self.table) - len(valid_S))
        loaders = block.dataloaders(self.table, bs=batch_size)
        learner = vision_learner(loaders, self.job.model, metrics=RocAucBinary(), **self.job.timm_args())
        learner.remove_cb(learner.progress)
        return learner.to_bf16() if self.job.bf16 else learner

    def measurements(self) -> dict[str, Callable[[], float]]:
        # At least one row is held out; all others are read and trained on.
        learner = self.learner(np.array([0]))
        learner.unfreeze()
        learner.metrics = []

        def read(on_batch: OnBatch) -> None:
            on_batch(0)
            for images, _ in learner.dls.train:
                on_batch(len(images))

        def train(on_batch: OnBatch) -> None:
            steps = StepsOnly(on_batch, NUM_WARM + self.job.num_timed)
            with learner.no_logging():
                learner.fit(1, self.job.learning_rate, cbs=steps)

        return {"pipeline": lambda: rate_of_pass(read), "real": lambda: rate_of_steps(train, self.job.num_timed)}


class StepsOnly(Callback):
    """Tells of each training step, and ends after `num_steps` of them."""

    def __init__(self, on_batch: OnBatch, num_steps: int) -> None:
        self.on_batch, self.num_steps = on_batch, num_steps

    def before_fit(self) -> None:
        self.num_done = 0

    def after_batch(self) -> None:
        self.on_batch(len(self.x))
        self.num_done += 1
        if self.num_done == self.num_steps:
            raise CancelFitException


if __name__ == "__main__":
    told, arguments = read_job(__doc__)
    run(FastaiLearner(told), told, arguments)
