"""Training: all that changes while one network is trained, as one thing that can be kept and brought back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lesion.engine.checkpoint import State
from lesion.engine.stopping import BestEpoch


@dataclass
class Training:
    """A network between two epochs. `history` has a row of numbers an epoch, so its length is the next epoch."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: ReduceLROnPlateau
    best: BestEpoch
    history: list[dict[str, Any]] = field(default_factory=list)

    def state(self) -> State:
        """What `restore` makes the same training of, bit for bit."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.weights.items()}
        for number, moments in optimizer["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        values = {
            "history": self.history,
            "param_groups": optimizer["param_groups"],
            "scheduler": self.scheduler.state_dict(),  # type: ignore[no-untyped-call]
            "best": {"epoch": self.best.epoch, "value": self.best.value, "epochs_since": self.best.epochs_since},
        }
        return State(tensors, values)

    def restore(self, state: State) -> None:
        """Puts a fresh training of the same settings into `state`."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in state.below("optimizer").items():
            number, _, moment = name.partition(".")
            # Laid out as its parameter is: torch's fused optimisers walk through both as they lie in memory.
            like = parameters[int(number)] if tensor.shape == parameters[int(number)].shape else tensor
            moments.setdefault(int(number), {})[moment] = torch.empty_like(like).copy_(tensor)
        self.network.load_state_dict(state.below("network"))
        self.optimizer.load_state_dict({"state": moments, "param_groups": state.values["param_groups"]})
        self.scheduler.load_state_dict(state.values["scheduler"])  # type: ignore[no-untyped-call]
        self.best.epoch = state.values["best"]["epoch"]
        self.best.value = state.values["best"]["value"]
        self.best.epochs_since = state.values["best"]["epochs_since"]
        self.best.weights = state.below("best")
        self.history = state.values["history"]
