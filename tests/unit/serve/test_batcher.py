"""Batcher: who is computed with whom, who is refused, and who is not computed at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from lesion.algorithms.base import Prepared
from lesion.errors import PlatformError, UserError
from lesion.serve.batcher import Batcher

FOREVER_S = 60.0


def picture(number: int) -> Prepared:
    return Prepared(np.full((1, 1, 3), number, np.uint8), [], 1)


class Lane:
    """Answers each picture with its own number, and remembers its batches. Computes only while its gate is open."""

    def __init__(self, *, seconds: float = 0.0, refuses: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self._seconds, self._refuses = seconds, refuses

    def __call__(self, batch: Sequence[Prepared]) -> np.ndarray:
        numbers = [int(picture.pixels_HWC[0, 0, 0]) for picture in batch]
        self.batches.append(numbers)
        self.entered.release()
        assert self.gate.wait(FOREVER_S)
        time.sleep(self._seconds)
        if self._refuses in numbers:
            raise ZeroDivisionError
        return np.array(numbers, np.float64).reshape(-1, 1, 1)


@contextmanager
def batcher(*lanes: Lane, max_batch: int = 4, max_wait_s: float = 0.0, limit_s: float = FOREVER_S) -> Iterator[Batcher]:
    running = Batcher(lanes, max_batch=max_batch, max_wait_s=max_wait_s, limit_s=limit_s)
    yield running
    running.stop()


def busy_with(running: Batcher, lane: Lane, number: int = 255):
    """The lane computes one picture until its gate is opened."""
    lane.gate.clear()
    first = running.submit(picture(number))
    assert lane.entered.acquire(timeout=FOREVER_S)
    return first


def test_each_gets_its_own_answer_in_whatever_batch():
    lane = Lane()
    with batcher(lane) as running:
        answers = [running.submit(picture(number)) for number in range(50)]
        assert [answer.result(FOREVER_S).probs_FK.item() for answer in answers] == list(range(50))
    assert [number for batch in lane.batches for number in batch] == list(range(50))  # in the order in which they came


def test_what_comes_while_the_lane_computes_is_one_batch_up_to_the_largest():
    lane = Lane()
    with batcher(lane, max_batch=4) as running:
        busy_with(running, lane)
        answers = [running.submit(picture(number)) for number in range(6)]
        lane.gate.set()
        assert [answer.result(FOREVER_S).batch_size for answer in answers] == [4, 4, 4, 4, 2, 2]
    assert lane.batches == [[255], [0, 1, 2, 3], [4, 5]]


def test_an_idle_lane_does_not_wait_for_company():
    lane = Lane()
    with batcher(lane, max_wait_s=FOREVER_S) as running:
        assert running.submit(picture(1)).result(5).batch_size == 1


def test_a_lane_waits_for_a_picture_that_is_on_its_way():
    lane = Lane()
    with batcher(lane, max_wait_s=FOREVER_S) as running:
        with running.arriving():
            first = running.submit(picture(1))
            second = running.submit(picture(2))
            assert not lane.batches
        assert [first.result(5).batch_size, second.result(5).batch_size] == [2, 2]


def test_a_lane_waits_no_longer_than_it_may():
    lane = Lane()
    with batcher(lane, max_wait_s=0.01) as running, running.arriving():
        assert running.submit(picture(1)).result(5).batch_size == 1


def test_lanes_compute_side_by_side():
    lanes = Lane(), Lane()
    with batcher(*lanes, max_batch=1) as running:
        for lane in lanes:
            lane.gate.clear()
        answers = [running.submit(picture(number)) for number in range(2)]
        for lane in lanes:  # both are in it before either has ended
            assert lane.entered.acquire(timeout=FOREVER_S)
        for lane in lanes:
            lane.gate.set()
        assert {answer.result(5).probs_FK.item() for answer in answers} == {0, 1}


def test_a_picture_that_breaks_a_batch_fails_alone():
    lane = Lane(refuses=2)
    with batcher(lane) as running:
        busy_with(running, lane)
        answers = [running.submit(picture(number)) for number in range(4)]
        lane.gate.set()
        for number, answer in enumerate(answers):
            if number == 2:
                with pytest.raises(ZeroDivisionError):
                    answer.result(FOREVER_S)
            else:
                assert answer.result(FOREVER_S).probs_FK.item() == number


def test_what_nobody_waits_for_is_not_computed():
    lane = Lane()
    with batcher(lane) as running:
        busy_with(running, lane)
        gone, stays = running.submit(picture(1), is_wanted=lambda: False), running.submit(picture(2))
        lane.gate.set()
        assert stays.result(FOREVER_S).probs_FK.item() == 2
        with pytest.raises(UserError, match="gone"):
            gone.result(FOREVER_S)
    assert lane.batches == [[255], [2]]


def test_a_picture_whose_turn_came_too_late_is_refused_and_not_computed():
    lane = Lane()
    with batcher(lane, limit_s=0.05) as running:
        busy_with(running, lane)
        late = running.submit(picture(1))
        time.sleep(0.1)
        lane.gate.set()
        with pytest.raises(PlatformError, match="more to do") as refusal:
            late.result(FOREVER_S)
        assert refusal.value.kind == "busy"
    assert lane.batches == [[255]]


def test_a_queue_that_would_take_too_long_is_not_joined():
    lane = Lane(seconds=0.05)
    with batcher(lane, max_batch=1, limit_s=0.05) as running:
        running.submit(picture(0)).result(FOREVER_S)  # it knows now how long a picture takes
        busy_with(running, lane)
        with pytest.raises(PlatformError, match="more to do"):
            for number in range(100):
                running.submit(picture(number))
        lane.gate.set()


def test_a_lane_that_hangs_is_not_well_and_is_again_when_it_has_ended():
    lane = Lane()
    with batcher(lane) as running:
        assert running.is_well(hung_s=0)
        first = busy_with(running, lane)
        time.sleep(0.02)
        assert not running.is_well(hung_s=0.01) and running.is_well(hung_s=FOREVER_S)
        lane.gate.set()
        first.result(FOREVER_S)
        running.submit(picture(1)).result(FOREVER_S)  # the lane has come back for it
        assert running.is_well(hung_s=FOREVER_S)


def test_what_is_queued_when_the_batcher_stops_is_refused():
    lane = Lane()
    with batcher(lane) as running:
        first = busy_with(running, lane)
        queued = running.submit(picture(1))
        threading.Timer(0.05, lane.gate.set).start()
        running.stop()
        assert first.result(0).probs_FK.item() == 255
        with pytest.raises(PlatformError):
            queued.result(0)


def test_a_client_that_cannot_be_asked_whether_it_waits_does_not_end_the_lane():
    def is_wanted() -> bool:
        raise ValueError("file descriptor cannot be a negative integer (-1)")

    with batcher(Lane()) as running:
        with pytest.raises(ValueError, match="negative"):
            running.submit(picture(1), is_wanted=is_wanted).result(FOREVER_S)
        assert running.submit(picture(2)).result(FOREVER_S).probs_FK.item() == 2
        assert running.is_well(hung_s=FOREVER_S)


def test_a_picture_that_nobody_waits_for_any_more_does_not_end_the_lane():
    lane = Lane()
    with batcher(lane) as running:
        busy_with(running, lane)
        assert running.submit(picture(1)).cancel()
        lane.gate.set()
        assert running.submit(picture(2)).result(FOREVER_S).probs_FK.item() == 2
    assert [1] not in lane.batches


def test_a_lane_that_answers_too_little_fails_its_batch_and_goes_on():
    answers = iter([np.zeros((0, 1, 1)), np.ones((1, 1, 1))])
    with batcher(lambda _: next(answers)) as running:
        with pytest.raises(ValueError, match="shorter"):
            running.submit(picture(1)).result(FOREVER_S)
        assert running.submit(picture(2)).result(FOREVER_S).probs_FK.item() == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_lane_that_dies_all_the_same_is_told_of():
    def lane(_: Sequence[Prepared]) -> np.ndarray:
        raise SystemExit

    died = threading.Event()
    running = Batcher([lane], max_batch=1, max_wait_s=0, limit_s=FOREVER_S, on_death=died.set)
    running.submit(picture(1))
    assert died.wait(FOREVER_S)
    running.stop()
