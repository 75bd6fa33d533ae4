"""Ranks: the processes that train one network together, each on its slice of every batch. Alone, all of it is nothing.

What must be equal is made equal here: gradients are summed, predictions are gathered, a wish to stop is agreed on, and
the first rank's statistics and states are everyone's. Every rank must call each of these in the same order.
"""

# S samples · V views · K outputs

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from lesion.engine.checkpoint import Checkpoints, State
from lesion.errors import PlatformError
from lesion.stop import Stop

log = logging.getLogger(__name__)

Indices = NDArray[np.intp]

STEP_LIMIT = timedelta(minutes=10)  # NCCL's wait for a rank that has begun the same step
STOP_SPREAD_S = 5  # a job that is stopped is stopped everywhere, in some processes a moment sooner


class Ranks:
    """One of `size` ranks. `group` joins their CPUs (gloo), `gpu_group` their GPUs (NCCL) where each has its own."""

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None, gpu_group: Any = None) -> None:
        self.rank, self.size = rank, size
        self._group, self._gpu_group = group, gpu_group

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def slice(self, rows_N: Indices) -> Indices:
        """This rank's part of the rows, contiguous; the ranks' parts differ by one row at most."""
        return np.array_split(rows_N, self.size)[self.rank]

    def total(self, count: int) -> int:
        """The sum of everybody's counts."""
        counts = torch.tensor(count)
        self._sum(counts)
        return int(counts)

    def sum_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Makes every gradient the sum of the ranks'; the sum of their losses (float32) comes with it.

        One flat buffer and not DistributedDataParallel: that takes means, which are right for equal slices only, and
        the loss and its agreement would need a second message.
        """
        if self.size == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.float().reshape(-1) for gradient in gradients] + [loss.detach().float().reshape(1)])
        self._sum(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view(gradient.shape))
            start += gradient.numel()
        return flat[start]

    def share_statistics(self, network: nn.Module) -> None:
        """Gives everybody the first rank's buffers: BatchNorm's running statistics, which are of each rank's slices."""
        if self.size > 1:
            for buffer in network.buffers():
                self._broadcast(buffer)

    def gather(self, index_S: Indices, logits_VSK: Tensor) -> tuple[Indices, Tensor]:
        """Everybody's rows and logits, one rank's after another's. V and K are the same on all; S may be 0 on some."""
        if self.size == 1:
            return index_S, logits_VSK
        index_S = self._concatenate(torch.from_numpy(index_S), dim=0).numpy()
        return index_S, self._concatenate(logits_VSK, dim=1)

    def any(self, is_so: bool) -> bool:
        """Whether it is so on any rank."""
        return is_so if self.size == 1 else self.total(int(is_so)) > 0

    def from_first(self, content: bytes | None) -> bytes | None:
        """The first rank's `content`; the others have none."""
        length = torch.tensor(-1 if content is None else len(content))
        self._broadcast(length)
        if length < 0:
            return None
        received = torch.empty(int(length), dtype=torch.uint8)
        if content is not None:
            received = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._broadcast(received)
        return received.numpy().tobytes()

    def _concatenate(self, part: Tensor, *, dim: int) -> Tensor:
        """The ranks' tensors one after another along `dim`, the only dimension in which they may differ."""
        shapes = torch.zeros(self.size, part.dim(), dtype=torch.int64)
        shapes[self.rank] = torch.tensor(part.shape)
        self._sum(shapes)
        numbers = shapes.prod(dim=1).tolist()
        padded = torch.zeros(max(numbers), dtype=part.dtype)  # all_gather wants them of one size
        padded[: part.numel()] = part.reshape(-1)
        gathered = [torch.empty_like(padded) for _ in numbers]
        with _as_lost():
            dist.all_gather(gathered, padded, group=self._group)
        parts = [
            flat[:number].view(shape)
            for flat, number, shape in zip(gathered, numbers, shapes.tolist(), strict=True)
            if number
        ]
        return torch.cat(parts, dim=dim)

    def _sum(self, tensor: Tensor) -> None:
        if self.size > 1:
            with _as_lost():
                dist.all_reduce(tensor, group=self._group_of(tensor))

    def _broadcast(self, tensor: Tensor) -> None:
        with _as_lost():
            dist.broadcast(tensor, src=0, group=self._group_of(tensor))

    def _group_of(self, tensor: Tensor) -> Any:
        return self._gpu_group if tensor.is_cuda and self._gpu_group is not None else self._group


class RankCheckpoints(Checkpoints):
    """Checkpoints of ranks that train together: the first rank's states are everyone's, and all stop after one step."""

    def __init__(
        self, folder: Path, fingerprint: Mapping[str, Any], stop: Stop, *, ranks: Ranks, **options: Any
    ) -> None:
        self._ranks, self._agreed = ranks, _AgreedStop(stop, ranks)
        # With another number of ranks BatchNorm and dropout see other slices, so the weights would be others.
        stop = self._agreed if ranks.size > 1 else stop
        super().__init__(folder, {**fingerprint, "ranks": ranks.size}, stop, **options)

    def save(self, name: str, state: State) -> None:
        if self._ranks.is_first:
            super().save(name, state)

    def after_step(self, name: str, state: Callable[[], State]) -> None:
        self._agreed.ask()
        if self._ranks.is_first:
            super().after_step(name, state)
        else:
            self._agreed.check()

    def load(self, name: str) -> State | None:
        if self._ranks.size == 1:
            return super().load(name)
        state = self.load_own(name)
        content = self._ranks.from_first(None if state is None else state.to_bytes())
        return None if content is None else State.from_bytes(content)

    def load_own(self, name: str) -> State | None:
        """As `load`, of this process alone: the others may have ended."""
        return super().load(name) if self._ranks.is_first else None

    def remove(self, name: str) -> None:
        if self._ranks.is_first:
            super().remove(name)


class _AgreedStop(Stop):
    """The wish that the job ends, taken up by all ranks after the same step, whichever heard of it first."""

    def __init__(self, own: Stop, ranks: Ranks) -> None:
        super().__init__()
        self._own, self._ranks = own, ranks

    def ask(self) -> None:
        self._is_requested = self._ranks.any(self._own.is_requested)

    def check(self) -> None:
        if not self.is_requested:
            return
        self._own.wait(STOP_SPREAD_S)
        self._own.check()
        raise PlatformError(
            "another process of the job was stopped", do="Start the job again: it goes on from here.", kind="peer_lost"
        )


def join_ranks(rank: int, size: int, group: Any, device: torch.device, *, per_host: int) -> Ranks:
    """The ranks of a job of `size` processes, `per_host` on each host, whose `group` is gloo's."""
    ranks = Ranks(rank, size, group)
    if device.type != "cuda" or ranks.any(torch.cuda.device_count() < per_host):
        return ranks  # NCCL knows one rank a GPU; gloo carries what several share
    return Ranks(rank, size, group, dist.new_group(backend="nccl", timeout=STEP_LIMIT))


@contextmanager
def _as_lost() -> Iterator[None]:
    """Makes gloo's and NCCL's word for a closed connection ours."""
    try:
        yield
    except RuntimeError as error:
        log.error("a message among the processes was not answered: %s", str(error).splitlines()[0])
        raise PlatformError(
            "another process of the job ended before it was done", do="Its log says why.", kind="peer_lost"
        ) from error
