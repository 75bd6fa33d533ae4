"""Optimizer state: an optimiser's moments as tensors by name, for a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments of each parameter, as `NUMBER.NAME`. The rates are in its state_dict's `param_groups`."""
    moments_of = optimizer.state_dict()["state"]
    return {f"{number}.{name}": tensor for number, moments in moments_of.items() for name, tensor in moments.items()}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], param_groups: list[dict[str, Any]]) -> None:
    """Puts an optimiser of the same parameters into the state that `optimizer_tensors` gave."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        number, _, moment = name.partition(".")
        # Laid out as its parameter is: torch's fused optimisers walk through both as they lie in memory.
        like = parameters[int(number)] if tensor.shape == parameters[int(number)].shape else tensor
        moments.setdefault(int(number), {})[moment] = torch.empty_like(like).copy_(tensor)
    optimizer.load_state_dict({"state": moments, "param_groups": param_groups})
