"""Summary: what the folds are worth: out-of-fold probabilities and their metrics, by row and by slide. Pure."""

# K outputs · Q outputs that are judged · S samples · G groups, here slides

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.results.decide import Decisions, Predictions, by_row
from lesion.algorithms.classify.results.evaluation import Answers, intervals_of, judge_rows
from lesion.algorithms.classify.training.fold import judge
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.folds import groups_on_both_sides
from lesion.data.labels.encode import Labelled
from lesion.data.unit import in_units, in_words, unit_of
from lesion.evaluation.groups import slide_scores
from lesion.evaluation.judgement import Rows, judge_groups
from lesion.evaluation.metrics import METRICS, has_both_classes, ranked_scores
from lesion.targets import Target

Summary = dict[str, Any]
SLIDE = "slide"
NO_THRESHOLD = "nothing chose a threshold for slides"


def summarise(results: Sequence[FoldResult], decisions: Decisions, labelled: Labelled) -> Summary:
    """Counts and metrics, overall and of each fold. The overall metrics pool all rows.

    `metrics` are those of the judged predictions, calibrated; those of the kept networks, which the same rows chose,
    stand beside them. Without intervals, which may take minutes: a job that is stopped has no time for them.
    """
    target, why_not, unit = labelled.target, decisions.judged.why_not, unit_of(labelled.table)
    valid_S = ~np.isnan(decisions.judged_SK[:, 0])
    folds = [_fold_summary(kept, decisions, labelled) for kept in results]
    return {
        "question": target.as_json(),
        "unit": unit,  # what its groups are called
        "overall": {
            **labelled.counts(valid_S),
            **metrics_of(decisions.judged_SK, labelled, valid_S, decisions.is_positive_SQ, decisions.raw_SK),
            **({"epoch_not_chosen_by_others": in_words(why_not, unit)} if why_not else {}),
            "of_best_epochs": metrics_of(decisions.kept_raw_SK, labelled, valid_S, None),
            **_of_one_view(results, decisions, labelled),
            "uncalibrated": metrics_of(decisions.raw_SK, labelled, valid_S, None),
            **decisions.told,
            **({} if decisions.operating is None else {"operating_point": decisions.operating.spec}),
            "thresholds": list(decisions.thresholds_Q),
        },
        "folds": folds,
        "mean_of_folds": {
            name: float(np.mean([fold["metrics"][name] for fold in folds]))
            for name in folds[0]["metrics"]
            if all(name in fold["metrics"] for fold in folds)
        },
        **shared_groups(results, labelled),
    }


def _of_one_view(results: Sequence[FoldResult], decisions: Decisions, labelled: Labelled) -> Summary:
    """`of_one_view`: as `of_best_epochs`, which are of the mean over the views, but by each image as it is; nothing
    where one view is all there is. Other epochs, which the judged rows may be of, were never seen in several views."""
    if all(result.logits_SVK.shape[1] == 1 for result in results):
        return {}
    first = Predictions.of([replace(result, logits_SVK=result.logits_SVK[:, :1]) for result in results], labelled)
    first_SK = by_row(first.probs_NK, first.index_N, len(labelled.table))
    return {"of_one_view": metrics_of(first_SK, labelled, ~np.isnan(decisions.judged_SK[:, 0]), None)}


def _fold_summary(kept: FoldResult, decisions: Decisions, labelled: Labelled) -> Summary:
    """A fold's counts, its metrics as they are judged, and those of its best epoch, which the same rows chose."""
    own_SK = combine(labelled.target, kept.logits_SVK[:, None])
    return {
        "fold": kept.fold,
        **labelled.counts(kept.index_S),
        **metrics_of(decisions.judged_SK, labelled, kept.index_S, decisions.is_positive_SQ, decisions.raw_SK),
        "best_epoch": kept.best_epoch,
        "of_best_epoch": told(kept.metrics, labelled.target, labelled.targets_SK[kept.index_S], own_SK),
    }


def metrics_of(
    probs_SK: NDArray[np.float32],
    labelled: Labelled,
    rows: NDArray[np.bool_] | NDArray[np.intp],
    is_positive_SQ: NDArray[np.bool_] | None,
    ranked_SK: NDArray[np.float32] | None = None,
) -> Summary:
    """`metrics` of some rows; accuracy and balanced accuracy by the labels that are given, or else at 0.5; those that
    rank rows by `ranked_SK`, unless by the probabilities. `notes`, if there are any: why a metric is not told, or of
    which outputs it is the mean (evaluation/enough.py).

    Judged rows are ranked before calibration: each fifth of the patients has a calibrator of its own, and where these
    differ, rows of a fifth with few positives would be ranked above others. A server has one calibrator.
    """
    target, targets_SK = labelled.target, labelled.targets_SK[rows]
    metrics = judge(target, targets_SK, probs_SK[rows])
    if is_positive_SQ is not None:
        labels_SQ = is_positive_SQ[rows].astype(float)
        for name in ("accuracy", "balanced_accuracy"):
            metrics[name] = METRICS[name].function(target.judged_columns(targets_SK), labels_SQ, False)
    if not has_both_classes(target.judged_columns(targets_SK)):
        metrics.pop("balanced_accuracy", None)  # of one class alone it would be a recall
    return told(metrics, target, targets_SK, (probs_SK if ranked_SK is None else ranked_SK)[rows])


