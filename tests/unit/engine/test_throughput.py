"""Throughput: what was waited for is told from what was worked on, by a clock that only the test moves."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch

from lesion.engine import throughput
from lesion.engine.throughput import InputWait, minutes_left, slowness

CPU = torch.device("cpu")


class Clock:
    """Stands in for the time module. Waiting takes wall time, and the time of the cores that are busy meanwhile."""

    def __init__(self) -> None:
        self.now_s = self.cpu_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.cpu_s

    def spend(self, seconds: float, *, num_busy: float) -> None:
        self.now_s += seconds
        self.cpu_s += seconds * num_busy


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def loop(clock: Clock, *, num_batches: int, wait_s: float, work_s: float, num_busy: float) -> InputWait:
    """Four cores, all of which work; `num_busy` of them while a batch is waited for."""

    def batches() -> Iterator[int]:
        for number in range(num_batches):
            clock.spend(wait_s, num_busy=num_busy)
            yield number

    input_wait = InputWait(CPU, num_cores=4)
    seen = []
    for batch in input_wait.over(batches()):
        clock.spend(work_s, num_busy=4)
        seen.append(batch)
    assert seen == list(range(num_batches))
    return input_wait


def test_waiting_is_the_time_until_a_batch_comes(clock):
    input_wait = loop(clock, num_batches=5, wait_s=3, work_s=1, num_busy=4)
    assert (input_wait.waited_s, input_wait.elapsed_s, input_wait.share) == (15, 20, 0.75)


@pytest.mark.parametrize("num_busy, share", [(0, 0), (1, 0.25), (4, 1)])
def test_cores_that_are_idle_while_a_batch_is_waited_for_are_told_from_busy_ones(clock, num_busy, share):
    assert loop(clock, num_batches=3, wait_s=2, work_s=7, num_busy=num_busy).busy_share == pytest.approx(share)


@pytest.mark.parametrize("num_batches", [0, 2])
def test_a_loop_that_has_no_batch_or_waits_for_none_has_no_share(clock, num_batches):
    """None is left where a job was stopped after an epoch's last step."""
    input_wait = loop(clock, num_batches=num_batches, wait_s=0, work_s=1, num_busy=0)
    assert input_wait.share == input_wait.busy_share == 0


@pytest.mark.parametrize(
    "num_workers, busy_share, remedy",
    [
        (0, 0.25, "num_workers is 0, but 4 cores are available: set num_workers=auto"),
        (2, 0.5, "num_workers is 2, but 4 cores are available"),
        (4, 0.1, "reading them is slow, since the cores are only 10% busy.*File mode.*set num_workers=16"),
        (4, 0.9, "all 4 cores are busy with them: choose an instance with more cores, or smaller source images"),
    ],
)
def test_what_is_slow_is_said_with_what_helps_here(num_workers, busy_share, remedy):
    said = slowness(0.62, busy_share, num_workers=num_workers, num_cores=4)
    assert said is not None and said.startswith("input-bound: 62% of each step is waiting for images; ")
    assert re.search(remedy, said)


def test_a_loop_that_hardly_waits_is_not_called_slow():
    assert slowness(0.2, 1.0, num_workers=0, num_cores=4) is None


def test_the_time_left_is_that_of_the_pictures_left():
    assert minutes_left(12, num_pictures=1000, images_per_s=50) == 4
