"""Results: what a job leaves in output/data: scores of the held-out rows and the test set, metrics, the report."""

# S rows

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import Decision, HeldOut
from lesion.algorithms.anomaly.judge import (
    Json,
    false_positive_rate,
    judge_images,
    judge_pixels,
    pixel_false_positive_rate,
)
from lesion.algorithms.anomaly.masks import mask_paths, read_masks
from lesion.algorithms.anomaly.metric_lines import METRIC_LINES
from lesion.algorithms.anomaly.predictor import ANOMALOUS, NORMAL, AnomalyPredictor
from lesion.algorithms.anomaly.save import save_graph
from lesion.algorithms.anomaly.task import AnomalyTask
from lesion.algorithms.anomaly.threshold import score_of
from lesion.algorithms.base import Output
from lesion.check.run import Checked
from lesion.data.metadata import Row
from lesion.data.table import Rows
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
    judged: Json
    false_positives: Json
    pixel_false_positives: Json
    pixels: Json
    num_learned: int
    weights_file: WeightsFile | None

    def summary(self) -> Json:
        """What metrics.json and the manifest hold."""
        decision, num_anomalous = self.decision, int(self.rows.is_anomalous_S.sum())
        return {
            "num_learned": self.num_learned,
            "pretrained_weights": None if self.weights_file is None else self.weights_file.as_json(),
            "num_rows": len(self.rows.index_S),
            "num_groups": len(np.unique(self.rows.group_S)),
            "classes": {NORMAL: len(self.rows.index_S) - num_anomalous, ANOMALOUS: num_anomalous},
            "operating_point": {"asked": decision.threshold.spec, "threshold": decision.threshold.score},
            "false_positive_rate": self.false_positives,
            "overall": {
                "num_rows": len(self.rows.index_S),
                **measures(self.judged, self.false_positives, self.pixels),
            },
            "pixel_threshold": decision.pixel_threshold,
            "pixel_false_positive_rate": self.pixel_false_positives,
            "pixels": self.pixels,
        }


def write_results(
    run: Run,
    config: AnomalyConfig,
    checked: Checked[AnomalyTask],
    results: Results,
    predictor: AnomalyPredictor,
    *,
    masks: Mapping[int, NDArray[np.bool_]],
    started: float,
) -> None:
    """Writes tables and metrics, logs the metric lines, adds the graph to the artifact, and last writes the report."""
    from lesion.algorithms.anomaly.report import write_job_report

    folder, table = run.job.output_dir, checked.training.table()
    make_folder(folder)
    rows, decision = results.rows, results.decision
    frame = _frame(table.name_S[rows.index_S], rows, decision.score_S, predictor)
    frame.insert(len(frame.columns), "judged_anomalous", decision.label_S.astype(int))
    write_csv(folder / HELD_OUT, frame.rename(columns={"image": table.image_column}))
    summary = results.summary()
    if checked.test is not None:
        best = results.pixels.get("best_threshold")
        summary["test"] = _judge_test(run, config, checked.test, checked.task, predictor, best_threshold=best)
    write_atomic(folder / METRICS, (json.dumps(summary, indent=1) + "\n").encode())
    for name, values in (("validation", summary), ("test", summary.get("test") or {})):
        _log_metrics(name, values)
    if config.export_graph:
        save_graph(run.job.model_dir, predictor, checked.training, rows, stop=run.job.stop, num_cores=run.job.num_cores)
    write_job_report(run, config, checked, results, predictor, summary=summary, masks=masks, started=started)


