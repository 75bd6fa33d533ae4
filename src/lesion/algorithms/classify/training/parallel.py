"""Parallel: how several processes share the work: fold-parallel or data-parallel."""

# S samples

from __future__ import annotations

import logging
import math

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import Task
from lesion.data.folds import Folds
from lesion.engine.distributed import DataParallelGroup, join_data_parallel_group
from lesion.engine.run import Run
from lesion.errors import UserError
from lesion.job import Job

log = logging.getLogger(__name__)

SMALLEST_SLICE = 2  # pictures: with one BatchNorm has no variance to go by


def plan_parallelism(
    config: ClassifyConfig, task: Task, run: Run
) -> tuple[DataParallelGroup, list[tuple[int, NDArray[np.bool_]]]]:
    """The data-parallel group that this process trains in, and the folds, numbered, that it takes part in.

    Fold-parallel, each process trains other folds, alone; data-parallel, all train each fold together. Raises
    UserError where batches are too small to be cut.
    """
    training_FS, processes = task.training_FS, run.processes
    numbered = list(enumerate(task.trained_FS))
    size = len(processes.names)
    if config.processes == "auto" and config.parallel == "auto" and run.device.type == "cpu":
        # There are more processes than folds only where the table has fewer than `folds`: the rest wait, since the
        # cores that they leave train a fold as fast as slices of its batches would.
        config = config.model_copy(update={"parallel": "folds"})
    if size == 1 or not are_batches_cut(config, training_FS, size):
        refuse_small_parts(config, training_FS, 1)
        return DataParallelGroup(), processes.share(numbered)
    refuse_small_parts(config, training_FS, size)
    log.info(
        "parallel=data processes=%d: each computes a slice of every batch, and its BatchNorm sees only that slice", size
    )
    return join_data_parallel_group(processes, run.device, per_host=run.job.processes), numbered


def cores_of_fold(fold: int, num_folds: int, job: Job) -> int:
    """How many of its host's cores a fold has that one process trains.

    More than the process's share where it is of a last round with fewer folds than the host has processes: of 5 folds
    among 2 the last has all. Depends on numbers alone, and not on who is ready when, since results depend on it.
    """
    size = len(job.process_names)
    in_round = min(size, num_folds - fold // size * size)
    on_host = min(max(in_round - job.rank * job.processes, 1), job.processes)
    return job.host_cores // on_host


def are_batches_cut(config: ClassifyConfig, training_FS: Folds, size: int) -> bool:
    """Whether training is data parallel over `size` processes. Raises UserError if parallel=data is impossible."""
    if config.parallel == "folds" or (config.parallel == "auto" and len(training_FS) >= size):
        return False
    slices = [smallest_slice(config, training_S, size) for training_S in training_FS]
    if min(slices) >= SMALLEST_SLICE:
        return True
    if config.parallel == "auto":
        return False
    raise UserError(
        f"a batch of {config.batch_size} images divided among {size} processes leaves slices of {min(slices)}, and "
        f"BatchNorm needs at least {SMALLEST_SLICE}",
        where="hyperparameters batch_size_train, processes, parallel",
        do="Raise batch_size_train, lower processes, or set parallel=folds.",
        kind="hyperparameters",
    )


def refuse_small_parts(config: ClassifyConfig, training_FS: Folds, size: int) -> None:
    """Raises UserError where gradient accumulation leaves micro-batches of less than two pictures."""
    smallest = min(smallest_slice(config, training_S, size) for training_S in training_FS)
    if config.gradient_accumulation > 1 and smallest // config.gradient_accumulation < SMALLEST_SLICE:
        raise UserError(
            f"gradient_accumulation={config.gradient_accumulation} divides batches of {smallest} images into "
            f"micro-batches of less than {SMALLEST_SLICE}",
            where="hyperparameters gradient_accumulation, batch_size_train",
            do="Lower gradient_accumulation, or raise batch_size_train.",
            kind="hyperparameters",
        )


def smallest_slice(config: ClassifyConfig, training_S: NDArray[np.bool_], size: int) -> int:
    """The smallest slice of a batch that one of `size` processes gets."""
    rows = int(training_S.sum())
    return rows // math.ceil(rows / config.batch_size) // size
