"""Results: what a job leaves in output/data: out-of-fold and test predictions, metrics, history, a picture."""

# K outputs · S samples · V views · G groups, here slides · N predictions of samples, more where folds are repeated

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.answer import combine
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.data.images import Pixels
from lesion.data.labels import Labelled
from lesion.data.table import SampleTable
from lesion.evaluation.groups import slide_scores
from lesion.evaluation.intervals import bootstrap_intervals
from lesion.evaluation.metrics import score_all
from lesion.evaluation.thresholds import youden_threshold
from lesion.files import make_folder, write_atomic
from lesion.targets import Target

Summary = dict[str, Any]
METRICS = "metrics.json"


def judge(target: Target, targets_SK: NDArray[np.float32], probs_SK: NDArray[np.float32]) -> dict[str, float]:
    """Every metric of what is asked that these rows define."""
    return score_all(target.asked(targets_SK), target.asked(probs_SK), is_one_of=target.is_one_of)


def out_of_fold(target: Target, results: Sequence[FoldResult], num_rows: int) -> NDArray[np.float32]:
    """The probabilities [S, K] of each row, combined over the folds that held it out; NaN where none did."""
    index_N = np.concatenate([result.index_S for result in results])
    logits_NVK = np.concatenate([result.logits_SVK for result in results])
    logits_NVK = logits_NVK[np.argsort(index_N, kind="stable")]  # a row's folds one after another
    times_S = np.bincount(index_N, minlength=num_rows)  # more than 1 where the cross-validation is repeated
    starts_S = np.cumsum(times_S) - times_S
    probs_SK = np.full((num_rows, target.num_outputs), np.nan, dtype=np.float32)
    for times in np.unique(times_S[times_S > 0]).tolist():
        rows = np.flatnonzero(times_S == times)
        probs_SK[rows] = combine(target, logits_NVK[starts_S[rows, None] + np.arange(times)])
    return probs_SK


def summarise(results: Sequence[FoldResult], labelled: Labelled) -> tuple[Summary, NDArray[np.float32]]:
    """Counts and metrics, overall and of each fold, and the probabilities [S, K] of each row (NaN: never held out).

    The overall metrics pool all rows. The intervals resample patients; they do not say how another training run would
    differ.
    """
    target, targets_SK = labelled.target, labelled.targets_SK
    probs_SK = out_of_fold(target, results, len(targets_SK))
    held_S = ~np.isnan(probs_SK[:, 0])
    targets, probs = targets_SK[held_S], probs_SK[held_S]
    asked, answers = target.asked(targets), target.asked(probs)
    thresholds = (
        [] if target.is_one_of else [youden_threshold(asked[:, q], answers[:, q]) for q in range(asked.shape[1])]
    )
    summary = {
        "overall": {
            **labelled.counts(held_S),
            "metrics": judge(target, targets, probs),
            "interval_95": bootstrap_intervals(
                asked, answers, labelled.table.unit_S[held_S], is_one_of=target.is_one_of
            ),
            "thresholds": thresholds,
        },
        "folds": [
            {"fold": r.fold, **labelled.counts(r.index_S), "best_epoch": r.best_epoch, "metrics": r.metrics}
            for r in results
        ],
        "mean_of_folds": {
            name: float(np.mean([r.metrics[name] for r in results]))
            for name in results[0].metrics
            if all(name in r.metrics for r in results)
        },
    }
    return summary, probs_SK


def judge_slides(
    labelled: Labelled, probs_SK: NDArray[np.float32], config: ClassifyConfig
) -> tuple[Summary, pd.DataFrame]:
    """Metrics of one score a slide, and a row for each: a slide is positive where one of its tiles is.

    The slides are the table's groups. Rows that no fold held out (NaN) are left out.
    """
    assert config.slide_score != "none"
    held_S = ~np.isnan(probs_SK[:, 0])
    target, group_S = labelled.target, labelled.table.unit_S[held_S]
    prob_S, is_yes_S = target.asked(probs_SK[held_S])[:, 0], target.asked(labelled.targets_SK[held_S])[:, 0]
    groups_G, scores_G = slide_scores(prob_S, group_S, *config.slide_pooling)
    _, targets_G = slide_scores(is_yes_S, group_S, "max")
    counts = np.unique(group_S, return_counts=True)[1]
    frame = pd.DataFrame({"slide": groups_G, "tiles": counts, "target": targets_G.astype(int), "score": scores_G})
    targets_G1, scores_G1 = targets_G[:, None], scores_G[:, None]
    summary = {
        "score": config.slide_score,
        "num_slides": len(groups_G),
        "classes": dict(
            zip(target.answer_names, np.bincount(targets_G.astype(int), minlength=2).tolist(), strict=True)
        ),
        "metrics": score_all(targets_G1, scores_G1, is_one_of=False),
        "interval_95": bootstrap_intervals(targets_G1, scores_G1, groups_G, is_one_of=False),
    }
    return summary, frame


