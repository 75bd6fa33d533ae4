"""Fold: one network trained on all rows but a fold's, judged by that fold's.

Nothing is carried from one fold to the next.
"""

# K outputs · M metadata features · S samples

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.predict import mean_probs
from lesion.algorithms.classify.results import judge
from lesion.data.loader import Batch, Dataset, load, ordered_batches, training_batches
from lesion.data.metadata import Kind, MetadataEncoder, Row
from lesion.data.table import Source
from lesion.data.transforms import Augment, Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.loop import EpochSums, predict, train_one_epoch
from lesion.engine.optim import create_optimizer, create_scheduler, learning_rate
from lesion.engine.ranks import Ranks
from lesion.engine.stopping import BestEpoch
from lesion.engine.training import Training
from lesion.errors import UserError
from lesion.metrics import METRICS, REPORTED
from lesion.models.fusion import FusionNet, create_network
from lesion.models.weights import load_weights
from lesion.stop import Stop
from lesion.targets import Target, Weights

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shared:
    """What all folds start from, the same for each."""

    config: ClassifyConfig
    source: Source
    targets_SK: NDArray[np.float32]
    metadata_rows: Sequence[Row]
    metadata_kinds: Mapping[str, Kind]
    preprocess: Preprocess
    target: Target
    weights: Mapping[str, Tensor] | None
    device: torch.device
    num_workers: int
    ranks: Ranks = field(default_factory=Ranks)  # those that train each fold together


def run_fold(
    fold: int, held_S: NDArray[np.bool_], shared: Shared, checkpoints: Checkpoints, *, stop: Stop, bar: tqdm[Any]
) -> FoldResult:
    """Trains until the epochs are over or the metric stops rising, keeps the best epoch, predicts what was held out.

    A fold that was finished before the job was killed is taken from its checkpoint, and one that was not goes on after
    the last step that was saved.
    """
    finished, unfinished = f"fold_{fold}", f"fold_{fold}.step"
    if state := checkpoints.load(finished):
        log.info("fold=%d was finished before this job was stopped", fold)
        bar.update(shared.config.epochs * len(held_S))
        return FoldResult.of_state(state)
    config, target, ranks = shared.config, shared.target, shared.ranks
    training_S, validation_S = np.flatnonzero(~held_S), np.flatnonzero(held_S)
    training_rows = [shared.metadata_rows[row] for row in training_S.tolist()]
    encoder = MetadataEncoder.fit(training_rows, shared.metadata_kinds, logs=config.log_columns)
    features_SM, nothing_M = encoder.encode(shared.metadata_rows), encoder.encode([{}])[0]
    dataset = Dataset(shared.source, features_SM, shared.targets_SK, nothing_M)
    held_batches = ordered_batches(ranks.slice(validation_S), config.batch_size_validation)
    held = partial(load, dataset, held_batches, lambda: shared.preprocess, num_workers=shared.num_workers)

    network = fresh_network(shared, encoder)
    weights_K = class_weights(config, target, shared.targets_SK[training_S])
    optimizer = create_optimizer(
        network.parameters(), learning_rate=config.learning_rate, weight_decay=config.weight_decay
    )
    better = METRICS[config.metric].better
    scheduler = create_scheduler(optimizer, better=better, factor=config.lr_factor, patience=config.lr_patience)
    best = BestEpoch(better, config.patience)
    training = Training(network, optimizer, scheduler, best)
    if state := checkpoints.load(unfinished):
        training.restore(state)
        log.info("fold=%d goes on in epoch=%d after step=%d", fold, len(training.history), training.sums.num_steps)
        bar.update(len(training.history) * len(held_S) + training.sums.num_samples)
    while len(training.history) < config.epochs and not best.should_stop:
        started = time.monotonic()
        epoch = len(training.history)
        key = (config.seed, fold, epoch)
        order = training_batches(training_S, config.batch_size_train, seed=config.seed, fold=fold, epoch=epoch)
        num_steps, num_done = training.sums.num_steps, training.sums.num_samples
        batches = load(
            dataset,
            [ranks.slice(rows_N) for rows_N in order[num_steps:]],
            lambda: Augment(config.image_size),
            num_workers=shared.num_workers,
            key=key,
            metadata_dropout=config.metadata_dropout,
        )
        with stop.held(), own_stream(shared.device):
            train_loss = train_one_epoch(
                network,
                drawn(counted(batches, bar, ranks), key, num_steps, ranks),
                partial(target.loss, weights_K=weights_K),
                optimizer,
                shared.device,
                sums=training.sums,
                ranks=ranks,
                after_step=partial(checkpoints.after_step, unfinished, training.state),
            )
        training.sums = EpochSums()
        ranks.share_statistics(network)
        scores = score(network, counted(held(), bar, ranks), shared, num_views=1)[2]
        best.update(epoch, scores[config.metric], network)
        row = {"fold": fold, "epoch": epoch, "lr": learning_rate(optimizer), "train_loss": train_loss, **scores}
        training.history.append(row)
        scheduler.step(scores[config.metric])
        checkpoints.save(unfinished, training.state())
        report_epoch(row, num_pictures=len(held_S) - num_done, seconds=time.monotonic() - started)
    bar.total = (bar.total or 0) - (config.epochs - len(training.history)) * len(held_S)

    network.load_state_dict(best.weights)
    index_S, probs_SK, scores = score(network, held(), shared, num_views=config.tta)
    log.info("fold=%d best_epoch=%d rows=%d", fold, best.epoch, len(index_S))
    for name, value in scores.items():
        log.info(REPORTED[f"fold:{name}"].line(value))
    result = FoldResult(fold, best.weights, encoder, index_S, probs_SK, best.epoch, scores, training.history)
    checkpoints.save(finished, result.state())
    checkpoints.remove(unfinished)
    return result


