"""Metric names: which metrics there are, and which way is better. Opens without NumPy, as hyperparameters do."""

from __future__ import annotations

from typing import Literal

BETTER: dict[str, Literal["higher", "lower"]] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "accuracy": "higher",
    "balanced_accuracy": "higher",
}
