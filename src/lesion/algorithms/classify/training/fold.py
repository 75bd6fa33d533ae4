"""Fold: trains one network on all rows outside the fold, and evaluates it on the fold's validation rows.

Nothing is carried from one fold to the next.
"""

# D features of a picture · K outputs · S samples · V views

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.loop import predict, train_one_epoch
from lesion.algorithms.classify.training.setup import (
    Setup,
    class_weights,
    fresh_network,
    probe_head,
    start_training,
    step_settings,
)
from lesion.data.augment import Augment
from lesion.data.decode.images import Pixels
from lesion.data.folds import training_masks
from lesion.data.loader import Batch, Dataset, load_batches, ordered_batches, training_batches
from lesion.data.metadata import MetadataEncoder
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.device import Precision
from lesion.engine.throughput import InputWait
from lesion.engine.training import EpochSums, Training
from lesion.engine.training_log import Curves, EpochLog, TrainingLog
from lesion.errors import UserError
from lesion.evaluation.metrics import score_all
from lesion.logs import scoped_logger
from lesion.report.figure import draw_roc, try_to_draw
from lesion.targets import Target, Weights

log = scoped_logger(__name__, "fold")

GROUP_SIZE = "data_parallel"  # in the state of an unfinished fold: how many processes train it together
START = -1  # the number of the epoch before the first
MAX_EPOCH_LOGITS = 2**24  # of a fold, 64 MB: with more, those of each epoch are not kept


@dataclass(frozen=True)
class FoldRows:
    """One fold's rows: training and validation rows, their inputs and targets, and the class weights."""

    fold: int
    training_S: NDArray[np.intp]
    valid_S: NDArray[np.intp]
    dataset: Dataset
    encoder: MetadataEncoder
    weights_K: Weights

    def __len__(self) -> int:
        return len(self.training_S) + len(self.valid_S)


def run_fold(
    fold: int,
    valid_S: NDArray[np.bool_],
    setup: Setup,
    features_VSD: NDArray[np.float32] | None,
    checkpoints: Checkpoints,
    *,
    bar: tqdm[Any],
    training_log: TrainingLog,
) -> FoldResult:
    """Trains one fold with early stopping, keeps the best epoch, and predicts the validation rows.

    A fold that was finished before the job stopped is loaded from its checkpoint; an unfinished one resumes after the
    last saved step. With `features_VSD` the last layer is initialised by a linear probe on them, and this initial
    network is evaluated first.
    """
    finished, unfinished = f"fold_{fold}", f"fold_{fold}.step"
    config = setup.config
    if state := checkpoints.load(finished):
        log.info("fold=%d is finished: its result is loaded from the checkpoint", fold)
        bar.update(config.epochs * len(valid_S))
        return with_these_predictions(FoldResult.of_state(state), valid_S, setup, checkpoints)
    rows = rows_of(fold, valid_S, setup)
    if features_VSD is None:
        training, start = start_training(setup, rows.encoder, None), None
    else:
        head = probe_head(features_VSD, rows.training_S, setup, rows.weights_K)
        training = start_training(setup, rows.encoder, head)
        start = evaluated(rows.valid_S, torch.from_numpy(head.logits(features_VSD[:, rows.valid_S])), setup)
        # The probe is the first candidate: it is kept if no epoch of fine-tuning is better.
        training.early_stopping.update(START, start.metrics[config.metric], training.network)
        keep_logits(training, start, setup)
        log.info("fold=%d start=probe %s=%.4f", fold, config.metric, start.metrics[config.metric])
    if (state := checkpoints.load(unfinished)) and is_of_this_group(state, setup, what=f"fold={fold}"):
        training.restore(state)
        log.info("fold=%d resumes in epoch=%d after step=%d", fold, len(training.history), training.sums.num_steps)
        bar.update(len(training.history) * len(rows) + training.sums.num_samples)

    stopping = training.early_stopping
    with training_log.fold(fold, training.history) as fold_log:
        while len(training.history) < config.epochs and not stopping.should_stop:
            save = partial(checkpoints.after_step, unfinished, partial(state_of, training, setup))
            # Held: a stop takes effect in `save`, when the state is on disk, and not in the middle of the bookkeeping.
            with setup.run.job.stop.held():
                epoch_log = fold_log.epoch(len(training.history))
                run_epoch(training, rows, setup, epoch_log, save=save, bar=bar)
                checkpoints.save(unfinished, state_of(training, setup))
                epoch_log.end(training.history[-1], num_pictures=len(rows), is_last=stopping.should_stop)
        # Early stopping: the epochs that will not run leave the progress bar.
        bar.total = (bar.total or 0) - (config.epochs - len(training.history)) * len(rows)

        training.network.load_state_dict(stopping.best_weights)
        # With epochs=0 the network is the probe, and `start` already holds its predictions.
        final = start if config.epochs == 0 and start else predict_held_out(training.network, rows, setup)
        log.info("fold=%d best_epoch=%d rows=%d", fold, stopping.best_epoch, len(final.index_S))
        fold_log.end(final.metrics, curves_of(setup.target, setup.targets_SK[final.index_S], final.probs_SK))
    result = FoldResult(
        fold,
        stopping.best_weights,
        rows.encoder,
        final.index_S,
        final.logits_SVK,
        setup.prediction_settings,
        stopping.best_epoch,
        final.metrics,
        training.history,
        first_epoch=0 if start is None else START,
        epoch_logits_ESK=torch.stack(training.held_out_logits).numpy() if training.held_out_logits else None,
    )
    checkpoints.save(finished, result.state())  # before the other goes: a kill in between loses nothing
    checkpoints.remove(unfinished)
    return result