def fresh_network(shared: Shared, encoder: MetadataEncoder) -> FusionNet:
    """The network as every fold finds it: initial weights from the seed, the backbone's from the starting weights."""
    network = create_network(
        shared.config.model,
        shared.config.model_args,
        shared.preprocess,
        num_metadata=encoder.num_features,
        num_outputs=shared.target.num_outputs,
        seed=shared.config.seed,
    )
    if shared.weights is not None:
        load_weights(network.backbone, shared.config.model, shared.weights, where="pretrained weights")
    return network.to(shared.device)


def class_weights(config: ClassifyConfig, target: Target, targets_SK: NDArray[np.float32]) -> Weights:
    """The weights [K] in the loss, from a fold's training rows."""
    if config.class_weight == "balanced":
        return target.balanced(targets_SK)
    if target.kind == "multiclass" and config.class_weight != "none":
        raise UserError(
            f"class_weight={config.class_weight} weighs a yes, and this target has {target.num_outputs} classes",
            do="Set class_weight to none or balanced.",
            kind="hyperparameters",
        )
    weight = 1.0 if config.class_weight == "none" else float(config.class_weight)
    return np.full(target.num_outputs, weight, dtype=np.float32)


def score(
    network: FusionNet, batches: Iterable[Batch], shared: Shared, *, num_views: int
) -> tuple[NDArray[np.intp], NDArray[np.float32], dict[str, float]]:
    """Positions [S], probabilities [S, K] and metrics of the rows of all ranks' batches."""
    index_S, logits_VSK = shared.ranks.gather(*predict(network, batches, shared.device, num_views=num_views))
    probs_SK = mean_probs(shared.target, logits_VSK)
    if not np.isfinite(probs_SK).all():
        raise UserError("the network answers with no numbers", do="Set a lower learning_rate.", kind="diverged")
    return index_S, probs_SK, judge(shared.target, shared.targets_SK[index_S], probs_SK)


@contextmanager
def own_stream(device: torch.device) -> Iterator[None]:
    """What is drawn from torch's own randomness inside leaves its global state as it was."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        yield


def drawn(batches: Iterable[Batch], key: tuple[int, ...], num_steps: int, ranks: Ranks) -> Iterator[Batch]:
    """The same batches; what torch draws (dropout) while one is used follows from key, step and rank."""
    for step, batch in enumerate(batches, num_steps):
        torch.manual_seed(int(np.random.SeedSequence(key, spawn_key=(step, ranks.rank)).generate_state(1)[0]))
        yield batch


def counted(batches: Iterable[Batch], bar: tqdm[Any], ranks: Ranks) -> Iterator[Batch]:
    """The same batches; the progress bar moves on as each is done."""
    for batch in batches:
        yield batch
        bar.update(len(batch.index_N) * ranks.size)  # nearly what all have done


def report_epoch(row: Mapping[str, Any], *, num_pictures: int, seconds: float) -> None:
    """One line for people, then one a metric for SageMaker."""
    log.info("fold=%d epoch=%d lr=%.1e images_per_s=%.0f", row["fold"], row["epoch"], row["lr"], num_pictures / seconds)
    for name, value in row.items():
        if f"epoch:{name}" in REPORTED:
            log.info(REPORTED[f"epoch:{name}"].line(value))
