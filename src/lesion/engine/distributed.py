"""Distributed: the processes of one job, and those of them that train one network together (data parallel).

The leader gathers the results of all processes of a job, and if one is lost the others end. In a data-parallel group
each process has its slice of every batch; this file keeps them equal: gradients are summed, predictions are gathered,
and the first process's statistics are everyone's. All processes of the group must call these in the same order. Over
torch.distributed (gloo, or NCCL where each process has its own GPU); with one process every method is a no-op.
"""

# K outputs · S samples · V views

from __future__ import annotations

import _thread
import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from lesion.errors import PlatformError
from lesion.logs import leave_to_first, scoped_logger
from lesion.stop import Stop

log = scoped_logger(__name__, "process")

Item = TypeVar("Item")
Indices = NDArray[np.intp]

PORT = 29500
JOIN_LIMIT = timedelta(minutes=10)  # hosts start, and their names resolve, minutes apart
LONGEST_JOB = timedelta(days=28)
STEP_LIMIT = timedelta(minutes=10)  # NCCL's wait for a process that has begun the same step
LEADER = 0
INTERRUPT = signal.SIGUSR1  # of a thread to the main one; SIGINT is a user's wish to stop


class JobProcesses:
    """All processes of the job, as one of them sees them: it is `names[rank]`, and the first of `names` is the leader.

    `names` are in the same order in every process.
    """

    def __init__(self, names: Sequence[str], rank: int, stop: Stop) -> None:
        self.names, self.rank, self._stop = list(names), rank, stop
        # What each peer sends, once: its results to the leader, and from the leader the word that the job is done. A
        # thread waits for each of them, so that the death of a peer is noticed in the middle of training too.
        peers = [LEADER] if rank else range(1, len(names))
        self._from: dict[int, Future[list[bytes]]] = {peer: Future() for peer in peers if len(names) > 1}
        self._lost: list[int] = []
        self._connected: Future[None] = Future()
        # For calls that all make together: on torch's default group our threads wait all the time.
        self._group: dist.ProcessGroup | None = None

    @property
    def is_leader(self) -> bool:
        return self.rank == LEADER

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of the work: every n-th item, of n processes."""
        return list(items[self.rank :: len(self.names)])

    def as_group(self) -> DataParallelGroup:
        """All of them as one data-parallel group, over gloo."""
        self.wait_for_all()
        return DataParallelGroup(self.rank, len(self.names), self._group)

    def gather(self, contents: Sequence[bytes]) -> list[bytes]:
        """The `contents` of all processes, in their order, on the leader, once all have called this; elsewhere []."""
        self.wait_for_all()
        if self.is_leader:
            return [*contents, *(content for future in self._from.values() for content in future.result())]
        self._send(contents, LEADER)
        return []

    def minimum(self, number: int) -> int:
        """The smallest of all processes' numbers. All must call this."""
        self.wait_for_all()
        numbers = torch.tensor(number)
        if self._group is not None:
            dist.all_reduce(numbers, dist.ReduceOp.MIN, group=self._group)
        return int(numbers)

    def finish(self) -> None:
        """Returns once the leader has called this: nobody ends before the job's results are written."""
        self.wait_for_all()
        for peer, future in self._from.items():
            if self.is_leader:
                self._send([], peer)
            else:
                future.result()

    def connect(self, make_store: Callable[[], Any]) -> None:
        """Connects all by torch.distributed and begins to listen to them; `wait_for_all` raises what went wrong."""
        try:
            dist.init_process_group(
                "gloo", store=make_store(), rank=self.rank, world_size=len(self.names), timeout=LONGEST_JOB
            )
            self._group = dist.new_group(backend="gloo", timeout=LONGEST_JOB)
            for peer in self._from:
                threading.Thread(target=self._receive, args=(peer,), daemon=True).start()
        except BaseException as error:
            self._connected.set_exception(error)
        else:
            self._connected.set_result(None)

    def wait_for_all(self) -> None:
        """Returns once all processes are connected. Raises PlatformError if they do not find each other."""
        if len(self.names) == 1:
            return
        try:
            self._connected.result()
        except RuntimeError as error:
            raise PlatformError(
                f"the {len(self.names)} processes of the job did not find each other: {str(error).splitlines()[0]}",
                where=self.names[LEADER],
                do="See the other processes' logs; the security group of several hosts must let them reach each other.",
            ) from error

    def lost(self) -> PlatformError | None:
        """The error to raise where another process ended too early; None where none did."""
        if not self._lost:
            return None
        name = self.names[self._lost[0]]
        kind = "process" if "/" in name else "host"
        return PlatformError(f"{kind} {name} ended before the job was done", do="Its log says why.", kind="peer_lost")

    def _send(self, contents: Sequence[bytes], peer: int) -> None:
        try:
            dist.send(torch.tensor(len(contents)), peer)
            for content in contents:
                dist.send(torch.tensor(len(content)), peer)
                dist.send(torch.frombuffer(bytearray(content), dtype=torch.uint8), peer)
        except RuntimeError:  # so gloo reports a closed connection
            self._lost.append(peer)
            raise

    def _receive(self, peer: int) -> None:
        try:
            contents = [_receive_bytes(peer) for _ in range(_receive_number(peer))]
        except RuntimeError as error:
            self._lost.append(peer)
            self._from[peer].set_exception(error)
            if not self._stop.is_requested:  # else this process was asked to stop too, and may be saving its artifact
                _thread.interrupt_main(INTERRUPT)
        else:
            self._from[peer].set_result(contents)


