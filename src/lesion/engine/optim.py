"""Optim: the optimiser, and the learning rate of each part of a network at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

BACKBONE_LAST = "backbone_last"  # the parameter group with the backbone's last layer

OPTIMIZERS: dict[str, type[Adam]] = {"adam": Adam, "adamw": AdamW}


def create_optimizer(
    kind: Literal["adam", "adamw"],
    backbone: nn.Module,
    rest: list[nn.Parameter],
    *,
    learning_rate: float,
    weight_decay: float,
    rest_factor: float,
    layer_decay: float,
) -> Optimizer:
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019) with the usual moments, in one fused pass.

    The parameters in `rest`, which are not the backbone's, learn `rest_factor` times as fast. With `layer_decay` below
    1 (layer-wise learning rate decay) each of the backbone's layers learns at this times the rate of the layer after it
    (Clark et al. 2020, section 3.2; timm's layers).
    """
    layers: list[dict[str, Any]] = [{"params": list(backbone.parameters()), "lr_scale": 1.0}]
    if layer_decay < 1:
        layers = param_groups_layer_decay(
            backbone, weight_decay, layer_decay=layer_decay, weight_decay_exclude_1d=False, verbose=False
        )
    groups = [
        {"name": "backbone", "params": layer["params"], "lr": learning_rate * layer["lr_scale"]} for layer in layers
    ]
    # Found by name, since its place in the list depends on layer_decay.
    max(groups, key=lambda group: group["lr"])["name"] = BACKBONE_LAST
    groups.append({"name": "rest", "params": rest, "lr": learning_rate * rest_factor})
    return OPTIMIZERS[kind](groups, lr=learning_rate, weight_decay=weight_decay, fused=True)


class Schedule:
    """Learning rates: a linear warm-up, then a decay on plateaus of the metric (`plateau`) or half a cosine (`cosine`).

    Each group's "peak" is the rate that it would have without either; a plateau multiplies it by `factor`.
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
        self._plateau = ReduceLROnPlateau(
            optimizer, mode=mode, factor=factor, patience=patience, threshold=0.0
        )  # any improvement counts, as in early stopping
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
        self._first_peaks = [group["lr"] for group in optimizer.param_groups]

    def before_step(self, epochs_done: float) -> None:
        """Sets the rates of the next step. `epochs_done` counts steps as parts of their epoch."""
        share = self.share(epochs_done)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share

    def share(self, epochs_done: float) -> float:
        """A rate as a share of its peak: linear over the warm-up, then 1 or a cosine down to 0."""
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

    def follow(self, factor: float) -> None:
        """Sets the peaks to `factor` times the first ones: the plateaus are those of other trainings."""
        for group, first in zip(self._optimizer.param_groups, self._first_peaks, strict=True):
            group["peak"] = first * factor

    @property
    def learning_rate(self) -> float:
        """The rate at which the backbone's last layer learns now, in an optimiser of `create_optimizer`."""
        return float(next(group["lr"] for group in self._optimizer.param_groups if group["name"] == BACKBONE_LAST))

    def state_dict(self) -> dict[str, Any]:
        return self._plateau.state_dict()  # type: ignore[no-untyped-call, no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._plateau.load_state_dict(state)  # type: ignore[no-untyped-call]


def plateau_factors(
    values: Sequence[float], *, better: Literal["higher", "lower"], factor: float, patience: int
) -> list[float]:
    """By what the plateau schedule had multiplied the rates in each epoch of a training, of its metric after each."""
    optimizer = Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = Schedule(
        optimizer,
        kind="plateau",
        num_epochs=len(values),
        warmup_epochs=0.0,
        better=better,
        factor=factor,
        patience=patience,
    )
    factors = []
    for value in values:
        factors.append(float(optimizer.param_groups[0]["peak"]))
        schedule.after_epoch(value)
    return factors
