"""Lesion's parts, each alone: decoding, the input pipeline, the training step on one batch, and the real training step.

    python lesion_parts.py ROOT --num-timed 8     # measures for each line on stdin, a JSON line each

ROOT is a job as `lesion train` takes it. This is the one benchmark that knows Lesion's inside, and it knows it here;
what it puts together is what `algorithms/classify/train.py` and `fold.py` do, without folds, checks and metadata.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from peers.job import NUM_WARM, OnBatch, measure_on_demand, rate_of_pass, rate_of_steps

from lesion import sagemaker
from lesion.algorithms.classify.config import ClassifyConfig

if TYPE_CHECKING:
    from lesion.data.loader import Batch


class LesionParts:
    def __init__(self, root: Path, num_timed: int) -> None:
        from lesion.algorithms.classify.task import questions
        from lesion.algorithms.classify.training.setup import (
            Setup,
            class_weights,
            start_training,
            step_settings,
        )
        from lesion.data.cache import Cache
        from lesion.data.labels.encode import read_labels
        from lesion.data.loader import Dataset
        from lesion.data.metadata import MetadataEncoder
        from lesion.engine.distributed import JobProcesses
        from lesion.engine.run import create_run
        from lesion.models.starting_weights import preprocess_for, pretrained_backbone

        job = sagemaker.read_job(root)
        self.config = config = ClassifyConfig.parse(job.hyperparameters)
        self.num_timed, self.num_epochs = num_timed, 0
        preprocess = preprocess_for(config)
        self.cache = Cache(job.cache_dir, preprocess, is_wanted=config.cache == "auto")
        run = create_run(job, config, JobProcesses(["localhost"], 0, job.stop), self.cache)
        self.num_workers = run.num_workers

        self.source, _ = questions(config, check_settings=lambda: None).open(job.channels).whole()
        table = self.source.table()
        labels = read_labels(table, positive_class=config.positive_class)
        targets_SK = labels.encode(table)
        self.every_S = np.arange(len(table))
        self.cache.reserve(len(table))
        self.fill_images_per_s = rate_of_pass(self.fill)

        setup = Setup(
            run=run,
            config=config,
            source=self.source,
            pictures=self.cache.pictures(self.source, self.every_S),
            targets_SK=targets_SK,
            metadata_rows=[{}] * len(table),
            metadata_kinds={},
            preprocess=preprocess,
            target=labels.target,
            weights=pretrained_backbone(config, job.channels.get("pretrained")).tensors,
        )
        none = MetadataEncoder.fit(setup.metadata_rows, setup.metadata_kinds, logs=())
        features_SM = none.encode(setup.metadata_rows)
        self.dataset = Dataset(setup.pictures, features_SM, targets_SK, features_SM[0])
        self.training = start_training(setup, none, None)
        # The last epoch's settings, when all that will learn does.
        weights_K = class_weights(config, labels.target, targets_SK)
        self.settings = step_settings(setup, weights_K, epoch=max(config.epochs - 1, 0))

    def fill(self, on_batch: OnBatch) -> None:
        """The one pass in which pictures are decoded and kept."""

        def keep(index: int) -> None:
            self.cache.keep(index, self.source.read(index))

        self.each_picture(keep, on_batch)

    def decode(self, on_batch: OnBatch) -> None:
        self.each_picture(self.source.read, on_batch)

    def each_picture(self, do: Callable[[int], object], on_batch: OnBatch) -> None:
        on_batch(0)
        with ThreadPoolExecutor(self.num_workers) as pool:
            for _ in pool.map(do, self.every_S.tolist()):
                on_batch(1)

    def epoch(self, number: int) -> Iterator[Batch]:
        from lesion.data.augment import Augment
        from lesion.data.loader import load_batches, training_batches

        key = (0, 0, number)
        order = training_batches(self.every_S, self.config.batch_size, key=key)
        return load_batches(
            self.dataset,
            order,
            Augment(self.config.image_size, self.config.flips),
            num_workers=self.num_workers,
            key=key,
        )

    def pipeline(self, on_batch: OnBatch) -> None:
        on_batch(0)
        for batch in self.epoch(0):
            on_batch(len(batch.index_N))

    def compute(self, on_batch: OnBatch) -> None:
        """Steps on one batch that lies ready."""
        if not hasattr(self, "batch"):
            self.batch = next(self.epoch(0))
        self.train(itertools.repeat(self.batch), on_batch)

    def real(self, on_batch: OnBatch) -> None:
        self.num_epochs += 1
        self.train(self.epoch(self.num_epochs), on_batch)

    def train(self, batches: Iterator[Batch], on_batch: OnBatch) -> None:
        """Lesion's own loop over as many of the batches as are wanted."""
        from lesion.algorithms.classify.training.loop import train_one_epoch
        from lesion.engine.training import EpochSums

        num_steps = NUM_WARM + self.num_timed
        self.training.sums = EpochSums()
        train_one_epoch(
            self.training,
            itertools.islice(batches, num_steps),
            self.settings,
            num_steps=num_steps,
            after_step=lambda batch: on_batch(len(batch.index_N)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--num-timed", type=int, default=8)
    args = parser.parse_args()
    sagemaker.prepare_libraries()
    parts = LesionParts(args.root, args.num_timed)
    with parts.cache:
        measurements = {
            "decode": lambda: rate_of_pass(parts.decode),
            "fill": lambda: parts.fill_images_per_s,
            "pipeline": lambda: rate_of_pass(parts.pipeline),
            "compute": lambda: rate_of_steps(parts.compute, args.num_timed),
            "real": lambda: rate_of_steps(parts.real, args.num_timed),
        }
        measure_on_demand(measurements)


if __name__ == "__main__":
    main()
