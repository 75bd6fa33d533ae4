"""Result tables: the rows of oof.csv and submission.csv."""

# K outputs · S samples · V views · N rows of oof.csv

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.prediction.answer import combine, probability_columns
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.data.labels.encode import Labelled
from lesion.data.table import SampleTable
from lesion.data.write_csv import write_csv
from lesion.targets import Target


def fold_of_rows(results: Sequence[FoldResult], num_rows: int) -> NDArray[np.intp]:
    """The first fold [S] that held each row out; -1 where none did."""
    fold_S = np.full(num_rows, -1, dtype=np.intp)
    for result in reversed(results):
        fold_S[result.index_S] = result.fold
    return fold_S


def lines_of_oof(results: Sequence[FoldResult], num_rows: int) -> NDArray[np.intp]:
    """The line [S] of oof.csv where each row of the table stands first, its header being line 1; 0 for those that no
    fold held out."""
    index_N = np.sort(np.concatenate([result.index_S for result in results]))
    rows, first = np.unique(index_N, return_index=True)
    lines_S = np.zeros(num_rows, dtype=np.intp)
    lines_S[rows] = first + 2
    return lines_S


def out_of_fold_rows(labelled: Labelled, results: Sequence[FoldResult], decisions: Decisions) -> pd.DataFrame:
    """The rows of oof.csv in the order of the table, a row once for each fold that held it out.

    `probability` and `logit` are of the kept networks, as `lesion predict --fold` answers; `judged_probability` is
    what the metrics are made of, a row's mean where folds are repeated, `judged_raw_probability` the same before
    calibration, by which rows are ranked; and `judged_positive` the label.
    """
    table, target = labelled.table, labelled.target
    index_S = np.concatenate([result.index_S for result in results])
    fold_S = np.repeat([result.fold for result in results], [len(result.index_S) for result in results])
    in_order = np.lexsort((fold_S, index_S))
    rows, is_positive_SQ = index_S[in_order], decisions.is_positive_SQ
    logits_SVK = np.concatenate([result.logits_SVK for result in results])[in_order]
    of_judged, of_raw = (probability_columns([*of[rows].T], target) for of in (decisions.judged_SK, decisions.raw_SK))
    return pd.DataFrame(
        {
            table.image_column: table.name_S[rows],
            "group": table.group_or_row_S[rows],
            "fold": fold_S[in_order],
            **target_columns(target, labelled.targets_SK[rows]),
            **probability_columns([*combine(target, logits_SVK[:, None], decisions.calibration).T], target),
            **logit_columns(target, logits_SVK.mean(axis=1)),
            **{f"judged_{name}": column for name, column in of_judged.items()},
            **{f"judged_raw_{name}": column for name, column in of_raw.items()},
            **judged_labels(target, None if is_positive_SQ is None else is_positive_SQ[rows]),
        }
    )


def judged_labels(target: Target, is_positive_NQ: NDArray[np.bool_] | None) -> dict[str, NDArray[Any]]:
    """The labels [N, Q] that metrics are made of, as 0 or 1; none for several classes, the most probable of which is
    the answer.
    """
    if is_positive_NQ is None:
        return {}
    if target.has_binary_answer:
        return {"judged_positive": is_positive_NQ[:, 0].astype(int)}
    return {f"judged_positive_{name}": is_positive_NQ[:, q].astype(int) for q, name in enumerate(target.class_names)}


def target_columns(target: Target, targets_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The targets as oof.csv holds them: 0 or 1, the class's name, or for multilabel a column of 0 and 1 a class."""
    if target.has_binary_answer:
        return {"target": target.judged_columns(targets_SK)[:, 0].astype(int)}
    if target.has_multiclass_answer:
        return {"target": np.array(target.class_names)[targets_SK.argmax(axis=1)]}
    return {f"target_{name}": targets_SK[:, k].astype(int) for k, name in enumerate(target.class_names)}


def logit_columns(target: Target, logits_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The logits as oof.csv holds them, each the mean over the views: one, or one a class of several."""
    if target.kind == "binary":
        return {"logit": logits_SK[:, 0]}
    return {f"logit_{name}": logits_SK[:, k] for k, name in enumerate(target.class_names)}


def write_submission(
    path: Path, table: SampleTable, probs_SK: NDArray[np.float32], target: Target, target_names: Sequence[str]
) -> None:
    """The test set's probabilities, one row per picture in the table's order, in the format of challenges. Binary: a
    column with the name of the target column; else a column per class."""
    names = target_names if target.has_binary_answer else target.class_names
    answers = target.judged_columns(probs_SK)
    columns = {name: answers[:, q] for q, name in enumerate(names)}
    write_csv(path, pd.DataFrame({table.image_column: table.name_S, **columns}))