def _judge_test(
    run: Run,
    config: AnomalyConfig,
    test: Rows,
    task: AnomalyTask,
    predictor: AnomalyPredictor,
    *,
    best_threshold: float | None,
) -> Json | None:
    """Writes the test set's answers; what they are worth, where the set has labels. `best_threshold` is the one that
    the held-out pixels chose for F_β."""
    table, model = test.table(), predictor.model
    shape = (model.map_height, model.map_width)
    outputs = _outputs(test, predictor, num_workers=run.num_workers)
    distance_Shw = np.stack([output.logits_FVK[0].max(axis=0).reshape(shape) for output in outputs])
    is_labelled = table.targets is not None
    is_anomalous_S = task.labels.encode(table)[:, 0] == 1
    rows = HeldOut(np.arange(len(table)), is_anomalous_S, table.group_or_row_S, distance_Shw)
    threshold = predictor.thresholds.default.score
    scored = [predictor.scored(output, threshold) for output in outputs]
    score_S = np.array([one.score for one in scored])
    frame = _frame(table.name_S, rows, score_S, predictor)
    unknown = [] if is_labelled else ["target"]
    write_csv(run.job.output_dir / TEST, frame.drop(columns=unknown).rename(columns={"image": table.image_column}))
    if not is_labelled:
        return None
    label_S = np.array([one.is_anomalous for one in scored])
    is_flagged_Shw = np.stack([one.is_flagged_hw for one in scored])
    judged, false_positives = judge_images(rows, score_S, label_S), false_positive_rate(rows, label_S)
    anomalous = np.flatnonzero(is_anomalous_S).tolist()
    masks = read_masks(mask_paths(table, config, run.job.channels, part="test"), anomalous, test, model.preprocessing)
    pixels = judge_pixels(rows, masks, model.scale, is_flagged_Shw, best_threshold=best_threshold)
    return {
        "num_rows": len(table),
        "num_groups": len(np.unique(rows.group_S)),
        "classes": task.labelled.target.counts(task.labels.encode(table)),
        "false_positive_rate": false_positives,
        **measures(judged, false_positives, pixels),
        "pixel_false_positive_rate": pixel_false_positive_rate(rows, is_flagged_Shw),
        "pixels": pixels,
    }


def measures(judged: Json, false_positives: Json, pixels: Json) -> Json:
    """What can be searched in a registry, in the form that every algorithm's metrics.json has: values, 95 % intervals,
    and why others are undefined."""
    of_pixels = pixels.get("pixel_roc_auc", {"why": pixels.get("why")})
    known = {"false_positive_rate": false_positives, "pixel_roc_auc": of_pixels, **judged["overall"]}
    return {
        "metrics": {name: one["value"] for name, one in known.items() if one.get("value") is not None},
        "interval_95": {name: [one["low"], one["high"]] for name, one in known.items() if "low" in one},
        "notes": {name: one["why"] for name, one in known.items() if one.get("why")},
    }


def estimates(told: Json) -> dict[str, Json]:
    """What `measures` was made of."""
    ends = {name: {"low": low, "high": high} for name, (low, high) in told["interval_95"].items()}
    known = {name: {"value": value, **ends.get(name, {})} for name, value in told["metrics"].items()}
    whys = {name: {"value": None, **known.get(name, {}), "why": why} for name, why in told["notes"].items()}
    return known | whys


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
    name_S: NDArray[np.str_], rows: HeldOut, score_S: NDArray[np.float64], predictor: AnomalyPredictor
) -> pd.DataFrame:
    """A row for each image: its truth and its answer at the served threshold."""
    threshold = predictor.thresholds.default.score
    score_Shw = score_of(rows.distance_Shw, predictor.model.scale)
    return pd.DataFrame(
        {
            "image": name_S,
            "group": rows.group_S,
            "target": rows.is_anomalous_S.astype(int),
            "anomaly_score": score_S,
            "anomalous_fraction": [predictor.flagged(score_hw).mean() for score_hw in score_Shw],
            "is_anomalous": (score_S >= threshold).astype(int),
        }
    )


def _log_metrics(rows: str, summary: Mapping[str, Any]) -> None:
    """The metric lines for a tuner, of what is defined."""
    values = summary.get("overall", summary).get("metrics", {})
    for name in ("false_positive_rate", "roc_auc", "pixel_roc_auc"):
        if name in values:
            log.info("%s", METRIC_LINES[f"{rows}:{name}"].line(values[name]))
