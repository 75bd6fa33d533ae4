"""Optim: the optimiser and the rule by which its learning rate falls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch.nn import Parameter
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau


def create_optimizer(parameters: Iterable[Parameter], *, learning_rate: float, weight_decay: float) -> Adam:
    """Adam (Kingma & Ba 2015) with its usual moments, in one fused pass over the parameters."""
    return Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)


def create_scheduler(
    optimizer: Adam, *, better: Literal["higher", "lower"], factor: float, patience: int
) -> ReduceLROnPlateau:
    """Multiplies the learning rate by `factor` after more than `patience` epochs without any better value."""
    mode: Literal["min", "max"] = "max" if better == "higher" else "min"
    return ReduceLROnPlateau(optimizer, mode=mode, factor=factor, patience=patience, threshold=0.0)


def learning_rate(optimizer: Adam) -> float:
    return float(optimizer.param_groups[0]["lr"])
