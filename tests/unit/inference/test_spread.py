"""Spread: as many passes at once as there are cores, never more, and each result in its place."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from lesion.inference.spread import NUM_ALONE, Spread

FOREVER_S = 60.0


class InFlight:
    """Passes that meet at a barrier, which opens only if so many are computed at once. Remembers the most."""

    def __init__(self, num_at_once: int) -> None:
        self.barrier = threading.Barrier(num_at_once)
        self.changing, self.now, self.most, self.cores = threading.Lock(), set(), 0, set()

    def __call__(self, number: int, core: int) -> int:
        with self.changing:
            assert core not in self.now, "two passes on one core"
            self.now.add(core)
            self.cores.add(core)
            self.most = max(self.most, len(self.now))
        self.barrier.wait(FOREVER_S)
        with self.changing:
            self.now.remove(core)
        return number


@pytest.mark.parametrize("num_cores", [1, 2, 8, 16])
def test_a_lone_caller_has_as_many_passes_in_flight_as_there_are_cores(num_cores):
    passes = InFlight(num_cores)
    spread = Spread(num_cores)
    assert spread.run([partial(passes, number) for number in range(3 * num_cores)]) == list(range(3 * num_cores))
    assert passes.most == num_cores and len(passes.cores) == num_cores


@pytest.mark.parametrize("num_cores", [2, 8])
def test_callers_under_load_have_a_core_each_and_never_more_than_there_are(num_cores):
    passes, spread = InFlight(num_cores), Spread(num_cores)
    results = {}

    def call(number: int) -> None:
        results[number] = spread.run([partial(passes, 100 * number + each) for each in range(6)])

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4 * num_cores)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(FOREVER_S)
    assert results == {number: [100 * number + each for each in range(6)] for number in range(4 * num_cores)}
    assert passes.most == num_cores


def test_a_caller_that_comes_later_gets_a_core_when_the_pass_on_it_ends_and_not_after_the_whole_picture():
    spread, order = Spread(2), []
    gates = [threading.Event() for _ in range(6)]

    def of_first(number: int, _: int) -> None:
        order.append(number)
        assert gates[number].wait(FOREVER_S)

    first = threading.Thread(target=lambda: spread.run([partial(of_first, number) for number in range(6)]))
    first.start()
    wait_until(lambda: len(order) == 2)  # both cores are the first caller's
    second = threading.Thread(target=lambda: spread.run([lambda _: order.append("second")]))
    second.start()
    wait_until(lambda: spread._num_waiting == 1)
    gates[order[0]].set(), gates[order[1]].set()
    second.join(FOREVER_S)
    assert "second" in order[:5]
    for gate in gates:
        gate.set()
    first.join(FOREVER_S)
    assert sorted(order, key=str) == [0, 1, 2, 3, 4, 5, "second"]


def test_the_error_of_a_pass_is_raised_in_the_callers_thread_and_the_cores_are_free_again():
    def fails(_: int) -> None:
        raise ZeroDivisionError

    spread = Spread(2)
    with pytest.raises(ZeroDivisionError):
        spread.run([fails, lambda core: core, fails])
    assert spread.run([lambda _: 1, lambda _: 2]) == [1, 2]


def test_who_has_been_alone_for_some_calls_gets_all_cores_and_who_has_company_does_not():
    spread = Spread(2)
    answers = [spread.run_on_all_cores([lambda core: "all"]) for _ in range(NUM_ALONE + 2)]
    assert answers == [None] * NUM_ALONE + [["all"]] * 2
    gate, entered = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: spread.run([lambda _: (entered.set(), gate.wait(FOREVER_S))]))
    other.start()
    assert entered.wait(FOREVER_S)
    assert spread.run_on_all_cores([lambda core: "all"]) is None
    gate.set()
    other.join(FOREVER_S)
    assert spread.run_on_all_cores([lambda core: "all"]) is None  # it counts from the start again
    assert spread.run([lambda _: 1]) == [1]


def test_who_comes_while_one_has_all_cores_waits_for_its_pass():
    spread, order = Spread(2), []
    for _ in range(NUM_ALONE):
        spread.run_on_all_cores([])

    def on_all(_: int) -> None:
        other.start()
        wait_until(lambda: spread._num_waiting == 1)
        order.append("all cores")

    other = threading.Thread(target=lambda: spread.run([lambda _: order.append("other")]))
    spread.run_on_all_cores([on_all])
    other.join(FOREVER_S)
    assert order == ["all cores", "other"]


def wait_until(is_so) -> None:
    deadline = time.monotonic() + FOREVER_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)
