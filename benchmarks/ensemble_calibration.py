"""Ensemble calibration: where a calibrator that was learnt out of fold belongs when the folds' networks are averaged.

    python benchmarks/ensemble_calibration.py [--draws 40] [--logits FILE.npz]

Each network's calibration is learnt on out-of-fold rows, as `calibrator_choice` does, and judged on new patients for a
single network and for the ensemble, combined in several ways. Drawn data: a network's log-odds are the truth's, with an
error that all networks share and one of its own, times an overconfidence. With `--logits` also a real job's, with the
arrays oof_logits_SVK, oof_target_S, oof_group_S, test_logits_SFVK, test_target_S and test_group_S.
Slope 1 is right; above 1 probabilities are too near the middle. Prints one JSON line.
"""

# S rows · F networks · V views

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ham10000 import where_and_when
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from lesion.evaluation.calibrator_choice import choose_calibrator, nested_calibrators
from lesion.evaluation.calibrators import Calibrator
from lesion.evaluation.links import log_odds
from lesion.evaluation.metrics import log_loss, roc_auc

Array = NDArray[np.float64]
NUM_FOLDS, NUM_ROWS, NUM_NEW = 5, 3000, 20_000
SETTINGS = {  # deviation of the errors shared by all networks and of each network's own; factor of all log-odds
    "alike": (0.5, 0.3, 1.5),
    "usual": (0.8, 0.8, 2.0),
    "different": (0.5, 1.5, 2.0),
    "calibrated": (0.0, 0.8, 1.0),
}
NUM_BINS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--logits", type=Path)
    args = parser.parse_args()
    start = time.process_time()
    results = {
        name: mean_of([drawn(draw, *setting) for draw in range(args.draws)]) for name, setting in SETTINGS.items()
    }
    real = real_job(args.logits) if args.logits else None
    print(json.dumps({"benchmark": "ensemble_calibration", **where_and_when(), "draws": args.draws, "drawn": results,
                      "real": real, "cpu_s": round(time.process_time() - start, 1)}))  # fmt: skip


def drawn(seed: int, shared: float, own: float, factor: float) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(seed)

    def rows(num_rows: int) -> tuple[Array, Array]:
        truth_S = rng.normal(-2.5, 2.0, num_rows)
        target_S = (rng.random(num_rows) < sigmoid(truth_S)).astype(float)
        error_SF = rng.normal(0, shared, num_rows)[:, None] + rng.normal(0, own, (num_rows, NUM_FOLDS))
        return target_S, sigmoid(factor * (truth_S[:, None] + error_SF))

    target_S, probs_SF = rows(NUM_ROWS)
    fold_S = np.arange(NUM_ROWS) % NUM_FOLDS
    prob_S = probs_SF[np.arange(NUM_ROWS), fold_S]
    choice = choose_calibrator(target_S[:, None], prob_S[:, None], np.arange(NUM_ROWS), is_multiclass=False)
    return judged(choice.calibrator, *rows(NUM_NEW))


def real_job(path: Path) -> dict[str, object]:
    arrays = np.load(path, allow_pickle=False)
    prob_S = sigmoid(arrays["oof_logits_SVK"][..., 0]).mean(axis=1)
    target_S = arrays["oof_target_S"].astype(float)
    choice = choose_calibrator(target_S[:, None], prob_S[:, None], arrays["oof_group_S"], is_multiclass=False)
    nested = prob_S.copy()
    for is_held, calibrator in nested_calibrators(
        target_S[:, None], prob_S[:, None], arrays["oof_group_S"], is_multiclass=False
    ):
        nested[is_held] = calibrator.apply(prob_S[is_held, None])[:, 0]
    test_SF = sigmoid(arrays["test_logits_SFVK"][..., 0].astype(float)).mean(axis=2)
    return {
        "rows": len(target_S),
        "test_rows": len(test_SF),
        "test_positives": int(arrays["test_target_S"].sum()),
        "method": choice.calibrator.method,
        "log_losses": choice.log_losses[0],
        "out of fold, uncalibrated": figures(target_S, prob_S),
        "out of fold, nested": figures(target_S, nested),
        **judged(choice.calibrator, arrays["test_target_S"].astype(float), test_SF),
    }


def judged(calibrator: Calibrator, target_S: Array, probs_SF: Array) -> dict[str, dict[str, float]]:
    calibrated_SF = calibrator.apply(probs_SF[..., None])[..., 0]
    pooled_S = sigmoid(log_odds(calibrated_SF).mean(axis=1))
    ways = {
        "one network, uncalibrated": probs_SF[:, 0],
        "one network, calibrated": calibrated_SF[:, 0],
        "mean, uncalibrated": probs_SF.mean(axis=1),
        "(a) mean of calibrated probabilities": calibrated_SF.mean(axis=1),
        "(b) sigmoid of the mean calibrated log-odds": pooled_S,
        "(c) calibrated mean of probabilities": calibrator.apply(probs_SF.mean(axis=1)[:, None])[:, 0],
    }
    return {name: figures(target_S, prob_S) for name, prob_S in ways.items()}


def figures(target_S: Array, prob_S: Array) -> dict[str, float]:
    model = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(log_odds(prob_S)[:, None], target_S)
    order_S = np.argsort(prob_S, kind="stable")
    bins = [(len(part), abs(target_S[part].mean() - prob_S[part].mean())) for part in np.array_split(order_S, NUM_BINS)]
    return {
        "slope": float(model.coef_[0, 0]),
        "ece": float(sum(size * gap for size, gap in bins) / len(prob_S)),
        "observed_expected": float(target_S.sum() / prob_S.sum()),
        "log_loss": log_loss(target_S[:, None], prob_S[:, None], False),
        "auc": roc_auc(target_S, prob_S),
    }


def mean_of(draws: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        way: {name: round(float(np.mean([draw[way][name] for draw in draws])), 4) for name in draws[0][way]}
        for way in draws[0]
    }


def sigmoid(scores: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-scores)))


if __name__ == "__main__":
    main()
