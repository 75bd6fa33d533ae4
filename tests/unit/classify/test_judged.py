"""Judged: the epoch whose logits are evaluated is never chosen by the rows that it evaluates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.results.decide import Predictions, by_row, decide
from lesion.algorithms.classify.results.judged import NOT_KEPT, ONE_GROUP, epoch_of_others, judge_folds
from lesion.algorithms.classify.results.summary import summarise
from lesion.algorithms.classify.training.fold import judge
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import MetadataEncoder
from lesion.data.table import SampleTable
from lesion.evaluation.parts import parts_by_group
from lesion.targets import Target

TARGET = Target("binary", ("no", "yes"))


def labelled(targets_S: np.ndarray, group_S: np.ndarray) -> Labelled:
    names = np.array([f"{row}.png" for row in range(len(targets_S))])
    table = SampleTable(
        name_S=names,
        metadata=pd.DataFrame(index=range(len(names))),
        targets=pd.DataFrame({"target": targets_S}),
        group_S=group_S,
    )
    return Labelled(table, TARGET, targets_S[:, None].astype(np.float32))


def fold_of(number: int, index_S: np.ndarray, epoch_logits_ES: np.ndarray, targets_S: np.ndarray) -> FoldResult:
    """A fold that keeps the epoch of its best ROC AUC on its own rows, as training does."""
    aucs = [
        judge(TARGET, targets_S[index_S, None], 1 / (1 + np.exp(-logits_S[:, None])))["roc_auc"]
        for logits_S in epoch_logits_ES
    ]
    best = int(np.argmax(aucs))
    return FoldResult(
        fold=number,
        weights={},
        encoder=MetadataEncoder(()),
        index_S=index_S,
        logits_SVK=epoch_logits_ES[best][:, None, None].astype(np.float32),
        prediction_settings={},
        best_epoch=best,
        metrics={"roc_auc": aucs[best]},
        history=[{} for _ in epoch_logits_ES],
        first_epoch=0,
        epoch_logits_ESK=epoch_logits_ES[:, :, None].astype(np.float32),
    )


def by_lot(seed: int, *, num_folds: int, rows: int = 60, epochs: int = 12) -> tuple[list[FoldResult], Labelled]:
    """Labels that no picture explains, and epochs whose logits are noise."""
    rng = np.random.default_rng(seed)
    targets_S = np.concatenate([rng.permutation(np.arange(rows) % 2) for _ in range(num_folds)])
    results = [
        fold_of(fold, np.arange(fold * rows, (fold + 1) * rows), rng.normal(size=(epochs, rows)), targets_S)
        for fold in range(num_folds)
    ]
    return results, labelled(targets_S, np.arange(len(targets_S)) // 2)


@pytest.mark.parametrize("num_folds", [1, 5])
def test_labels_by_lot_are_not_learnt_in_the_judged_rows(num_folds):
    """Of 12 epochs of noise the best has an AUC far above a half on the rows that chose it."""
    kept, judged = [], []
    for seed in range(30):
        results, rows = by_lot(seed, num_folds=num_folds)
        summary = summarise(results, decide(results, rows, ClassifyConfig(calibration="none")), rows)
        kept.append(summary["mean_of_folds"]["roc_auc"] - np.mean([r.metrics["roc_auc"] for r in results]))
        judged.append(summary["mean_of_folds"]["roc_auc"])
        assert (
            summary["overall"]["of_best_epochs"]["metrics"]["roc_auc"] > summary["overall"]["metrics"]["roc_auc"] - 0.05
        )
    assert np.mean(kept) < -0.08  # the flattered ones are about .6
    assert np.mean(judged) == pytest.approx(0.5, abs=0.02)  # standard error about .014 and .006


SEVEN, _ = by_lot(0, num_folds=7, rows=4, epochs=8)


@given(st.lists(st.integers(0, 7), min_size=2, max_size=7), st.data())
def test_a_folds_own_best_epoch_changes_nothing_of_its_choice(best, data):
    results = [replace(result, best_epoch=epoch) for result, epoch in zip(SEVEN, best, strict=False)]
    number = data.draw(st.integers(0, len(best) - 1))
    others = sorted(best[:number] + best[number + 1 :])
    assert epoch_of_others(results[number], results) == others[(len(others) - 1) // 2]


def test_a_fold_of_another_repeat_that_holds_out_the_same_rows_has_no_say():
    (first, second), _ = by_lot(0, num_folds=2, rows=10, epochs=6)
    again = replace(second, fold=2, index_S=first.index_S, best_epoch=5)
    assert epoch_of_others(first, [first, replace(second, best_epoch=1), again]) == 1


def test_an_epoch_that_a_stopped_fold_has_not_is_its_last():
    (first, second), _ = by_lot(0, num_folds=2, rows=10, epochs=6)
    short = replace(first, history=first.history[:3], epoch_logits_ESK=first.epoch_logits_ESK[:3])
    assert epoch_of_others(short, [short, replace(second, best_epoch=5)]) == 2


def test_with_one_patient_a_fold_the_other_folds_choose_the_epoch():
    results, rows = by_lot(3, num_folds=3, rows=8, epochs=4)
    results = [replace(result, best_epoch=2) for result in results]
    rows = replace(rows, table=replace(rows.table, group_S=np.repeat(["a", "b", "c"], 8)))
    judged = judge_folds(results, rows, metric="roc_auc")
    assert judged.why_not is None
    for result, fold in zip(results, judged.results, strict=True):
        np.testing.assert_array_equal(fold.logits_SVK[:, 0], result.epoch_logits_ESK[2])
    probs_SK = by_row(
        Predictions.of(judged.results, rows).probs_NK,
        np.concatenate([r.index_S for r in judged.results]),
        len(rows.table),
    )
    np.testing.assert_allclose(probs_SK[8:16, 0], 1 / (1 + np.exp(-results[1].epoch_logits_ESK[2][:, 0])), rtol=1e-6)


def test_a_part_of_a_folds_patients_is_judged_at_the_epoch_that_is_best_on_the_others():
    results, rows = by_lot(4, num_folds=2, rows=60, epochs=5)
    judged = judge_folds(results, rows, metric="roc_auc")
    for result, fold in zip(results, judged.results, strict=True):
        part_S, epoch_logits_ES = parts_by_group(rows.table.group_S[result.index_S]), result.epoch_logits_ESK[:, :, 0]
        for part in range(5):
            own_S, target_S = part_S == part, rows.targets_SK[result.index_S, 0]
            aucs = [roc_auc_score(target_S[~own_S], logits_S[~own_S]) for logits_S in epoch_logits_ES]
            np.testing.assert_array_equal(fold.logits_SVK[own_S, 0, 0], epoch_logits_ES[np.argmax(aucs)][own_S])


def test_where_no_other_rows_could_choose_it_is_said():
    (result,), rows = by_lot(0, num_folds=1)
    assert judge_folds([replace(result, epoch_logits_ESK=None)], rows, metric="roc_auc").why_not == NOT_KEPT
    one = replace(rows, table=replace(rows.table, group_S=np.zeros(len(rows.table), dtype=str)))
    assert judge_folds([result], one, metric="roc_auc").why_not == ONE_GROUP


def test_a_single_epoch_is_no_choice():
    results, rows = by_lot(0, num_folds=3, epochs=1)
    judged = judge_folds(results, rows, metric="roc_auc")
    assert judged.why_not is None and judged.results is results