def told(
    metrics: Mapping[str, float], target: Target, targets_SK: NDArray[np.float32], ranked_SK: NDArray[np.float32]
) -> Summary:
    """`metrics` with those that rank rows only where the rows are enough for it, and `notes` where they are not."""
    ranked, why = ranked_scores(target.judged_columns(targets_SK), target.judged_columns(ranked_SK))
    known = {name: ranked.get(name) if metric.needs_both else metrics.get(name) for name, metric in METRICS.items()}
    notes = {name: why for name, metric in METRICS.items() if metric.needs_both and why is not None}
    return {
        "metrics": {name: value for name, value in known.items() if value is not None},
        **({"notes": notes} if notes else {}),
    }


def numbers_for_the_log(
    summary: Mapping[str, Any], labelled: Labelled, probs_SK: NDArray[np.float32]
) -> dict[str, float]:
    """The metrics of a summary as the log's metric lines say them: a number also where the rows are too few for a
    result, since a tuner that finds no number fails its trial."""
    valid_S = ~np.isnan(probs_SK[:, 0])
    return {**judge(labelled.target, labelled.targets_SK[valid_S], probs_SK[valid_S]), **summary["metrics"]}


def shared_groups(results: Sequence[FoldResult], labelled: Labelled) -> Summary:
    """How many groups, and rows of theirs, are both in training and in validation of a fold; nothing without groups."""
    group_S = labelled.table.group_S
    if group_S is None:
        return {}
    valid_FS = np.array([np.isin(np.arange(len(group_S)), r.index_S) for r in results])
    is_shared_S = groups_on_both_sides(valid_FS, group_S)
    return {"groups_on_both_sides": {"groups": len(np.unique(group_S[is_shared_S])), "rows": int(is_shared_S.sum())}}


def judge_slides(
    labelled: Labelled,
    probs_SK: NDArray[np.float32],
    config: ClassifyConfig,
    ranked_SK: NDArray[np.float32] | None = None,
) -> tuple[Summary, pd.DataFrame]:
    """Metrics of one score a slide, and a row for each: a slide is positive where one of its tiles is.

    The slides are the table's groups. They are ranked by a score made of `ranked_SK`, which the rows then hold too, for
    the reason of `metrics_of`. Rows that are in no validation set (NaN) are left out.
    """
    assert config.slide_score != "none"
    valid_S = ~np.isnan(probs_SK[:, 0])
    target, group_S = labelled.target, labelled.table.group_or_row_S[valid_S]
    prob_S, is_yes_S = (
        target.judged_columns(probs_SK[valid_S])[:, 0],
        target.judged_columns(labelled.targets_SK[valid_S])[:, 0],
    )
    groups_G, scores_G = slide_scores(prob_S, group_S, *config.slide_pooling)
    _, targets_G = slide_scores(is_yes_S, group_S, "max")
    counts = np.unique(group_S, return_counts=True)[1]
    frame = pd.DataFrame({"slide": groups_G, "tiles": counts, "target": targets_G.astype(int), "score": scores_G})
    rows = Rows(is_yes_S[:, None], prob_S[:, None], group_S, target.answer_names[1:], False)
    how, top_k = config.slide_pooling
    if ranked_SK is not None:
        ranked_S1 = target.judged_columns(ranked_SK[valid_S])
        frame["raw_score"] = slide_scores(ranked_S1[:, 0], group_S, how, top_k)[1]
        rows = replace(rows, score_SQ=ranked_S1)
    judged = in_units(judge_groups(rows, how, top_k=top_k), SLIDE)
    known = {name: judged["overall"].get(name, {}) for name in METRICS}
    summary = {
        "score": config.slide_score,
        "num_slides": len(groups_G),
        "classes": dict(
            zip(target.answer_names, np.bincount(targets_G.astype(int), minlength=2).tolist(), strict=True)
        ),
        "metrics": {name: one["value"] for name, one in known.items() if one.get("value") is not None},
        "interval_95": intervals_of(judged),
        "notes": {name: one.get("why", NO_THRESHOLD) for name, one in known.items() if "why" in one or not one},
    }
    return summary, frame


def judge_test(answers: Answers) -> Summary:
    """Counts, metrics and intervals of a test set by the whole ensemble, none of whose networks saw it."""
    labelled, everything = answers.labelled, np.arange(len(answers.labelled.table))
    judged = judge_rows(answers)
    return {
        **labelled.counts(everything),
        **metrics_of(answers.probs_SK, labelled, everything, answers.is_positive_SQ),
        "interval_95": intervals_of(judged),
    }
