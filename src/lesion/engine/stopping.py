"""Stopping: the best epoch so far, and when to stop waiting for a better one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn


@dataclass
class BestEpoch:
    """Keeps a copy of the best weights in memory. Fed one value an epoch; a NaN is never better."""

    better: Literal["higher", "lower"]
    patience: int
    epoch: int = -1
    value: float = float("nan")
    epochs_since: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, epoch: int, value: float, network: nn.Module) -> None:
        is_better = value > self.value if self.better == "higher" else value < self.value
        is_first_number = math.isnan(self.value) and not math.isnan(value)  # nothing compares with the NaN before it
        if not self.weights or is_better or is_first_number:
            self.epoch, self.value, self.epochs_since = epoch, value, 0
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        else:
            self.epochs_since += 1

    @property
    def should_stop(self) -> bool:
        return self.epochs_since >= self.patience
