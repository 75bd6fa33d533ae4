"""Conformal coverage: which share of new patients the prediction sets cover, where rows of a patient are alike.

    python benchmarks/conformal_coverage.py [--draws 300]

Drawn patients with one to eight rows; the quantiles come from some patients and are judged on 2,000 others. "by row" is
what quantiles of rows, which ignore patients, would give. "ensemble" calibrates on single networks' scores, out of
fold, and judges the mean of five, as an endpoint answers. Prints one JSON line.
"""

# S rows · F networks

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from ham10000 import where_and_when
from numpy.typing import NDArray

from lesion.evaluation.conformal import fit_sets, nested_sets, two_classes, verify_sets

NUM_FOLDS = 5
NOISE = 1.0  # deviation of a network's log-odds from the truth


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    args = parser.parse_args()
    start = time.process_time()
    results = [
        {"patients": num_patients, "stated": coverage, **covered(args.draws, num_patients, coverage)}
        for num_patients in (30, 100, 500)
        for coverage in (0.8, 0.9, 0.95)
    ]
    print(json.dumps({"benchmark": "conformal_coverage", **where_and_when(), "draws": args.draws, "results": results,
                      "cpu_s": round(time.process_time() - start, 1)}))  # fmt: skip


def covered(draws: int, num_patients: int, coverage: float) -> dict[str, Any]:
    shares: dict[str, list[float]] = {}
    for draw in range(draws):
        class_S, probs_SF, group_S = patients(num_patients, np.random.default_rng([draw, 0]))
        new_S, new_SF, new_group_S = patients(2000, np.random.default_rng([draw, 1]))
        fold_S = group_S % NUM_FOLDS
        out_of_fold_S2 = two_classes(probs_SF[np.arange(len(fold_S)), fold_S])

        def judged(groups: NDArray[Any], new_prob_S: NDArray[np.float64], by_class: bool = False) -> Any:
            sets = fit_sets(class_S, out_of_fold_S2, groups, coverage=coverage, by_class=by_class)  # noqa: B023
            return verify_sets(new_S, sets.apply(two_classes(new_prob_S)), new_group_S, coverage=coverage)  # noqa: B023

        of_patients, of_classes = judged(group_S, new_SF[:, 0]), judged(group_S, new_SF[:, 0], by_class=True)
        nested = nested_sets(class_S, out_of_fold_S2, fold_S, group_S, coverage=coverage)
        found = {
            "by_patient": of_patients["coverage"]["value"],
            "rarer_class": of_patients["by_class"][1]["value"],
            "rarer_class_by_class": of_classes["by_class"][1]["value"],
            "by_row": judged(np.arange(len(group_S)), new_SF[:, 0])["coverage"]["value"],
            "ensemble": judged(group_S, new_SF.mean(axis=1))["coverage"]["value"],
            "nested": verify_sets(class_S, nested, group_S, coverage=coverage)["coverage"]["value"],
            "mean_size": of_patients["mean_size"],
        }
        for name, value in found.items():
            shares.setdefault(name, []).append(value)
    return {name: round(float(np.mean(values)), 4) for name, values in shares.items()}


def patients(
    num_patients: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Classes [S], each network's probabilities [S, F] of class 1, and patients [S]."""
    group_S = np.repeat(np.arange(num_patients), rng.integers(1, 9, num_patients))
    truth_S = rng.normal(-1.5, 1.5, num_patients)[group_S] + rng.normal(0, 1, len(group_S))
    common_S = rng.random(num_patients)[group_S]
    number_S = np.where(rng.random(len(group_S)) < 0.7, common_S, rng.random(len(group_S)))
    class_S = (number_S < 1 / (1 + np.exp(-truth_S))).astype(np.intp)
    network_SF = truth_S[:, None] + rng.normal(0, NOISE, (len(group_S), NUM_FOLDS))
    return class_S, 1 / (1 + np.exp(-network_SF)), group_S


if __name__ == "__main__":
    main()
