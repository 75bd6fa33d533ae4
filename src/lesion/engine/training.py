"""Training: all that changes while one network is trained, as one thing that can be kept and brought back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from lesion.engine.checkpoint import State
from lesion.engine.schedule import Schedule
from lesion.engine.stopping import BestEpoch


@dataclass
class EpochSums:
    """How far an epoch has come: steps, samples, and the sum of their losses, which stays on the device."""

    num_steps: int = 0
    num_samples: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))


@dataclass
class Training:
    """A network between two steps. `history` has a row of numbers an epoch, so its length is the one in work."""

    network: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    best: BestEpoch
    ema: ModelEmaV3 | None = None
    num_updates: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: EpochSums = field(default_factory=EpochSums)

    @property
    def judged(self) -> nn.Module:
        """The network that is judged and kept: the average of the weights, where one is held."""
        return self.network if self.ema is None else self.ema.module

    def after_step(self) -> None:
        """Counts the step, and takes it into the average."""
        self.num_updates += 1
        if self.ema is not None:
            self.ema.update(self.network, step=self.num_updates)

    def state(self) -> State:
        """What `restore` makes the same training of, bit for bit."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.weights.items()}
        for number, moments in optimizer["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        tensors["loss_sum"] = self.sums.loss
        values = {
            "history": self.history,
            "num_updates": self.num_updates,
            "num_steps": self.sums.num_steps,
            "num_samples": self.sums.num_samples,
            "param_groups": optimizer["param_groups"],
            "schedule": self.schedule.state_dict(),
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
        if self.ema is not None:
            self.ema.module.load_state_dict(state.below("ema"))
        self.optimizer.load_state_dict({"state": moments, "param_groups": state.values["param_groups"]})
        self.schedule.load_state_dict(state.values["schedule"])
        self.best.epoch = state.values["best"]["epoch"]
        self.best.value = state.values["best"]["value"]
        self.best.epochs_since = state.values["best"]["epochs_since"]
        self.best.weights = state.below("best")
        self.history = state.values["history"]
        self.num_updates = state.values["num_updates"]
        self.sums = EpochSums(state.values["num_steps"], state.values["num_samples"], state.tensors["loss_sum"])
