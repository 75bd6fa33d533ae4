"""Refit: one network trained on all rows, for the epochs and at the learning rates that the folds chose.

It has no held-out rows. What it is worth, the folds say: each is a network of the same procedure, trained on fewer
rows, and evaluated at the epoch that the other folds chose (results/judged.py). The usual name of that is the
cross-validation estimate of the procedure (Hastie, Tibshirani & Friedman 2009, section 7.10.1); it is a little too low,
since a fold has fewer rows.
"""

# D features of a picture · S samples · V views

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.algorithms.classify.training.fold import (
    FoldRows,
    is_of_this_group,
    predict_held_out,
    rows_of,
    state_of,
    train_epoch,
)
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.setup import Setup, probe_head, start_training
from lesion.data.loader import Batch
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.optim import plateau_factors
from lesion.engine.throughput import InputWait
from lesion.engine.training import Training
from lesion.evaluation.metrics import METRICS
from lesion.logs import scoped_logger

log = scoped_logger(__name__, "fold")

FINISHED, UNFINISHED = "refit", "refit.step"
NUM_SAMPLED = 1000  # training rows that it predicts: familiarity, maps and the checks of the artifact are made of them


def refit(
    results: Sequence[FoldResult],
    setup: Setup,
    features_VSD: NDArray[np.float32] | None,
    checkpoints: Checkpoints,
    *,
    bar: tqdm[Any],
) -> FoldResult:
    """The network of all rows, with its logits for a sample of them. Resumes after a kill as a fold does."""
    num_epochs, number = epochs_of_refit(results), len(results)
    rows = rows_of(number, np.zeros(len(setup.targets_SK), dtype=bool), setup)
    head = None if features_VSD is None else probe_head(features_VSD, rows.training_S, setup, rows.weights_K)
    training = start_training(setup, rows.encoder, head)
    network = training.eval_network
    if state := checkpoints.load(FINISHED):
        log.info("the refit is finished: it is loaded from the checkpoint")
        network.load_state_dict(state.below("weights"))
        training.history = state.values["history"]
    else:
        train(training, rows, setup, checkpoints, factors=factors_of_refit(results, setup), bar=bar)
        named = {f"weights.{name}": tensor for name, tensor in network.state_dict().items()}
        checkpoints.save(FINISHED, State(named, {"history": training.history}))
    checkpoints.remove(UNFINISHED)  # here also what a kill left beside the finished one
    weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    sampled = replace(rows, valid_S=sample_of(rows.training_S, seed=setup.config.seed))
    predicted = predict_held_out(network, sampled, setup)
    return FoldResult(
        fold=number,
        weights=weights,
        encoder=rows.encoder,
        index_S=predicted.index_S,
        logits_SVK=predicted.logits_SVK,
        prediction_settings=setup.prediction_settings,
        best_epoch=num_epochs - 1,
        history=training.history,
    )


def epochs_of_refit(results: Sequence[FoldResult]) -> int:
    """The median of the folds' best epochs, as a number of epochs; 0 where most kept the linear probe."""
    return statistics.median_low(result.best_epoch for result in results) + 1


def factors_of_refit(results: Sequence[FoldResult], setup: Setup) -> list[float]:
    """By what the refit's learning rates are multiplied in each of its epochs: the median of the folds that came so
    far, half of them at least. All 1 unless the schedule lowers them on plateaus."""
    config = setup.config
    num_epochs = epochs_of_refit(results)
    if config.schedule != "plateau":
        return [1.0] * num_epochs
    of_folds = [
        plateau_factors(
            [row[config.metric] for row in result.history],
            better=METRICS[config.metric].better,
            factor=config.lr_factor,
            patience=config.lr_patience,
        )
        for result in results
    ]
    return [statistics.median_high(of[epoch] for of in of_folds if epoch < len(of)) for epoch in range(num_epochs)]


def sample_of(rows_S: NDArray[np.intp], *, seed: int) -> NDArray[np.intp]:
    """At most NUM_SAMPLED of the rows, in the table's order."""
    rng = np.random.default_rng([seed, len(rows_S)])
    return np.sort(rng.choice(rows_S, min(NUM_SAMPLED, len(rows_S)), replace=False))


def train(
    training: Training,
    rows: FoldRows,
    setup: Setup,
    checkpoints: Checkpoints,
    *,
    factors: Sequence[float],
    bar: tqdm[Any],
) -> None:
    """Trains an epoch for each of the `factors` of the learning rates, from the last saved step on."""
    if (state := checkpoints.load(UNFINISHED)) and is_of_this_group(state, setup, what="the refit"):
        training.restore(state)
        log.info("the refit resumes in epoch=%d after step=%d", len(training.history), training.sums.num_steps)
    log.info("refit rows=%d epochs=%d", len(rows), len(factors))
    bar.total = (bar.total or 0) + len(factors) * len(rows)
    bar.update(len(training.history) * len(rows) + training.sums.num_samples)
    while len(training.history) < len(factors):
        with setup.run.job.stop.held():
            run_epoch(training, rows, setup, checkpoints, factor=factors[len(training.history)], bar=bar)
            checkpoints.save(UNFINISHED, state_of(training, setup))


def run_epoch(
    training: Training, rows: FoldRows, setup: Setup, checkpoints: Checkpoints, *, factor: float, bar: tqdm[Any]
) -> None:
    """Trains the rest of the current epoch, and notes it in the history."""

    def after_step(batch: Batch) -> None:
        bar.update(len(batch.index_N) * setup.data_parallel.size)
        checkpoints.after_step(UNFINISHED, partial(state_of, training, setup))

    started, num_done = time.monotonic(), training.sums.num_samples
    input_wait = InputWait(setup.run.device, setup.run.num_cores)
    training.schedule.follow(factor)
    train_loss = train_epoch(training, rows, setup, input_wait=input_wait, after_step=after_step)
    images_per_s = (len(rows) - num_done) / (time.monotonic() - started)
    row = {"fold": FINISHED, "epoch": len(training.history), "lr": training.schedule.learning_rate}
    training.history.append(
        {**row, "train_loss": train_loss, "images_per_s": images_per_s, "wait_share": input_wait.share}
    )
    log.info(
        "refit epoch=%d lr=%.1e train_loss=%.4f images_per_s=%.0f wait_share=%.2f",
        *(row["epoch"], row["lr"], train_loss, images_per_s, input_wait.share),
    )
