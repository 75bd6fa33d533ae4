"""Fold: one network trained on all rows but a fold's, judged by that fold's.

Nothing is carried from one fold to the next.
"""

# K outputs · M metadata features · S samples

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from lesion.engine.stopping import BestEpoch
from lesion.engine.training import Training, set_random_state
from lesion.errors import UserError
from lesion.metrics import METRICS
from lesion.models.fusion import FusionNet, create_network
from lesion.models.weights import load_weights
from lesion.report.watch import Watch
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


def run_fold(
    fold: int,
    held_S: NDArray[np.bool_],
    shared: Shared,
    checkpoints: Checkpoints,
    *,
    stop: Stop,
    bar: tqdm[Any],
    watch: Watch,
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
    config, target = shared.config, shared.target
    training_S, validation_S = np.flatnonzero(~held_S), np.flatnonzero(held_S)
    training_rows = [shared.metadata_rows[row] for row in training_S.tolist()]
    encoder = MetadataEncoder.fit(training_rows, shared.metadata_kinds, logs=config.log_columns)
    features_SM, nothing_M = encoder.encode(shared.metadata_rows), encoder.encode([{}])[0]
    dataset = Dataset(shared.source, features_SM, shared.targets_SK, nothing_M)
    held_batches = ordered_batches(validation_S, config.batch_size_validation)
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
    watch.begin(fold, training.history)
    while len(training.history) < config.epochs and not best.should_stop:
        epoch = len(training.history)
        key = (config.seed, fold, epoch)
        order = training_batches(training_S, config.batch_size_train, seed=config.seed, fold=fold, epoch=epoch)
        rest, num_done = order[training.sums.num_steps :], training.sums.num_samples
        batches = load(
            dataset,
            rest,
            lambda: Augment(config.image_size),
            num_workers=shared.num_workers,
            key=key,
            metadata_dropout=config.metadata_dropout,
        )
        with stop.held(), dropout_stream(key, shared.device):
            set_random_state(training.random_state)
            train_loss = train_one_epoch(
                network,
                watch.training(counted(batches, bar), epoch),
                partial(target.loss, weights_K=weights_K),
                optimizer,
                shared.device,
                sums=training.sums,
                after_step=partial(checkpoints.after_step, unfinished, training.state),
            )
        training.sums, training.random_state = EpochSums(), {}
        scores = score(network, counted(held(), bar), shared, num_views=1)[2]
        best.update(epoch, scores[config.metric], network)
        row = {
            **{"fold": fold, "epoch": epoch, "lr": learning_rate(optimizer), "train_loss": train_loss, **scores},
            **watch.speed(len(held_S) - num_done),
        }
        training.history.append(row)
        scheduler.step(scores[config.metric])
        checkpoints.save(unfinished, training.state())
        watch.epoch(row, num_pictures=len(held_S), is_last=best.should_stop)
    bar.total = (bar.total or 0) - (config.epochs - len(training.history)) * len(held_S)

    network.load_state_dict(best.weights)
    index_S, probs_SK, scores = score(network, held(), shared, num_views=config.tta)
    log.info("fold=%d best_epoch=%d rows=%d", fold, best.epoch, len(index_S))
    watch.end(target, shared.targets_SK[index_S], probs_SK, scores)
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
    """Positions [S], probabilities [S, K] and metrics of the batches' rows."""
    index_S, logits_VSK = predict(network, batches, shared.device, num_views=num_views)
    probs_SK = mean_probs(shared.target, logits_VSK)
    if not np.isfinite(probs_SK).all():
        raise UserError("the network answers with no numbers", do="Set a lower learning_rate.", kind="diverged")
    return index_S, probs_SK, judge(shared.target, shared.targets_SK[index_S], probs_SK)


@contextmanager
def dropout_stream(key: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Inside, torch's own randomness (dropout) follows from `key`; afterwards the global state is as it was."""
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device.type == "cuda" else []):
        torch.manual_seed(int(np.random.SeedSequence([*key, 1]).generate_state(1)[0]))
        yield


def counted(batches: Iterable[Batch], bar: tqdm[Any]) -> Iterator[Batch]:
    """The same batches; the progress bar moves on as each is done."""
    for batch in batches:
        yield batch
        bar.update(len(batch.index_N))
