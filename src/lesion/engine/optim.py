"""Optim: the optimiser, and which part of a network learns how fast."""

from __future__ import annotations

from typing import Any, Literal

from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

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

    All that is not of the backbone learns `rest_factor` times as fast. With `layer_decay` below 1 each of the
    backbone's layers learns that much slower than the one behind it (Clark et al. 2020, section 3.2; timm's layers).
    """
    groups: list[dict[str, Any]] = [{"params": list(backbone.parameters()), "lr_scale": 1.0}]
    if layer_decay < 1:
        groups = param_groups_layer_decay(
            backbone, weight_decay, layer_decay=layer_decay, weight_decay_exclude_1d=False, verbose=False
        )
    groups = [{"params": group["params"], "lr": learning_rate * group["lr_scale"]} for group in groups]
    groups.append({"params": rest, "lr": learning_rate * rest_factor})
    return OPTIMIZERS[kind](groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
