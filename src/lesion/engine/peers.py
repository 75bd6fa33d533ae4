"""Peers: the processes of one job, on one host or several. The leader gathers; one that is lost ends the others.

Over torch.distributed's gloo. With one process nothing is opened and nothing waits.
"""

from __future__ import annotations

import _thread
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from lesion.errors import PlatformError
from lesion.stop import Stop

log = logging.getLogger(__name__)

Item = TypeVar("Item")

PORT = 29500
JOIN_LIMIT = timedelta(minutes=10)  # hosts start, and their names resolve, minutes apart
LONGEST_JOB = timedelta(days=28)
STOP_SPREAD_S = 5  # a job that is stopped is stopped on all hosts, on some a moment sooner
LEADER = 0


class Peers:
    """One process's view of the others. `names` are all in the same order everywhere; the first is the leader."""

    def __init__(self, names: Sequence[str], rank: int, stop: Stop) -> None:
        self.names, self.rank, self._stop = list(names), rank, stop
        # What each peer sends, once: to the leader its results, from the leader the word that the job is done. A thread
        # waits for each, so that a peer's death is noticed in the middle of training too.
        others = [LEADER] if rank else range(1, len(names))
        self._from: dict[int, Future[list[bytes]]] = {peer: Future() for peer in others if len(names) > 1}
        self._lost: list[int] = []
        self.group: dist.ProcessGroup | None = None  # for those who train together: here threads wait all the time

    @property
    def is_leader(self) -> bool:
        return self.rank == LEADER

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This process's part of the work, dealt in turn."""
        return list(items[self.rank :: len(self.names)])

    def gather(self, contents: Sequence[bytes]) -> list[bytes]:
        """On the leader everybody's `contents`, in their order, once all have called this; elsewhere nothing."""
        if self.is_leader:
            return [*contents, *(content for future in self._from.values() for content in future.result())]
        self._send(contents, LEADER)
        return []

    def least(self, number: int) -> int:
        """The smallest of everybody's numbers. All must ask."""
        numbers = torch.tensor(number)
        if self.group is not None:
            dist.all_reduce(numbers, dist.ReduceOp.MIN, group=self.group)
        return int(numbers)

    def finish(self) -> None:
        """Returns once the leader has called this: nobody ends before the job's results are written."""
        for peer, future in self._from.items():
            if self.is_leader:
                self._send([], peer)
            else:
                future.result()

    def start(self) -> None:
        for peer in self._from:
            threading.Thread(target=self._receive, args=(peer,), daemon=True).start()

    def lost(self) -> PlatformError | None:
        """The error of a peer that ended too early, if one did."""
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
        except RuntimeError:  # gloo's word for a closed connection
            self._lost.append(peer)
            raise

    def _receive(self, peer: int) -> None:
        try:
            contents = [_receive_bytes(peer) for _ in range(_receive_number(peer))]
        except RuntimeError as error:
            self._lost.append(peer)
            self._from[peer].set_exception(error)
            if not self._stop.is_requested:  # then it was asked too, and we may be keeping what there is
                _thread.interrupt_main()
        else:
            self._from[peer].set_result(contents)


def _receive_number(peer: int) -> int:
    number = torch.zeros((), dtype=torch.int64)
    dist.recv(number, peer)
    return int(number)


def _receive_bytes(peer: int) -> bytes:
    content = torch.empty(_receive_number(peer), dtype=torch.uint8)
    dist.recv(content, peer)
    return content.numpy().tobytes()


@contextmanager
def join_peers(
    names: Sequence[str], rank: int, stop: Stop, *, address: str, shared_dir: Path | None = None
) -> Iterator[Peers]:
    """The job's processes, found and connected. Raises PlatformError if they do not come or if one ends too early.

    They meet at the first host's `address`, or where all are on one host in a file below `shared_dir`: no port is
    taken that another job on the machine might want.
    """
    peers = Peers(names, rank, stop)
    if len(names) == 1:
        yield peers
        return
    log.info("peer=%s rank=%d peers=%d: waiting for all", names[rank], rank, len(names))
    try:
        store = (
            dist.TCPStore(  # type: ignore[attr-defined]
                address, PORT, len(names), is_master=peers.is_leader, timeout=JOIN_LIMIT
            )
            if shared_dir is None
            else dist.FileStore(str(shared_dir / "peers"), len(names))  # type: ignore[attr-defined]
        )
        dist.init_process_group("gloo", store=store, rank=rank, world_size=len(names), timeout=LONGEST_JOB)
    except RuntimeError as error:
        raise PlatformError(
            f"the {len(names)} processes of the job did not find each other: {str(error).splitlines()[0]}",
            where=address,
            do="See the other hosts' logs; their security group must let them reach each other.",
        ) from error
    peers.group = dist.new_group(backend="gloo", timeout=LONGEST_JOB)
    peers.start()
    try:
        yield peers
    except (KeyboardInterrupt, RuntimeError, PlatformError) as error:
        is_secondary = error.kind == "peer_lost" if isinstance(error, PlatformError) else peers.lost() is not None
        if not is_secondary:
            raise
        stop.wait(STOP_SPREAD_S)
        stop.check()
        raise (peers.lost() or error) from error
    dist.destroy_process_group()
