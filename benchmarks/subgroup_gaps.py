"""Subgroup gaps: how often a gap is flagged where there is none, and how often one is found.

    python benchmarks/subgroup_gaps.py [--draws 400]

Drawn rows of patients, calibrated and equally good in every subgroup; a patient's rows are alike. Three columns (two,
four and six levels, the last by row), four measures each. Flagged gaps in more than 5 % of the draws would be a fault
of `evaluation/subgroups.py`. Prints one JSON line.
"""

# S rows

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from ham10000 import where_and_when

from lesion.evaluation.subgroup_estimates import MEASURES
from lesion.evaluation.subgroups import judge_subgroups

SETTINGS = (  # patients, rows of each at most, mean of the log-odds, their deviation
    (60, 8, -1.0, 1.5),
    (200, 5, -2.0, 2.0),
    (600, 1, -2.5, 2.0),
    (1000, 4, -3.0, 2.5),
    (400, 1, -4.0, 5.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    start = time.process_time()
    rows = []
    for setting in SETTINGS:
        null = [judged(np.random.default_rng([1, draw]), setting, 0.0) for draw in range(args.draws)]
        gap = [judged(np.random.default_rng([2, draw]), setting, 2.0) for draw in range(args.draws // 4)]
        rows.append(
            {
                **dict(zip(("patients", "most_rows", "mean", "deviation"), setting, strict=True)),
                "draws_with_a_flag": share_of(null, lambda tests: any(test["is_flagged"] for test in tests.values())),
                "tests_a_draw": float(np.mean([len(tests) for tests in null])),
                "uncorrected_below_5_percent": {name: share_below(null, name) for name in MEASURES},
                "real_gap_found": share_of(
                    gap, lambda tests: any(test["is_flagged"] for key, test in tests.items() if key[0] == "two")
                ),
            }
        )
    print(json.dumps({"benchmark": "subgroup_gaps", **where_and_when(), "draws": args.draws, "settings": rows,
                      "cpu_s": round(time.process_time() - start, 1)}))  # fmt: skip


def share_of(draws: list[dict[Any, Any]], is_true: Any) -> float:
    return float(np.mean([is_true(tests) for tests in draws]))


def share_below(draws: list[dict[Any, Any]], measure: str) -> float:
    return float(np.mean([test["p"] < 0.05 for tests in draws for key, test in tests.items() if key[2] == measure]))


def judged(
    rng: np.random.Generator, setting: tuple[int, int, float, float], gap: float
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """One draw's gaps. `gap` is added to the log-odds of the outcomes, not of the predictions, in one of two levels."""
    num_patients, most_rows, mean, deviation = setting
    patient_S = np.repeat(np.arange(num_patients), rng.integers(1, most_rows + 1, num_patients))
    effect_S = rng.normal(0, deviation * 0.7, num_patients)[patient_S]
    log_odds_S = mean + effect_S + rng.normal(0, deviation * 0.7, len(patient_S))
    two_S, four_S = rng.integers(0, 2, num_patients)[patient_S], rng.integers(0, 4, num_patients)[patient_S]
    chance_S = 1 / (1 + np.exp(-log_odds_S - gap * two_S))
    # One number a patient for most rows: outcomes of a patient are alike beyond what is predicted.
    common_S = rng.random(num_patients)[patient_S]
    number_S = np.where(rng.random(len(patient_S)) < 0.6, common_S, rng.random(len(patient_S)))
    target_S = (number_S < chance_S).astype(float)
    prob_S = 1 / (1 + np.exp(-log_odds_S))
    columns = {"two": two_S, "four": four_S, "six": rng.integers(0, 6, len(patient_S))}
    words = {name: level_S.astype(str) for name, level_S in columns.items()}
    report = judge_subgroups(words, target_S, prob_S, prob_S >= 0.15, patient_S)
    return {
        (column, one["level"], measure): test
        for column, levels in report["columns"].items()
        for one in (levels[:1] if len(levels) == 2 else levels)
        for measure, test in one["gaps"].items()
    }


if __name__ == "__main__":
    main()
