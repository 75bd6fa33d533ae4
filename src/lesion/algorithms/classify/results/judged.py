"""Judged: the held-out logits that the reported metrics are made of, at an epoch that those rows did not choose. Pure.

The network that is kept and served is that of its fold's best epoch; its metrics on the rows that chose the epoch are
flattered: on labels drawn by lot their ROC AUC is .54 on average. So the held-out patients of a fold are divided into
five parts, and each part is judged at the epoch that is best on the other four. Where these have no metric, as with one
slide a fold, the fold is judged at the epoch that the other folds chose. Of every epoch there are the logits of one
view, the image itself. A refit gets the epochs that the folds chose: for it, each fold is judged at the epoch that the
other folds chose.
"""

# E epochs · K outputs · Q outputs that are judged · S held-out rows of a fold

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.labels.encode import Labelled
from lesion.evaluation.metrics import METRICS, has_both_classes
from lesion.evaluation.parts import parts_by_group

MANY_CLASSES = 50  # of which a metric takes too long for each epoch and part
NOT_KEPT = "the logits of each epoch are too many to be kept, so the metrics are those of the epochs that they chose"
ONE_GROUP = "the held-out groups are too few to choose the epoch for each other"


@dataclass(frozen=True)
class Judged:
    """The folds as they are judged: with the logits [S, 1, K] of the epoch that others chose.

    `why_not` says in words why these are the kept networks' own logits instead; None where they are not.
    """

    results: Sequence[FoldResult]
    why_not: str | None = None


def judge_folds(results: Sequence[FoldResult], labelled: Labelled, *, metric: str, is_refit: bool = False) -> Judged:
    """The folds at epochs that other rows chose by `metric`, or as they are where there was nothing to choose.

    For a refit each fold is judged at the epoch that the other folds chose, which is how a refit gets its own.
    """
    if all(result.num_epochs <= 1 for result in results):
        return Judged(results)
    if any(result.epoch_logits_ESK is None for result in results):
        return Judged(results, NOT_KEPT)
    judged = []
    if is_refit:
        return Judged([at_epoch(result, epoch_of_others(result, results)) for result in results])
    for result in results:
        part_S = parts_by_group(labelled.table.group_or_row_S[result.index_S])
        epoch_S = epochs_of_other_parts(result, part_S, labelled, metric=metric)
        if epoch_S is None and len(results) == 1:
            return Judged(results, ONE_GROUP)
        judged.append(
            at_epoch(result, epoch_of_others(result, results)) if epoch_S is None else at_epochs(result, epoch_S)
        )
    return Judged(judged)


def epoch_of_others(result: FoldResult, results: Sequence[FoldResult]) -> int:
    """The median of the best epochs of the folds that share no held-out row with this one; its last one if that is
    earlier. Of two in the middle the earlier.

    In a repeated cross-validation the folds of another repeat were evaluated on some of its rows.
    """
    best = sorted(
        other.best_epoch
        for other in results
        if other.fold != result.fold and not np.isin(other.index_S, result.index_S).any()
    )
    median = best[(len(best) - 1) // 2] if best else result.last_epoch
    return int(np.clip(median, result.first_epoch, result.last_epoch))


def epochs_of_other_parts(
    result: FoldResult, part_S: NDArray[np.intp], labelled: Labelled, *, metric: str
) -> NDArray[np.intp] | None:
    """The epoch [S] of each row: the best on the rows of the other parts; None where these have no metric."""
    target, targets_SQ = labelled.target, labelled.target.judged_columns(labelled.targets_SK[result.index_S])
    if part_S.max(initial=0) == 0 or target.num_outputs > MANY_CLASSES:
        return None
    assert result.epoch_logits_ESK is not None
    probs_ESQ = [
        target.judged_columns(combine(target, of_epoch[:, None, None])) for of_epoch in result.epoch_logits_ESK
    ]
    chosen = METRICS[metric]
    sign = 1 if chosen.better == "higher" else -1
    epoch_S = np.zeros(len(part_S), dtype=np.intp)
    for part in np.unique(part_S):
        others_S = part_S != part
        if chosen.needs_both and not has_both_classes(targets_SQ[others_S]):
            return None
        values = [
            sign * chosen.function(targets_SQ[others_S], probs_SQ[others_S], target.has_multiclass_answer)
            for probs_SQ in probs_ESQ
        ]
        epoch_S[~others_S] = result.first_epoch + int(np.argmax(values))
    return epoch_S


def at_epoch(result: FoldResult, epoch: int) -> FoldResult:
    """The fold with the logits of that epoch for all of its held-out rows."""
    return at_epochs(result, np.full(len(result.index_S), epoch, dtype=np.intp))


def at_epochs(result: FoldResult, epoch_S: NDArray[np.intp]) -> FoldResult:
    """The fold with the logits of one epoch for each held-out row."""
    assert result.epoch_logits_ESK is not None
    logits_SK = result.epoch_logits_ESK[epoch_S - result.first_epoch, np.arange(len(epoch_S))]
    return replace(result, logits_SVK=logits_SK[:, None])
