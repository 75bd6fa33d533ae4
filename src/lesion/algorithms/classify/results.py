"""Results: what a job leaves in output/data: out-of-fold and test predictions, metrics, history, a picture."""

# K outputs · S samples

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.fold_result import FoldResult
from lesion.data.folds import Folds
from lesion.data.images import Pixels
from lesion.data.table import SampleTable
from lesion.files import write_atomic
from lesion.metrics import bootstrap_interval, roc_auc, score_all, youden_threshold

Summary = dict[str, Any]


def summarise(results: Sequence[FoldResult], table: SampleTable, fold_S: Folds) -> tuple[Summary, NDArray[np.float32]]:
    """Counts and metrics, overall and of each fold, and the probability of each row (NaN: never held out).

    The overall metrics pool all rows. The interval resamples patients; it does not say how another training run would
    differ.
    """
    assert table.target_S is not None
    prob_S = np.full(len(table), np.nan, dtype=np.float32)
    for result in results:
        prob_S[result.index_S] = result.probs_SK[:, 0]  # by position, so no batch can land on other rows
    held_S = ~np.isnan(prob_S)
    target_S = table.target_S[held_S]
    group_S = (table.name_S if table.group_S is None else table.group_S)[held_S]
    low, high = bootstrap_interval(roc_auc, target_S, prob_S[held_S], group_S)
    summary = {
        "overall": {
            **_counts(table, held_S),
            "metrics": score_all(target_S, prob_S[held_S]),
            "roc_auc_interval_95": [low, high],
            "threshold": youden_threshold(target_S, prob_S[held_S]),
        },
        "folds": [
            {"fold": r.fold, **_counts(table, fold_S == r.fold), "best_epoch": r.best_epoch, "metrics": r.metrics}
            for r in results
        ],
        "mean_of_folds": {name: float(np.mean([r.metrics[name] for r in results])) for name in results[0].metrics},
    }
    return summary, prob_S


def write_results(
    output_dir: Path,
    *,
    table: SampleTable,
    fold_S: Folds,
    prob_S: NDArray[np.float32],
    results: Sequence[FoldResult],
    summary: Summary,
    read: Callable[[int], Pixels],
) -> None:
    """oof.csv in the order of the training CSV, metrics.json, history.csv, and report.png with pictures from `read`."""
    from lesion.report.figure import draw_report

    output_dir.mkdir(parents=True, exist_ok=True)
    held_S = ~np.isnan(prob_S)
    assert table.target_S is not None
    frame = pd.DataFrame(
        {
            table.image_column: table.name_S,
            "group": table.name_S if table.group_S is None else table.group_S,
            "fold": fold_S,
            "target": table.target_S.astype(int),
            "probability": prob_S,
        }
    )[held_S]
    write_csv(output_dir / "oof.csv", frame)
    write_csv(output_dir / "history.csv", pd.DataFrame([row for result in results for row in result.history]))
    write_atomic(output_dir / "metrics.json", (json.dumps(summary, indent=2) + "\n").encode())
    held_rows = np.flatnonzero(held_S)
    png = draw_report(
        table.target_S[held_S],
        prob_S[held_S],
        interval=summary["overall"]["roc_auc_interval_95"],
        threshold=summary["overall"]["threshold"],
        class_names=table.class_names,
        read=lambda row: read(int(held_rows[row])),
    )
    write_atomic(output_dir / "report.png", png)


def write_submission(path: Path, table: SampleTable, probs_SK: NDArray[np.float32], target_column: str) -> None:
    """The test set's probabilities, one row a picture in the order of test.csv, as the challenge wants them."""
    write_csv(path, pd.DataFrame({table.image_column: table.name_S, target_column: probs_SK[:, 0]}))


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Nine digits bring a float32 back unchanged."""
    write_atomic(path, frame.to_csv(index=False, float_format="%.9g").encode())


def _counts(table: SampleTable, rows_S: NDArray[np.bool_]) -> dict[str, int]:
    assert table.target_S is not None
    counts = {"num_rows": int(rows_S.sum()), "num_positives": int(table.target_S[rows_S].sum())}
    return counts if table.group_S is None else {**counts, "num_groups": len(np.unique(table.group_S[rows_S]))}
