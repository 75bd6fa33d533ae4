"""Results: what a job leaves in output/data beside its report: scores of held-out rows and the test set, metrics."""

# S rows

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import Decision, HeldOut
from lesion.algorithms.anomaly.judge import Json, Judged, judge_rows
from lesion.algorithms.anomaly.masks import mask_paths, read_masks
from lesion.algorithms.anomaly.metric_lines import METRIC_LINES
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.anomaly.task import AnomalyTask
from lesion.algorithms.base import Output
from lesion.check.run import Checked
from lesion.data.metadata import Row
from lesion.data.table import Rows
from lesion.data.unit import unit_of
from lesion.data.write_csv import write_csv
from lesion.engine.run import Run
from lesion.files import make_folder, write_atomic
from lesion.inference.batches import compute_in_batches
from lesion.models.weight_files import WeightsFile

log = logging.getLogger(__name__)

METRICS, HELD_OUT, TEST = "metrics.json", "oof.csv", "submission.csv"


@dataclass(frozen=True)
class Results:
    """The held-out rows, what was decided on them, and how that was judged."""

    rows: HeldOut
    decision: Decision
    judged: Judged
    num_learned: int
    weights_file: WeightsFile | None

    def summary(self) -> Json:
        """What metrics.json and the manifest hold."""
        decision, judged = self.decision, self.judged
        return {
            "unit": judged.unit,  # what its groups are called
            "num_learned": self.num_learned,
            "pretrained_weights": None if self.weights_file is None else self.weights_file.as_json(),
            "num_rows": judged.num_rows,
            "num_groups": judged.num_groups,
            "classes": judged.classes,
            "operating_point": {"asked": decision.threshold.spec, "threshold": decision.threshold.score},
            "false_positive_rate": judged.false_positive_rate,
            "overall": {"num_rows": judged.num_rows, **_searchable(judged)},
            "pixel_threshold": decision.pixel_threshold,
            "pixel_false_positive_rate": judged.pixel_false_positive_rate,
            "pixels": judged.pixels,
        }


def write_results(
    run: Run, config: AnomalyConfig, checked: Checked[AnomalyTask], results: Results, predictor: AnomalyPredictor
) -> Judged | None:
    """Writes tables and metrics, and logs the metric lines. How the test set was judged, where it has labels."""
    folder, table = run.job.output_dir, checked.training.table()
    make_folder(folder)
    rows, decision = results.rows, results.decision
    fractions = [predictor.flagged(rows.scores(number, decision.scale))[1] for number in range(len(rows.index_S))]
    frame = _frame(table.name_S[rows.index_S], rows, decision.score_S, fractions, predictor)
    frame.insert(len(frame.columns), "judged_anomalous", decision.label_S.astype(int))
    write_csv(folder / HELD_OUT, frame.rename(columns={"image": table.image_column}))
    summary, tested = results.summary(), None
    if checked.test is not None:
        best = results.judged.pixels.get("best_threshold")
        tested = _judge_test(run, config, checked.test, checked.task, predictor, best_threshold=best)
        summary["test"] = None if tested is None else _summary_of_test(tested)
    write_atomic(folder / METRICS, (json.dumps(summary, indent=1) + "\n").encode())
    _log_metrics("validation", results.judged)
    if tested is not None:
        _log_metrics("test", tested)
    return tested


