"""Training: all that changes while one network is trained, as one object that can be saved and restored.

Network, optimiser, schedule, EMA model, early stopping, history, and how far the epoch has come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim import Optimizer

from lesion.engine.checkpoint import State
from lesion.engine.optim import Schedule
from lesion.engine.optimizer_state import optimizer_tensors, restore_optimizer


@dataclass
class EpochSums:
    """How far an epoch has come: steps, samples, and the sum of their losses, which stays on the device."""

    num_steps: int = 0
    num_samples: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))  # in fp32 a long sum drifts


@dataclass
class EarlyStopping:
    """The best epoch so far, with a copy of its weights in memory; whether to stop waiting for a better one.

    Given one value of the metric an epoch; a NaN is never better. Stops after `patience` epochs without a better one.
    """

    better: Literal["higher", "lower"]
    patience: int
    best_epoch: int = -1
    best_value: float = float("nan")
    epochs_since_best: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, epoch: int, value: float, network: nn.Module) -> None:
        is_better = value > self.best_value if self.better == "higher" else value < self.best_value
        is_first_number = math.isnan(self.best_value) and not math.isnan(value)  # every comparison with NaN is false
        if not self.best_weights or is_better or is_first_number:
            self.best_epoch, self.best_value, self.epochs_since_best = epoch, value, 0
            # On the CPU: a second copy of the network would take the GPU's memory from the batches.
            self.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        else:
            self.epochs_since_best += 1

    @property
    def should_stop(self) -> bool:
        return self.epochs_since_best >= self.patience


@dataclass
class Training:
    """A network between two steps. `history` has a row of numbers an epoch, so its length is the one in work."""

    network: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    early_stopping: EarlyStopping
    ema: ModelEmaV3 | None = None
    num_updates: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    held_out_logits: list[Tensor] = field(default_factory=list)  # those of each evaluated network that are kept
    sums: EpochSums = field(default_factory=EpochSums)

    @property
    def eval_network(self) -> nn.Module:
        """The network that is evaluated and kept: the EMA model (exponential moving average), where there is one."""
        return self.network if self.ema is None else self.ema.module

    def after_step(self) -> None:
        """Counts the step, and updates the EMA model."""
        self.num_updates += 1
        if self.ema is not None:
            self.ema.update(self.network, step=self.num_updates)

    def state(self) -> State:
        """The state from which `restore` continues bit for bit."""
        stopping = self.early_stopping
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.ema is not None:
            tensors |= {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in stopping.best_weights.items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        tensors |= {f"held_out.{number}": logits for number, logits in enumerate(self.held_out_logits)}
        tensors["loss_sum"] = self.sums.loss
        values = {
            "history": self.history,
            "num_updates": self.num_updates,
            "num_steps": self.sums.num_steps,
            "num_samples": self.sums.num_samples,
            "param_groups": self.optimizer.state_dict()["param_groups"],
            "schedule": self.schedule.state_dict(),
            "best_epoch": stopping.best_epoch,
            "best_value": stopping.best_value,
            "epochs_since_best": stopping.epochs_since_best,
        }
        return State(tensors, values)

    def restore(self, state: State) -> None:
        """Puts a fresh training of the same settings into `state`."""
        self.network.load_state_dict(state.below("network"))
        if self.ema is not None:
            self.ema.module.load_state_dict(state.below("ema"))
        restore_optimizer(self.optimizer, state.below("optimizer"), state.values["param_groups"])
        self.schedule.load_state_dict(state.values["schedule"])
        self.early_stopping.best_epoch = state.values["best_epoch"]
        self.early_stopping.best_value = state.values["best_value"]
        self.early_stopping.epochs_since_best = state.values["epochs_since_best"]
        self.early_stopping.best_weights = state.below("best")
        self.history = state.values["history"]
        held_out = state.below("held_out")
        self.held_out_logits = [held_out[str(number)] for number in range(len(held_out))]
        self.num_updates = state.values["num_updates"]
        self.sums = EpochSums(state.values["num_steps"], state.values["num_samples"], state.tensors["loss_sum"])
