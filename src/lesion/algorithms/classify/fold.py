"""Fold: one network trained on all rows but a fold's, judged by that fold's.

Nothing is carried from one fold to the next.
"""

# D features of a picture · K outputs · S samples · V views

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.loop import predict, train_one_epoch
from lesion.algorithms.classify.results import judge
from lesion.algorithms.classify.start import (
    Shared,
    class_weights,
    probe_head,
    start_training,
    step_settings,
)
from lesion.data.augment import Augment
from lesion.data.loader import Batch, Dataset, load, ordered_batches, training_batches
from lesion.data.metadata import MetadataEncoder
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.device import Precision
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.training import EpochSums, Training
from lesion.errors import UserError
from lesion.report.watch import Watch
from lesion.stop import Stop
from lesion.targets import Weights

log = logging.getLogger(__name__)

START = -1  # the number of the epoch before the first


@dataclass(frozen=True)
class FoldRows:
    """One fold's rows: which are learned from and which are held out, what is fed of them, how much a class counts."""

    fold: int
    training_S: NDArray[np.intp]
    held_S: NDArray[np.intp]
    dataset: Dataset
    encoder: MetadataEncoder
    weights_K: Weights

    def __len__(self) -> int:
        return len(self.training_S) + len(self.held_S)


def run_fold(
    fold: int,
    held_S: NDArray[np.bool_],
    shared: Shared,
    features_VSD: NDArray[np.float32] | None,
    checkpoints: Checkpoints,
    *,
    stop: Stop,
    bar: tqdm[Any],
    watch: Watch,
) -> FoldResult:
    """Trains until the epochs are over or the metric stops rising, keeps the best epoch, predicts what was held out.

    A fold that was finished before the job was killed is taken from its checkpoint, and one that was not goes on after
    the last step that was saved. With `features_VSD` the last layer starts from them, and that start is the first that
    is judged.
    """
    finished, unfinished = f"fold_{fold}", f"fold_{fold}.step"
    config = shared.config
    if state := checkpoints.load(finished):
        log.info("fold=%d was finished before this job was stopped", fold)
        bar.update(config.epochs * len(held_S))
        return FoldResult.of_state(state)
    rows = rows_of(fold, held_S, shared)
    if features_VSD is None:
        training, start = start_training(shared, rows.encoder, None), None
    else:
        head = probe_head(features_VSD, rows.training_S, shared, rows.weights_K)
        training = start_training(shared, rows.encoder, head)
        start = judged(rows.held_S, torch.from_numpy(head.logits(features_VSD[:, rows.held_S])), shared)
        training.early_stopping.update(START, start.scores[config.metric], training.network)
        log.info("fold=%d start=probe %s=%.4f", fold, config.metric, start.scores[config.metric])
    if state := checkpoints.load(unfinished):
        training.restore(state)
        log.info("fold=%d goes on in epoch=%d after step=%d", fold, len(training.history), training.sums.num_steps)
        bar.update(len(training.history) * len(rows) + training.sums.num_samples)
    watch.begin(fold, training.history)
    while len(training.history) < config.epochs and not training.early_stopping.should_stop:
        save = partial(checkpoints.after_step, unfinished, training.state)
        with stop.held():
            run_epoch(training, rows, shared, after_step=save, bar=bar, watch=watch)
            checkpoints.save(unfinished, training.state())
            watch.epoch(training.history[-1], num_pictures=len(rows), is_last=training.early_stopping.should_stop)
    bar.total = (bar.total or 0) - (config.epochs - len(training.history)) * len(rows)

    stopping = training.early_stopping
    training.network.load_state_dict(stopping.best_weights)
    if config.epochs == 0 and start is not None:  # the same network's answers, from features at hand
        final = start
    else:
        final = score(training.network, held_batches(rows, shared), shared, num_views=config.tta, precision="fp32")
    log.info("fold=%d best_epoch=%d rows=%d", fold, stopping.best_epoch, len(final.index_S))
    watch.end(shared.target, shared.targets_SK[final.index_S], final.probs_SK, final.scores)
    result = FoldResult(
        fold,
        stopping.best_weights,
        rows.encoder,
        final.index_S,
        final.probs_SK,
        stopping.best_epoch,
        final.scores,
        training.history,
    )
    checkpoints.save(finished, result.state())
    checkpoints.remove(unfinished)
    return result