def judge_test(labelled: Labelled, probs_SK: NDArray[np.float32]) -> Summary:
    """Counts, metrics and intervals of a test set by the whole ensemble, none of whose networks saw it."""
    target, asked = labelled.target, labelled.target.asked(labelled.targets_SK)
    return {
        **labelled.counts(np.arange(len(labelled.table))),
        "metrics": judge(target, labelled.targets_SK, probs_SK),
        "interval_95": bootstrap_intervals(
            asked, target.asked(probs_SK), labelled.table.unit_S, is_one_of=target.is_one_of
        ),
    }


def write_results(
    output_dir: Path,
    labelled: Labelled,
    results: Sequence[FoldResult],
    *,
    probs_SK: NDArray[np.float32],
    summary: Summary,
    read: Callable[[int], Pixels],
) -> None:
    """oof.csv in the order of the table, metrics.json, history.csv, and report.png with pictures from `read`.

    Without the last, and with a warning, where it cannot be drawn. Raises PlatformError where the disk refuses.
    """
    from lesion.report.figure import draw_report, try_to_draw

    make_folder(output_dir)
    table, target = labelled.table, labelled.target
    index_S = np.concatenate([result.index_S for result in results])
    fold_S = np.repeat([result.fold for result in results], [len(result.index_S) for result in results])
    in_order = np.lexsort((fold_S, index_S))
    rows = index_S[in_order]
    logits_SVK = np.concatenate([result.logits_SVK for result in results])[in_order]
    answers = answer_columns(target, combine(target, logits_SVK[:, None]))
    frame = pd.DataFrame(
        {
            table.image_column: table.name_S[rows],
            "group": table.unit_S[rows],
            "fold": fold_S[in_order],
            **target_columns(target, labelled.targets_SK[rows]),
            **answers,
            **logit_columns(target, logits_SVK.mean(axis=1)),
        }
    )
    write_csv(output_dir / "oof.csv", frame)
    write_csv(output_dir / "history.csv", pd.DataFrame([row for result in results for row in result.history]))
    write_atomic(output_dir / METRICS, (json.dumps(summary, indent=2) + "\n").encode())
    held_rows = np.flatnonzero(~np.isnan(probs_SK[:, 0]))
    png = try_to_draw(
        "report.png",
        lambda: draw_report(
            target,
            labelled.targets_SK[held_rows],
            probs_SK[held_rows],
            summary["overall"],
            read=lambda row: read(int(held_rows[row])),
        ),
    )
    if png is not None:
        write_atomic(output_dir / "report.png", png)


def target_columns(target: Target, targets_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The targets as oof.csv holds them: 0 or 1, the class's name, or for multilabel a column of 0 and 1 a class."""
    if target.is_yes_no:
        return {"target": target.asked(targets_SK)[:, 0].astype(int)}
    if target.is_one_of:
        return {"target": np.array(target.class_names)[targets_SK.argmax(axis=1)]}
    return {f"target_{name}": targets_SK[:, k].astype(int) for k, name in enumerate(target.class_names)}


def answer_columns(target: Target, probs_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The probabilities as tables hold them: of yes, where that is asked, and one a class of several."""
    columns = {"probability": target.asked(probs_SK)[:, 0]} if target.is_yes_no else {}
    if target.kind != "binary":
        columns |= {f"probability_{name}": probs_SK[:, k] for k, name in enumerate(target.class_names)}
    return columns


def logit_columns(target: Target, logits_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The logits as oof.csv holds them, each the mean over the views: one, or one a class of several."""
    if target.kind == "binary":
        return {"logit": logits_SK[:, 0]}
    return {f"logit_{name}": logits_SK[:, k] for k, name in enumerate(target.class_names)}


def write_submission(
    path: Path, table: SampleTable, probs_SK: NDArray[np.float32], target: Target, target_names: Sequence[str]
) -> None:
    """The test set's probabilities, one row a picture in its table's order, as challenges want them: a column named as
    the target column for yes or no, else one named as each class."""
    names = target_names if target.is_yes_no else target.class_names
    answers = target.asked(probs_SK)
    columns = {name: answers[:, q] for q, name in enumerate(names)}
    write_csv(path, pd.DataFrame({table.image_column: table.name_S, **columns}))


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Words as they are, so that names can be looked up by them; what is no character as an escape.

    Nine digits bring a float32 back unchanged.
    """
    text = frame.to_csv(index=False, float_format="%.9g")
    if "\r" in text:  # which the writer leaves bare, and readers take for the end of a line
        text = frame.to_csv(index=False, float_format="%.9g", quoting=csv.QUOTE_ALL)
    write_atomic(path, text.encode(errors="backslashreplace"))
