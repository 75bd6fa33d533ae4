"""Training: all that changes while one network is trained, as one thing that can be kept and brought back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lesion.engine.checkpoint import State
from lesion.engine.loop import EpochSums
from lesion.engine.stopping import BestEpoch


@dataclass
class Training:
    """A network between two steps. `history` has a row of numbers an epoch, so its length is the one in work."""

    network: nn.Module
    optimizer: Optimizer
    scheduler: ReduceLROnPlateau
    best: BestEpoch
    history: list[dict[str, Any]] = field(default_factory=list)
    sums: EpochSums = field(default_factory=EpochSums)
    random_state: dict[str, Tensor] = field(default_factory=dict)  # of torch in the middle of an epoch, by device

    def state(self) -> State:
        """What `restore` makes the same training of, bit for bit."""
        optimizer = self.optimizer.state_dict()
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.weights.items()}
        for number, moments in optimizer["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        if self.sums.num_steps:
            tensors |= {f"random.{device}": state for device, state in random_state().items()}
        tensors["loss_sum"] = self.sums.loss
        values = {
            "history": self.history,
            "num_steps": self.sums.num_steps,
            "num_samples": self.sums.num_samples,
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
        self.sums = EpochSums(state.values["num_steps"], state.values["num_samples"], state.tensors["loss_sum"])
        self.random_state = state.below("random")


def random_state() -> dict[str, Tensor]:
    """Where torch's own streams of random numbers (dropout) are now."""
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    if "cpu" in state:
        torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
