"""Batcher: who is computed with whom, who is refused, and who is not computed at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from lesion.errors import PlatformError, UserError
from lesion.inference.batcher import Batcher, Computed, note_progress

FOREVER_S = 60.0


class Numbers:
    """Answers each picture with its own number, and remembers its batches. Computes only while its gate is open."""

    def __init__(self, *, seconds: float = 0.0, refuses: int | None = None) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self._seconds, self._refuses = seconds, refuses

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.entered.release()
        assert self.gate.wait(FOREVER_S)
        time.sleep(self._seconds)
        if self._refuses in batch:
            raise ZeroDivisionError
        return list(batch)


@contextmanager
def batcher(
    *executors: Numbers, max_batch: int = 4, max_wait_s: float = 0.0, limit_s: float = FOREVER_S
) -> Iterator[Batcher]:
    running = Batcher(executors, max_batch=max_batch, max_wait_s=max_wait_s, limit_s=limit_s)
    yield running
    running.stop()


def elsewhere(running: Batcher, number: int) -> Future[Computed[int]]:
    """Computed for another thread, which waits for it."""
    return ThreadPoolExecutor(1).submit(lambda: running.compute(number).result(FOREVER_S))


def busy_with(running: Batcher, executor: Numbers, number: int = 255) -> Future[Computed[int]]:
    """The executor computes one picture until its gate is opened."""
    executor.gate.clear()
    first = elsewhere(running, number)
    assert executor.entered.acquire(timeout=FOREVER_S)
    return first


def test_each_gets_its_own_answer_in_whatever_batch():
    executor = Numbers()
    with batcher(executor) as running:
        answers = [running.compute(number) for number in range(50)]
        assert [answer.result(FOREVER_S).output for answer in answers] == list(range(50))
    assert [number for batch in executor.batches for number in batch] == list(
        range(50)
    )  # in the order in which they came


def test_what_comes_while_the_executor_computes_is_one_batch_up_to_the_largest():
    executor = Numbers()
    with batcher(executor, max_batch=4) as running:
        busy_with(running, executor)
        answers = [running.compute(number) for number in range(6)]
        executor.gate.set()
        assert [answer.result(FOREVER_S).batch_size for answer in answers] == [4, 4, 4, 4, 2, 2]
    assert executor.batches == [[255], [0, 1, 2, 3], [4, 5]]


def test_an_idle_executor_does_not_wait_for_company():
    executor = Numbers()
    with batcher(executor, max_wait_s=FOREVER_S) as running:
        assert running.compute(1).result(5).batch_size == 1


def test_an_executor_waits_for_a_picture_that_is_on_its_way():
    executor = Numbers()
    with batcher(executor, max_wait_s=FOREVER_S) as running:
        with running.arriving():
            first = running.compute(1)
            second = running.compute(2)
            assert not executor.batches
        assert [first.result(5).batch_size, second.result(5).batch_size] == [2, 2]


def test_an_executor_waits_no_longer_than_it_may():
    executor = Numbers()
    with batcher(executor, max_wait_s=0.01) as running, running.arriving():
        assert running.compute(1).result(5).batch_size == 1


def test_executors_compute_side_by_side():
    executors = Numbers(), Numbers()
    with batcher(*executors, max_batch=1) as running:
        for executor in executors:
            executor.gate.clear()
        answers = [elsewhere(running, number) for number in range(2)]
        for executor in executors:  # both are in it before either has ended
            assert executor.entered.acquire(timeout=FOREVER_S)
        for executor in executors:
            executor.gate.set()
        assert {answer.result(5).output for answer in answers} == {0, 1}


def test_a_picture_is_computed_in_the_thread_that_has_prepared_it_while_an_executor_is_idle():
    threads = []

    def executor(batch: Sequence[int]) -> list[int]:
        threads.append(threading.current_thread())
        return list(batch)

    with batcher(executor, max_batch=1) as running:
        assert running.compute(1).result(0).output == 1
        assert threads == [threading.current_thread()]
    with batcher(executor, max_batch=2) as running:  # others may come that make a batch with it
        assert running.compute(1).result(FOREVER_S).output == 1
        assert threads[1] != threading.current_thread()


def test_a_picture_waits_its_turn_while_no_executor_is_idle():
    executor = Numbers()
    with batcher(executor, max_batch=1) as running:
        first = busy_with(running, executor)
        second = running.compute(2)
        assert not second.done()
        executor.gate.set()
        assert [first.result(FOREVER_S).output, second.result(FOREVER_S).output] == [255, 2]


def test_a_picture_that_cannot_be_computed_at_once_leaves_the_executor_idle():
    with batcher(Numbers(refuses=2), max_batch=1) as running:
        with pytest.raises(ZeroDivisionError):
            running.compute(2).result(0)
        with pytest.raises(UserError, match="closed the connection"):
            running.compute(1, is_wanted=lambda: False).result(0)
        assert running.compute(1).result(0).output == 1 and running.is_well(hung_s=0)


def test_a_picture_that_breaks_a_batch_fails_alone():
    executor = Numbers(refuses=2)
    with batcher(executor) as running:
        busy_with(running, executor)
        answers = [running.compute(number) for number in range(4)]
        executor.gate.set()
        for number, answer in enumerate(answers):
            if number == 2:
                with pytest.raises(ZeroDivisionError):
                    answer.result(FOREVER_S)
            else:
                assert answer.result(FOREVER_S).output == number


def test_what_nobody_waits_for_is_not_computed():
    executor = Numbers()
    with batcher(executor) as running:
        busy_with(running, executor)
        gone, stays = running.compute(1, is_wanted=lambda: False), running.compute(2)
        executor.gate.set()
        assert stays.result(FOREVER_S).output == 2
        with pytest.raises(UserError, match="closed the connection"):
            gone.result(FOREVER_S)
    assert executor.batches == [[255], [2]]


def test_a_picture_whose_turn_came_too_late_is_refused_and_not_computed():
    executor = Numbers()
    with batcher(executor, limit_s=0.05) as running:
        busy_with(running, executor)
        late = running.compute(1)
        time.sleep(0.1)
        executor.gate.set()
        with pytest.raises(PlatformError, match="overloaded") as refusal:
            late.result(FOREVER_S)
        assert refusal.value.kind == "busy"
    assert executor.batches == [[255]]


def test_a_queue_that_would_take_too_long_is_not_joined():
    executor = Numbers(seconds=0.05)
    with batcher(executor, max_batch=1, limit_s=0.05) as running:
        running.compute(0).result(FOREVER_S)  # it knows now how long a picture takes
        busy_with(running, executor)
        with pytest.raises(PlatformError, match="overloaded"):
            for number in range(100):
                running.compute(number)
        executor.gate.set()


def test_an_executor_that_hangs_is_not_well_and_is_again_when_it_has_ended():
    executor = Numbers()
    with batcher(executor) as running:
        assert running.is_well(hung_s=0)
        first = busy_with(running, executor)
        time.sleep(0.02)
        assert not running.is_well(hung_s=0.01) and running.is_well(hung_s=FOREVER_S)
        executor.gate.set()
        first.result(FOREVER_S)
        running.compute(1).result(FOREVER_S)  # the executor has come back for it
        assert running.is_well(hung_s=FOREVER_S)


def test_an_executor_that_notes_its_progress_is_slow_and_does_not_hang():
    noted, gate = threading.Event(), threading.Event()

    def executor(batch: Sequence[int]) -> list[int]:
        time.sleep(1)
        note_progress()
        noted.set()
        assert gate.wait(FOREVER_S)
        return list(batch)

    with batcher(executor) as running:
        answer = running.compute(1)
        assert noted.wait(FOREVER_S) and running.is_well(hung_s=1)
        gate.set()
        assert answer.result(FOREVER_S).output == 1
    note_progress()  # elsewhere it says nothing


def test_what_is_queued_when_the_batcher_stops_is_refused():
    executor = Numbers()
    with batcher(executor) as running:
        first = busy_with(running, executor)
        queued = running.compute(1)
        threading.Timer(0.05, executor.gate.set).start()
        running.stop()
        assert first.result(FOREVER_S).output == 255
        with pytest.raises(PlatformError):
            queued.result(0)


def test_a_client_that_cannot_be_asked_whether_it_waits_does_not_end_the_lane():
    def is_wanted() -> bool:
        raise ValueError("file descriptor cannot be a negative integer (-1)")

    with batcher(Numbers()) as running:
        with pytest.raises(ValueError, match="negative"):
            running.compute(1, is_wanted=is_wanted).result(FOREVER_S)
        assert running.compute(2).result(FOREVER_S).output == 2
        assert running.is_well(hung_s=FOREVER_S)


def test_a_picture_that_nobody_waits_for_any_more_does_not_end_the_lane():
    executor = Numbers()
    with batcher(executor) as running:
        busy_with(running, executor)
        assert running.compute(1).cancel()
        executor.gate.set()
        assert running.compute(2).result(FOREVER_S).output == 2
    assert [1] not in executor.batches


def test_an_executor_that_answers_too_little_fails_its_batch_and_goes_on():
    outputs = iter([[], [1]])
    with batcher(lambda _: next(outputs)) as running:
        with pytest.raises(ValueError, match="shorter"):
            running.compute(1).result(FOREVER_S)
        assert running.compute(2).result(FOREVER_S).output == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_executor_that_dies_all_the_same_is_told_of():
    def executor(_: Sequence[int]) -> list[int]:
        raise SystemExit

    died = threading.Event()
    running = Batcher([executor], max_batch=2, max_wait_s=0, limit_s=FOREVER_S, on_death=died.set)
    running.compute(1)
    assert died.wait(FOREVER_S)
    running.stop()
