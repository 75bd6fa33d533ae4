"""Peers: the hosts of one job. Each trains its share; the leader gathers; one that is lost ends the others.

Over torch.distributed's gloo. With one host nothing is opened and nothing waits.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
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
    """One host's view of the others. `hosts` are all names in the same order everywhere; the first is the leader."""

    def __init__(self, hosts: Sequence[str], rank: int) -> None:
        self._hosts, self._rank = list(hosts), rank
        # What each peer sends, once: to the leader its results, from the leader the word that the job is done. A thread
        # waits for each, so that a peer's death is noticed in the middle of training too.
        others = [LEADER] if rank else range(1, len(hosts))
        self._from: dict[int, Future[list[bytes]]] = {peer: Future() for peer in others if len(hosts) > 1}
        self._lost: list[int] = []

    @property
    def is_leader(self) -> bool:
        return self._rank == LEADER

    def share(self, items: Sequence[Item]) -> list[Item]:
        """This host's part of the work, dealt in turn."""
        return list(items[self._rank :: len(self._hosts)])

    def gather(self, contents: Sequence[bytes]) -> list[bytes]:
        """On the leader everybody's `contents`, in the hosts' order, once all have called this; elsewhere nothing."""
        if self.is_leader:
            return [*contents, *(content for future in self._from.values() for content in future.result())]
        self._send(contents, LEADER)
        return []

    def finish(self) -> None:
        """Returns once the leader has called this: no host ends before the job's results are written."""
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
        name = self._hosts[self._lost[0]]
        return PlatformError(f"host {name} ended before the job was done", do="Its log says why.", kind="peer_lost")

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
def join_peers(hosts: Sequence[str], rank: int, stop: Stop) -> Iterator[Peers]:
    """The job's hosts, found and connected. Raises PlatformError if they do not come or if one ends too early."""
    peers = Peers(hosts, rank)
    if len(hosts) == 1:
        yield peers
        return
    log.info("host=%s rank=%d hosts=%d: waiting for all", hosts[rank], rank, len(hosts))
    try:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            hosts[LEADER], PORT, len(hosts), is_master=peers.is_leader, timeout=JOIN_LIMIT
        )
        dist.init_process_group("gloo", store=store, rank=rank, world_size=len(hosts), timeout=LONGEST_JOB)
    except RuntimeError as error:
        raise PlatformError(
            f"the {len(hosts)} hosts did not find each other: {str(error).splitlines()[0]}",
            where=f"{hosts[LEADER]}:{PORT}",
            do="See the other hosts' logs; their security group must let them reach each other.",
        ) from error
    peers.start()
    try:
        yield peers
    except (KeyboardInterrupt, RuntimeError) as error:
        lost = peers.lost()
        if lost is None:
            raise
        ends = time.monotonic() + STOP_SPREAD_S
        while time.monotonic() < ends and not stop.is_requested:
            with suppress(KeyboardInterrupt):  # our own, or the word of this very loss from another thread
                time.sleep(0.1)
        stop.check()
        raise lost from error
    dist.destroy_process_group()