def _judge_test(
    run: Run,
    config: AnomalyConfig,
    test: Rows,
    task: AnomalyTask,
    predictor: AnomalyPredictor,
    *,
    best_threshold: float | None,
) -> Judged | None:
    """Writes the test set's answers; what they are worth, where the set has labels. `best_threshold` is the one that
    the held-out pixels chose for F_β."""
    table, model = test.table(), predictor.model
    shape = (model.map_height, model.map_width)
    outputs = _outputs(test, predictor, num_workers=run.num_workers)
    scored = [predictor.scored(output) for output in outputs]
    distance_Shw = np.stack([output.logits_FVK[0, 0].reshape(shape) for output in outputs])
    size_S2 = np.array([one.size for one in scored]) if model.preprocessing.fit == "pad" else None
    is_labelled = table.targets is not None
    is_anomalous_S = task.labels.encode(table)[:, 0] == 1
    rows = HeldOut(np.arange(len(table)), is_anomalous_S, table.group_or_row_S, distance_Shw, size_S2)
    score_S = np.array([one.score for one in scored])
    frame = _frame(table.name_S, rows, score_S, [one.fraction for one in scored], predictor)
    unknown = [] if is_labelled else ["target"]
    write_csv(run.job.output_dir / TEST, frame.drop(columns=unknown).rename(columns={"image": table.image_column}))
    if not is_labelled:
        return None
    paths, anomalous = mask_paths(table, config, run.job.channels, part="test"), np.flatnonzero(is_anomalous_S)
    return judge_rows(
        rows,
        score_S=score_S,
        label_S=np.array([one.is_anomalous for one in scored]),
        is_flagged_Shw=np.stack([one.is_flagged_hw for one in scored]),
        masks=read_masks(paths, anomalous.tolist(), test, model.preprocessing),
        scale=model.scale,
        unit=unit_of(table),
        best_threshold=best_threshold,
    )


def _summary_of_test(tested: Judged) -> Json:
    return {
        "num_rows": tested.num_rows,
        "num_groups": tested.num_groups,
        "classes": tested.classes,
        "false_positive_rate": tested.false_positive_rate,
        **_searchable(tested),
        "pixel_false_positive_rate": tested.pixel_false_positive_rate,
        "pixels": tested.pixels,
    }


def _searchable(judged: Judged) -> Json:
    """The measures in the form that every algorithm's metrics.json has, which can be searched in a registry: values,
    95 % intervals, and why others are undefined."""
    known = judged.measures
    return {
        "metrics": {name: one["value"] for name, one in known.items() if one.get("value") is not None},
        "interval_95": {name: [one["low"], one["high"]] for name, one in known.items() if "low" in one},
        "notes": {name: one["why"] for name, one in known.items() if one.get("why")},
    }


def _outputs(test: Rows, predictor: AnomalyPredictor, *, num_workers: int) -> list[Output]:
    """The outputs of the test rows in their order. Raises what reading one raises."""
    nothing: Row = {}
    found = []
    for _, output in compute_in_batches(
        predictor.executors,
        lambda row: predictor.prepare(test.read(row), nothing),
        len(test.table()),
        max_batch=predictor.max_batch,
        num_workers=num_workers,
    ):
        if isinstance(output, Exception):
            raise output
        found.append(output)
    return found


def _frame(
    name_S: NDArray[np.str_],
    rows: HeldOut,
    score_S: NDArray[np.float64],
    fractions: Sequence[float],
    predictor: AnomalyPredictor,
) -> pd.DataFrame:
    """A row for each image: its truth and its answer at the served threshold."""
    return pd.DataFrame(
        {
            "image": name_S,
            "group": rows.group_S,
            "target": rows.is_anomalous_S.astype(int),
            "anomaly_score": score_S,
            "anomalous_fraction": fractions,
            "is_anomalous": (score_S >= predictor.thresholds.default.score).astype(int),
        }
    )


def _log_metrics(rows: str, judged: Judged) -> None:
    """The metric lines for a tuner, of what is defined: the ROC AUC of few rows too, since a tuner without a number
    fails its job (decision 52)."""
    pixel_auc = judged.measures["pixel_roc_auc"]["value"]
    for name, value in (
        ("false_positive_rate", judged.false_positive_rate["value"]),
        ("roc_auc", judged.roc_auc),
        ("pixel_roc_auc", pixel_auc),
    ):
        if value is not None:
            log.info("%s", METRIC_LINES[f"{rows}:{name}"].line(value))