def rows_of(fold: int, held_S: NDArray[np.bool_], shared: Shared) -> FoldRows:
    """The fold's rows; what is fitted to rows is fitted to those that are learned from."""
    training_S = np.flatnonzero(~held_S)
    training_rows = [shared.metadata_rows[row] for row in training_S.tolist()]
    encoder = MetadataEncoder.fit(training_rows, shared.metadata_kinds, logs=shared.config.log_columns)
    features_SM, nothing_M = encoder.encode(shared.metadata_rows), encoder.encode([{}])[0]
    dataset = Dataset(shared.pictures, features_SM, shared.targets_SK, nothing_M)
    weights_K = class_weights(shared.config, shared.target, shared.targets_SK[training_S])
    return FoldRows(fold, training_S, np.flatnonzero(held_S), dataset, encoder, weights_K)


def run_epoch(
    training: Training, rows: FoldRows, shared: Shared, *, after_step: Callable[[], None], bar: tqdm[Any], watch: Watch
) -> None:
    """What is left of the epoch in work, the judgement of the held rows after it, and what follows for the next."""
    config = shared.config
    epoch = len(training.history)
    key = (config.seed, rows.fold, epoch)
    order = training_batches(rows.training_S, config.batch_size, key=key)
    num_done = training.sums.num_samples
    batches = load(
        rows.dataset,
        [shared.data_parallel.slice(rows_N) for rows_N in order[training.sums.num_steps :]],
        Augment(config.image_size),
        num_workers=shared.num_workers,
        key=key,
        metadata_dropout=config.metadata_dropout,
    )
    with torch.random.fork_rng(devices=[shared.device] if shared.device.type == "cuda" else []):
        train_loss = train_one_epoch(
            training,
            watch.training(counted(batches, bar, shared.data_parallel), epoch),
            step_settings(shared, rows.weights_K, epoch=epoch),
            num_steps=len(order),
            key=key,
            after_step=after_step,
        )
    training.sums = EpochSums()
    shared.data_parallel.broadcast_buffers(training.eval_network)
    held = counted(held_batches(rows, shared), bar, shared.data_parallel)
    scores = score(training.eval_network, held, shared, num_views=1, precision=shared.precision).scores
    value = scores[config.metric]
    training.early_stopping.update(epoch, value, training.eval_network)
    row = {"fold": rows.fold, "epoch": epoch, "lr": training.schedule.learning_rate, "train_loss": train_loss, **scores}
    training.history.append({**row, **watch.speed(len(rows) - num_done)})
    training.schedule.after_epoch(value)


def held_batches(rows: FoldRows, shared: Shared) -> Iterator[Batch]:
    """This process's slice of the held-out rows, as prediction prepares them."""
    batches = ordered_batches(shared.data_parallel.slice(rows.held_S), shared.config.batch_size_predict)
    return load(rows.dataset, batches, num_workers=shared.num_workers)


@dataclass(frozen=True)
class Judged:
    """Rows by where they stand in the table, their probabilities, and what they are worth."""

    index_S: NDArray[np.intp]
    probs_SK: NDArray[np.float32]
    scores: dict[str, float]


def score(
    network: nn.Module, batches: Iterable[Batch], shared: Shared, *, num_views: int, precision: Precision
) -> Judged:
    """What the network makes of the rows of all processes' batches."""
    predicted = predict(network, batches, shared.device, num_views=num_views, precision=precision)
    return judged(*shared.data_parallel.gather(*predicted), shared)


def judged(index_S: NDArray[np.intp], logits_VSK: Tensor, shared: Shared) -> Judged:
    """The views' mean probabilities of some rows, judged."""
    probs_SK = shared.target.activate(logits_VSK.numpy()).mean(axis=0).astype(np.float32)
    if not np.isfinite(probs_SK).all():
        raise UserError("the network answers with no numbers", do="Set a lower learning_rate.", kind="diverged")
    return Judged(index_S, probs_SK, judge(shared.target, shared.targets_SK[index_S], probs_SK))


def counted(batches: Iterable[Batch], bar: tqdm[Any], data_parallel: DataParallelGroup) -> Iterator[Batch]:
    """The same batches; the progress bar moves on as each is done."""
    for batch in batches:
        yield batch
        bar.update(len(batch.index_N) * data_parallel.size)  # nearly what all have done
