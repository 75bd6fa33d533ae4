"""Few slides with many rows: which calibrator helps on new slides? Drawn rows.

    python benchmarks/few_slides.py

Each slide has 60 rows, and an offset of its own in the network's log-odds and in the truth (deviation 0.7). The truth's
slope on the log-odds is 0.3 (far too sure) to 1.6 (timid). Mean log loss on 200 new slides over 25 draws, of each
method fitted on all rows and of the one that training chooses. Prints one JSON line; dated copies lie in
benchmarks/results/.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
from ham10000 import where_and_when
from numpy.typing import NDArray

from lesion.evaluation.calibrator_choice import choose_calibrator
from lesion.evaluation.calibrator_fits import fit
from lesion.evaluation.calibrators import METHODS, Calibrator
from lesion.evaluation.links import sigmoid
from lesion.evaluation.metrics import log_loss

NUM_ROWS, NUM_NEW, NUM_DRAWS, DEVIATION = 60, 200, 25, 0.7


def main() -> None:
    told: dict[str, Any] = {"benchmark": "few_slides", **where_and_when(), "log_loss": {}}
    for num_slides in (5, 7, 30):
        for slope in (0.3, 0.6, 1.0, 1.6):
            told["log_loss"][f"{num_slides} slides, slope {slope}"] = compare(num_slides, slope)
    print(json.dumps(told))


def compare(num_slides: int, slope: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    losses: dict[str, list[float]] = {name: [] for name in (*METHODS, "chosen")}
    chosen: Counter[str] = Counter()
    for _ in range(NUM_DRAWS):
        targets, probs, group_S = draw(rng, num_slides, NUM_ROWS, slope)
        new_targets, new_probs, _ = draw(rng, NUM_NEW, 10, slope)
        choice = choose_calibrator(targets, probs, group_S, is_multiclass=False).calibrator
        chosen[choice.method] += 1
        calibrators = {name: Calibrator(False, fit(targets, probs, name, is_multiclass=False)) for name in METHODS}
        for name, calibrator in {**calibrators, "chosen": choice}.items():
            losses[name].append(log_loss(new_targets, calibrator.apply(new_probs), False))
    return {name: round(float(np.mean(values)), 4) for name, values in losses.items()} | {"choices": dict(chosen)}


def draw(
    rng: np.random.Generator, num_slides: int, num_rows: int, slope: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Targets [S, 1], a network's probabilities [S, 1], and each row's slide [S]."""
    of_network, of_truth = rng.normal(0, DEVIATION, (2, num_slides, 1))
    score = rng.normal(0, 2, (num_slides, num_rows)) + of_network
    is_positive = rng.random(score.shape) < sigmoid(slope * score + of_truth)
    targets, probs = is_positive.astype(float).reshape(-1, 1), sigmoid(score).reshape(-1, 1)
    return targets, probs, np.repeat(np.arange(num_slides), num_rows)


if __name__ == "__main__":
    main()