def state_of(training: Training, setup: Setup) -> State:
    """The state of an unfinished training, and how many processes train it together."""
    state = training.state()
    return State(state.tensors, {**state.values, GROUP_SIZE: setup.data_parallel.size})


def is_of_this_group(state: State, setup: Setup, *, what: str) -> bool:
    """Whether an unfinished training, `what` for the log, was begun by as many data-parallel processes as train now.

    In a group of another size BatchNorm and dropout see other slices: the rest would not fit its beginning.
    """
    before, now = state.values[GROUP_SIZE], setup.data_parallel.size
    if before != now:
        log.warning(
            "%s starts again: it was begun by %d data-parallel processes, and now there are %d", what, before, now
        )
    return bool(before == now)


def with_these_predictions(
    result: FoldResult, valid_S: NDArray[np.bool_], setup: Setup, checkpoints: Checkpoints
) -> FoldResult:
    """The finished fold with predictions by this job's settings: as loaded, or predicted again with its weights."""
    settings = setup.prediction_settings
    if result.prediction_settings == settings:
        return result
    told = " ".join(f"{name}={value}" for name, value in sorted(settings.items()))
    log.info("fold=%d is predicted again, with %s", result.fold, told)
    rows = rows_of(result.fold, valid_S, setup)
    network = fresh_network(setup, num_metadata=rows.encoder.num_features)
    network.load_state_dict(result.weights)
    new = predict_held_out(network, rows, setup)
    result = replace(
        result, index_S=new.index_S, logits_SVK=new.logits_SVK, metrics=new.metrics, prediction_settings=settings
    )
    checkpoints.save(f"fold_{result.fold}", result.state())
    return result


def rows_of(fold: int, valid_S: NDArray[np.bool_], setup: Setup) -> FoldRows:
    """The fold's rows. Encoders and class weights are fitted on the training rows only.

    For a soup the encoders are those of all rows that are not held back: networks that are averaged need the same.
    """
    training_S = np.flatnonzero(training_masks(valid_S, setup.held_back_S))
    encoded_S = training_S if setup.held_back_S is None else np.flatnonzero(~setup.held_back_S)
    encoded_rows = [setup.metadata_rows[row] for row in encoded_S.tolist()]
    encoder = MetadataEncoder.fit(encoded_rows, setup.metadata_kinds, logs=setup.config.log_columns)
    features_SM, nothing_M = encoder.encode(setup.metadata_rows), encoder.encode([{}])[0]
    dataset = Dataset(setup.pictures, features_SM, setup.targets_SK, nothing_M)
    weights_K = class_weights(setup.config, setup.target, setup.targets_SK[training_S])
    return FoldRows(fold, training_S, np.flatnonzero(valid_S), dataset, encoder, weights_K)


def run_epoch(
    training: Training,
    rows: FoldRows,
    setup: Setup,
    epoch_log: EpochLog,
    *,
    save: Callable[[], None],
    bar: tqdm[Any],
) -> None:
    """Trains the rest of the current epoch, evaluates the validation rows, and updates early stopping and schedule."""

    def count(batch: Batch) -> None:
        bar.update(len(batch.index_N) * setup.data_parallel.size)  # about what all processes together have done

    def after_step(batch: Batch) -> None:
        count(batch)
        epoch_log.show(batch.images_NHWC)
        save()

    config = setup.config
    epoch = len(training.history)
    num_done = training.sums.num_samples
    train_loss = train_epoch(training, rows, setup, input_wait=epoch_log.input_wait, after_step=after_step)
    # One view: TTA in every epoch would take `tta` times as long, and only the finished network is served with it.
    held_out = evaluate(
        training.eval_network, rows, setup, num_views=1, precision=setup.run.precision, after_batch=count
    )
    keep_logits(training, held_out, setup)
    metrics = held_out.metrics
    value = metrics[config.metric]
    training.early_stopping.update(epoch, value, training.eval_network)
    row = {"fold": rows.fold, "epoch": epoch, "lr": training.schedule.learning_rate, "train_loss": train_loss}
    training.history.append({**row, **metrics, **epoch_log.speed(len(rows) - num_done)})
    training.schedule.after_epoch(value)


