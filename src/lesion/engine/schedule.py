"""Schedule: how fast each part of a network learns at each step."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


class Schedule:
    """Learning rates that rise over the first epochs, and then fall on plateaus of the metric or along half a cosine.

    Each group's peak is the rate that it would have without either; plateaus lower the peaks.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        kind: Literal["plateau", "cosine"],
        num_epochs: int,
        warmup_epochs: float,
        better: Literal["higher", "lower"],
        factor: float,
        patience: int,
    ) -> None:
        self._optimizer, self._kind = optimizer, kind
        self._num_epochs, self._warmup_epochs = num_epochs, warmup_epochs
        mode: Literal["min", "max"] = "max" if better == "higher" else "min"
        self._plateau = ReduceLROnPlateau(optimizer, mode=mode, factor=factor, patience=patience, threshold=0.0)
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]

    def before_step(self, epochs_done: float) -> None:
        """Sets the rates of the next step. `epochs_done` counts steps as parts of their epoch."""
        share = self.share(epochs_done)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def share(self, epochs_done: float) -> float:
        """The part of its peak that a rate has: linear over the warm-up, then 1 or a cosine down to 0."""
        if epochs_done < self._warmup_epochs:
            return (epochs_done + 1e-3) / (self._warmup_epochs + 1e-3)  # the first step moves a little, too
        if self._kind == "plateau":
            return 1.0
        progress = (epochs_done - self._warmup_epochs) / max(self._num_epochs - self._warmup_epochs, 1e-9)
        return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

    def after_epoch(self, value: float) -> None:
        """Takes note of the metric, and lowers the peaks after more than `patience` epochs without a better one."""
        if self._kind != "plateau":
            return
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"]
        self._plateau.step(value)
        for group in self._optimizer.param_groups:
            group["peak"] = group["lr"]

    @property
    def learning_rate(self) -> float:
        """The rate at which the backbone's last layer learns now."""
        return float(self._optimizer.param_groups[-2]["lr"])

    def state_dict(self) -> dict[str, Any]:
        return self._plateau.state_dict()  # type: ignore[no-untyped-call, no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plateau.load_state_dict(state)  # type: ignore[no-untyped-call]
