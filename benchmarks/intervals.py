"""Intervals: CPU seconds and memory of a judgement with 95 % intervals by patient.

    python benchmarks/intervals.py

Drawn probabilities: 30,000 rows of 20,000 patients (2,000 draws), a thousand classes with 20,000 rows, and what Lesion
did before for the same (a loop over draws, a few of them, counted up). Prints one JSON line; dated copies lie in
results/.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ham10000 import where_and_when
from scipy.special import expit, softmax

from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.metrics import METRICS
from lesion.evaluation.resampling import number_groups


def main() -> None:
    binary, many = of_two(30_000, 20_000), of_many(1_000, 20_000)
    result = {
        "benchmark": "intervals",
        **where_and_when(),
        "two_classes": {"rows": 30_000, "draws": 2_000, **measured(lambda: judge(binary))},
        "two_classes_with_folds_and_patients": measured(lambda: judge(binary, parts={"fold": np.arange(30_000) % 5})),
        "thousand_classes": {"rows": 20_000, **measured(lambda: judge(many))},
        "before": {
            "two_classes_2000_draws_cpu_s": before(binary, 2_000, 50),
            "thousand_classes_1000_draws_cpu_s": before(many, 1_000, 3),
        },
    }
    print(json.dumps(result | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def measured(work: Callable[[], Any]) -> dict[str, float]:
    started, clock = time.process_time(), time.monotonic()
    found = work()
    cpu_s, wall_s = time.process_time() - started, time.monotonic() - clock
    return {"draws": found["draws"], "cpu_s": round(cpu_s, 1), "wall_s": round(wall_s, 1)}


def before(rows: Rows, num_draws: int, num_tried: int) -> float:
    """CPU seconds of the loop that was there: rows are gathered and sorted anew in every draw."""
    rng, started = np.random.default_rng(0), time.process_time()
    code_S, num_groups = number_groups(rows.group_S)
    rows_of = np.split(np.argsort(code_S, kind="stable"), np.cumsum(np.bincount(code_S))[:-1])
    for _ in range(num_tried):
        drawn = np.concatenate([rows_of[g] for g in rng.integers(0, num_groups, num_groups)])
        for name in ("roc_auc", "accuracy", "balanced_accuracy"):
            METRICS[name].function(rows.target_SQ[drawn], rows.prob_SQ[drawn], rows.is_multiclass)
    return round((time.process_time() - started) / num_tried * num_draws)


def of_two(num_rows: int, num_groups: int) -> Rows:
    rng = np.random.default_rng(0)
    prob_S1 = expit(rng.normal(-3, 2, (num_rows, 1)))
    target_S1 = (rng.random((num_rows, 1)) < prob_S1).astype(float)
    return Rows(target_S1, prob_S1, rng.integers(0, num_groups, num_rows), ["yes"], False, label_SQ=prob_S1 > 0.1)


def of_many(num_classes: int, num_rows: int) -> Rows:
    rng = np.random.default_rng(0)
    class_S = rng.integers(0, num_classes, num_rows)
    logits_SQ = rng.normal(size=(num_rows, num_classes)).astype(np.float32)
    logits_SQ[np.arange(num_rows), class_S] += 3
    names = [f"class {k}" for k in range(num_classes)]
    return Rows(np.eye(num_classes)[class_S], softmax(logits_SQ, axis=1), np.arange(num_rows), names, True)


if __name__ == "__main__":
    main()