def train_epoch(
    training: Training,
    rows: FoldRows,
    setup: Setup,
    *,
    input_wait: InputWait,
    after_step: Callable[[Batch], None],
) -> float:
    """Trains the rest of the current epoch on the training rows; the mean training loss."""
    config = setup.config
    epoch = len(training.history)
    key = (config.seed, rows.fold, epoch)
    order = training_batches(rows.training_S, config.batch_size, key=key)
    batches = load_batches(
        rows.dataset,
        [setup.data_parallel.slice(rows_N) for rows_N in order[training.sums.num_steps :]],
        Augment(config.image_size, config.flips),
        num_workers=setup.run.num_workers,
        key=key,
        metadata_dropout=config.metadata_dropout,
    )
    with torch.random.fork_rng(devices=[setup.run.device] if setup.run.device.type == "cuda" else []):
        train_loss = train_one_epoch(
            training,
            input_wait.over(batches),
            step_settings(setup, rows.weights_K, epoch=epoch),
            num_steps=len(order),
            key=key,
            after_step=after_step,
        )
    training.sums = EpochSums()
    # BatchNorm's running statistics differ between the processes, and all must evaluate the same network.
    setup.data_parallel.broadcast_buffers(training.eval_network)
    return train_loss


def keep_logits(training: Training, held_out: HeldOut, setup: Setup) -> None:
    """Keeps an epoch's logits of the image itself, by which judged.py evaluates an epoch that other rows chose; unless
    those of all epochs would be too many.
    """
    logits_SK = held_out.logits_SVK[:, 0]
    if logits_SK.size * (setup.config.epochs + 1) <= MAX_EPOCH_LOGITS:
        training.held_out_logits.append(torch.from_numpy(logits_SK.copy()))


def held_batches(rows: FoldRows, setup: Setup) -> Iterator[Batch]:
    """This process's slice of the validation rows, preprocessed as for prediction."""
    batches = ordered_batches(setup.data_parallel.slice(rows.valid_S), setup.config.batch_size_predict)
    return load_batches(rows.dataset, batches, num_workers=setup.run.num_workers)


@dataclass(frozen=True)
class HeldOut:
    """Validation rows: their indices in the table, logits of each view, probabilities and metrics."""

    index_S: NDArray[np.intp]
    logits_SVK: NDArray[np.float32]
    probs_SK: NDArray[np.float32]
    metrics: dict[str, float]


def predict_held_out(network: nn.Module, rows: FoldRows, setup: Setup) -> HeldOut:
    """Predictions of the fold's validation rows as the finished network is served: with TTA, in fp32."""
    return evaluate(network, rows, setup, num_views=setup.config.tta, precision="fp32")


def evaluate(
    network: nn.Module,
    rows: FoldRows,
    setup: Setup,
    *,
    num_views: int,
    precision: Precision,
    after_batch: Callable[[Batch], None] = lambda _: None,
) -> HeldOut:
    """Predictions and metrics of the fold's validation rows, gathered from all processes."""
    batches, device = held_batches(rows, setup), setup.run.device
    with setup.run.step(f"predicting the held-out rows of fold {rows.fold}", remedy="lower batch_size_predict"):
        predicted = predict(network, batches, device, num_views=num_views, precision=precision, after_batch=after_batch)
    return evaluated(*setup.data_parallel.gather(*predicted), setup)


def evaluated(index_S: NDArray[np.intp], logits_VSK: Tensor, setup: Setup) -> HeldOut:
    """Rows of the table, in its order, with their logits, probabilities and metrics."""
    order_S = np.argsort(index_S)  # each process of a data-parallel group sent a slice
    index_S, logits_SVK = index_S[order_S], logits_VSK.numpy().swapaxes(0, 1)[order_S]
    probs_SK = combine(setup.target, logits_SVK[:, None])
    if not np.isfinite(probs_SK).all():
        raise UserError("the network's output holds NaN or infinity", do="Set a lower learning_rate.", kind="diverged")
    return HeldOut(index_S, logits_SVK, probs_SK, judge(setup.target, setup.targets_SK[index_S], probs_SK))


def judge(target: Target, targets_SK: NDArray[np.float32], probs_SK: NDArray[np.float32]) -> dict[str, float]:
    """Every metric of the judged columns that is defined for these rows."""
    return score_all(
        target.judged_columns(targets_SK), target.judged_columns(probs_SK), is_multiclass=target.has_multiclass_answer
    )


def curves_of(target: Target, targets_SK: NDArray[np.float32], probs_SK: NDArray[np.float32]) -> Curves:
    """The data of the rows' ROC curves: of the positive class, or of each of several."""

    def draw() -> Pixels | None:
        return try_to_draw("the ROC curves for TensorBoard", lambda: draw_roc(target, targets_SK, probs_SK))

    names = target.answer_names[1:] if target.has_binary_answer else target.class_names
    return Curves(names, target.judged_columns(targets_SK) == 1, target.judged_columns(probs_SK), draw)
