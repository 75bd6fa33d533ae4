"""Cost: what training the networks will take of memory and time, stage by stage, before it starts.

A step of each stage is run on torch's `meta` device, which knows shapes and no numbers: it gives what a step keeps in
memory and how many operations it computes. How fast this machine computes is measured on one convolution.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lesion.algorithms.anomaly.gan.growth import Stage, stages_of
from lesion.algorithms.anomaly.gan.training import GanTraining
from lesion.environment import usable_memory_bytes
from lesion.errors import UserError

COPIES = 5  # of each weight: itself, gradient, two moments, and one for the average or the good state
ROOM = 0.8  # share of the memory that may be planned for: the rest is for pictures and for the library
# Of the probe's speed: small convolutions, norms and the optimiser reach less (measured: docs/decisions/0062).
EFFICIENCY = 0.7


@dataclass(frozen=True)
class StageCost:
    """One step of a stage: what it holds in memory, and its floating-point operations."""

    stage: Stage
    num_bytes: int
    operations: float

    def seconds(self, pictures: int, speed: float) -> float:
        """What so many pictures take at a speed in operations a second."""
        return self.operations / self.stage.batch_size * pictures / speed


@functools.cache
def stage_costs(filters: tuple[int, ...]) -> list[StageCost]:
    """The cost of each stage of networks with these filters. Takes a few seconds, and no memory. While a block fades in
    it costs what it costs after."""
    meta = torch.device("meta")
    with meta:
        training = GanTraining(filters, pictures=1, learning_rate=1e-3, reconstruction_weight=1.0, seed=0, device=meta)
    weights = sum(parameter.nbytes for network in training.networks.values() for parameter in network.parameters())
    cost_of: dict[int, StageCost] = {}
    stages = stages_of(len(filters))
    for stage in [stage for stage in stages if not stage.is_fading]:
        images_NHWC = torch.empty(stage.batch_size, stage.side_px, stage.side_px, 3, dtype=torch.uint8, device=meta)
        with _Operations() as counter, _counting_saved() as saved:
            training.learn(stage, images_NHWC)
        cost_of[stage.block] = StageCost(stage, COPIES * weights + sum(saved), counter.num)
    return [cost_of[stage.block] for stage in stages]


def speed_of(device: torch.device, num_filters: int) -> float:
    """Operations a second that training can count on here: EFFICIENCY of those of a convolution with so many filters,
    the last block's: it takes most of the time, and 4 filters reach a tenth of what 64 do."""
    layer = nn.Conv2d(num_filters, num_filters, 3, padding=1, device=device).requires_grad_(False)
    images_NCHW = torch.zeros(4, num_filters, 128, 128, device=device)
    operations = 2 * num_filters**2 * 9 * 4 * 128 * 128
    taken = []
    for _ in range(4):  # the first ones are slow
        started = time.perf_counter()
        _ = float(layer(images_NCHW)[0, 0, 0, 0])  # waits for a GPU
        taken.append(time.perf_counter() - started)
    return EFFICIENCY * operations / min(taken)


def refuse_too_large(costs: Sequence[StageCost], *, is_gpu: bool) -> None:
    """Raises UserError of kind `memory` for networks whose largest step does not fit into this machine."""
    free = torch.cuda.get_device_properties(0).total_memory if is_gpu else usable_memory_bytes()
    most = max(costs, key=lambda cost: cost.num_bytes)
    if most.num_bytes > ROOM * free:
        raise UserError(
            f"the progressive GAN needs about {in_gib(most.num_bytes)} in its stage {most.stage}, and this "
            f"{'GPU' if is_gpu else 'machine'} has {in_gib(free)}",
            where="hyperparameters image_size and filter_divisor",
            do="Halve image_size, double filter_divisor, or choose a larger instance.",
            kind="memory",
        )


def in_gib(num_bytes: float) -> str:
    """Bytes in words: "0.4 GiB"."""
    return f"{num_bytes / 2**30:.1f} GiB"


class _Operations(TorchDispatchMode):
    """Counts the floating-point operations of convolutions and products, by torch's own formulas. (Its FlopCounterMode
    also names modules, for which it asks more of autograd than a second derivative gives.)"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        if (formula := flop_registry.get(func._overloadpacket)) is not None:
            self.num += formula(*args, **kwargs, out_val=found)
        return found


@contextmanager
def _counting_saved() -> Iterator[list[int]]:
    """Inside, the bytes of each tensor that is kept for gradients, each storage once."""
    found: list[int] = []
    known: dict[int, Tensor] = {}  # kept, so that no number is used again

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            known[storage._cdata] = tensor
            found.append(storage.nbytes())
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        yield found