@contextmanager
def join_job_processes(
    names: Sequence[str], rank: int, stop: Stop, *, address: str, shared_dir: Path | None = None
) -> Iterator[JobProcesses]:
    """The job's processes. Raises PlatformError if they do not come, or if another one ends too early.

    They meet at the first host's `address`, or, where all are on one host, in a file below `shared_dir`: then no port
    is taken that another job on the machine might want, and a process works on while the others start.
    """
    processes = JobProcesses(names, rank, stop)
    if len(names) == 1:
        yield processes
        return
    wait = "" if shared_dir else ": waiting for all"
    log.info("name=%s rank=%d processes=%d%s", names[rank], rank, len(names), wait)

    def make_store() -> Any:
        if shared_dir is not None:
            return dist.FileStore(str(shared_dir / "peers"), len(names))  # type: ignore[attr-defined]
        return dist.TCPStore(  # type: ignore[attr-defined]
            address, PORT, len(names), is_master=processes.is_leader, timeout=JOIN_LIMIT
        )

    before = signal.signal(INTERRUPT, signal.default_int_handler)  # it raises a KeyboardInterrupt
    try:
        threading.Thread(target=processes.connect, args=(make_store,), daemon=True).start()
        if shared_dir is None:  # hosts that do not find each other are told before the data is checked
            processes.wait_for_all()
        yield processes
    except (KeyboardInterrupt, RuntimeError, PlatformError) as error:
        is_secondary = error.kind == "peer_lost" if isinstance(error, PlatformError) else processes.lost() is not None
        if not is_secondary:
            raise
        stop.check_soon()
        raise (processes.lost() or error) from error
    finally:
        signal.signal(INTERRUPT, before)
    processes.wait_for_all()  # one without a fold comes here at once
    dist.destroy_process_group()


class DataParallelGroup:
    """The processes that train one network together, as the one of `rank` sees them; `size` are in the group.

    `group` connects their CPUs (gloo), `gpu_group` their GPUs (NCCL) where each process has its own.
    """

    def __init__(self, rank: int = 0, size: int = 1, group: Any = None, gpu_group: Any = None) -> None:
        self.rank, self.size = rank, size
        self._group, self._gpu_group = group, gpu_group

    def with_gpus(self, gpu_group: Any) -> DataParallelGroup:
        """The same group, whose tensors on GPUs take `gpu_group`."""
        return DataParallelGroup(self.rank, self.size, self._group, gpu_group)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def slice(self, rows_N: Indices) -> Indices:
        """This process's slice of the rows, contiguous; the slices differ by one row at most."""
        return np.array_split(rows_N, self.size)[self.rank]

    def total(self, count: int) -> int:
        """The sum of all processes' counts."""
        counts = torch.tensor(count)
        self._sum(counts)
        return int(counts)

    def sum_gradients(self, parameters: Iterable[nn.Parameter], loss: Tensor) -> Tensor:
        """Makes every gradient the sum over the group (all-reduce); returns the sum of the losses (float32).

        One flat buffer and not DistributedDataParallel: that takes means, which are right for equal slices only, and
        the loss would need a second message.
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

    def broadcast_buffers(self, network: nn.Module) -> None:
        """Broadcasts the first process's buffers: BatchNorm's running statistics, which differ between slices."""
        if self.size > 1:
            for buffer in network.buffers():
                self._broadcast(buffer)

    def gather(self, index_S: Indices, logits_VSK: Tensor) -> tuple[Indices, Tensor]:
        """All processes' rows and logits, in the order of the ranks. V and K are equal on all; S may be 0 on some."""
        if self.size == 1:
            return index_S, logits_VSK
        index_S = self._concatenate(torch.from_numpy(index_S), dim=0).numpy()
        return index_S, self._concatenate(logits_VSK, dim=1)

    def any(self, is_so: bool) -> bool:
        """Whether it is so in any process."""
        return is_so if self.size == 1 else self.total(int(is_so)) > 0

    def from_first(self, content: bytes | None) -> bytes | None:
        """The first process's `content`, in all; what the others hand in is not looked at."""
        if self.size == 1:
            return content
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
        """All tensors, in the order of the ranks, along `dim`, the only dimension in which their shapes may differ."""
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


def join_data_parallel_group(processes: JobProcesses, device: torch.device, *, per_host: int) -> DataParallelGroup:
    """All processes of the job, `per_host` on each host, as one group, whose first logs how folds go."""
    group = processes.as_group()
    if not group.is_first:
        leave_to_first("fold", below=logging.WARNING)
    if device.type != "cuda" or group.any(torch.cuda.device_count() < per_host):
        return group  # NCCL wants a GPU for each process; gloo also serves those that share one
    return group.with_gpus(dist.new_group(backend="nccl", timeout=STEP_LIMIT))


def _receive_number(peer: int) -> int:
    number = torch.zeros((), dtype=torch.int64)
    dist.recv(number, peer)
    return int(number)


def _receive_bytes(peer: int) -> bytes:
    content = torch.empty(_receive_number(peer), dtype=torch.uint8)
    dist.recv(content, peer)
    return content.numpy().tobytes()


@contextmanager
def _as_lost() -> Iterator[None]:
    """Turns the RuntimeError by which gloo and NCCL report a closed connection into a PlatformError."""
    try:
        yield
    except RuntimeError as error:
        log.error("communication between the processes failed: %s", str(error).splitlines()[0])
        raise PlatformError(
            "another process of the job ended before it was done", do="Its log says why.", kind="peer_lost"
        ) from error
