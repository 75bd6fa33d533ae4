"""Gains: what calibration, views and the ensemble change, as rows of the report; or why that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesion.report.sections import Gain, Number
from lesion.report.words import METRIC_NAMES, plural

Metrics = Mapping[str, float]
OF_CALIBRATION = ("log_loss", "brier")
OF_MEANS = ("roc_auc", "log_loss")  # of what averages predictions
NOT_OUT_OF_FOLD = (
    "not measured: one network alone did not train on a held-out image. `lesion evaluate` tells it of another set"
)
ONE_NETWORK = "one network is served: nothing is averaged"
ONE_VIEW = "tta=1: each image is seen as it is"


def gains_of(summary: Mapping[str, Any], *, num_views: int) -> tuple[Gain, ...]:
    """Of a job, by its `metrics.json`: calibration on rows that did not teach it, views by the kept networks, whose
    epoch these rows chose with and without them, and why the ensemble's cannot be known."""
    overall = summary["overall"]
    found = [*_calibration(overall)]
    if "of_one_view" in overall:
        before, after = (overall[name]["metrics"] for name in ("of_one_view", "of_best_epochs"))
        found += gains_between(views_named(num_views), before, after)
    else:
        found.append(_unknown("test-time augmentation", overall["of_best_epochs"]["metrics"], ONE_VIEW))
    if summary["final_model"]["kind"] == "ensemble" and len(summary["folds"]) > 1:
        what = ensemble_named(len(summary["folds"]))
        found.append(_unknown(what, summary["mean_of_folds"], NOT_OUT_OF_FOLD))
    else:
        found.append(_unknown("ensemble", overall["metrics"], ONE_NETWORK))
    return tuple(found)


def gains_between(what: str, before: Metrics, after: Metrics, keys: tuple[str, ...] = OF_MEANS) -> list[Gain]:
    """A row for each metric that is known on both sides."""
    return [
        Gain(
            what=what,
            metric=METRIC_NAMES[key],
            before=Number.of(before[key]),
            after=Number.of(after[key]),
            difference=Number.of(after[key] - before[key]),
        )
        for key in keys
        if key in before and key in after
    ]


def views_named(num_views: int) -> str:
    return f"test-time augmentation ({plural(num_views, 'view')})"


def ensemble_named(num_networks: int) -> str:
    return f"ensemble of {plural(num_networks, 'network')}"


def _calibration(overall: Mapping[str, Any]) -> list[Gain]:
    before = overall["uncalibrated"]["metrics"]
    if "calibration" not in overall:
        return [_unknown("calibration", before, "calibration=none: probabilities are the networks' own")]
    method = overall["calibration"]["method"]
    if method == "none":
        return [_unknown("calibration", before, "none was better than no calibration on held-out rows")]
    return gains_between(f"calibration ({method})", before, overall["metrics"], OF_CALIBRATION)


def _unknown(what: str, before: Metrics, why: str) -> Gain:
    """A row without a gain, and why; beside it what is reached without."""
    key = next((key for key in OF_MEANS if key in before), OF_MEANS[0])
    nothing = Number.of(None, why=why)
    own = Number.of(before.get(key), why="too few rows")
    return Gain(what=what, metric=METRIC_NAMES[key], before=own, after=nothing, difference=Number.of(None, why="–"))
