"""Admission: bodies and what is read from them take room as they come, and give it back with the answer."""

from __future__ import annotations

import pytest

from lesion.data.decode.memory import MemoryBudget
from lesion.errors import PlatformError, UserError
from lesion.inference.admission import Admission


def test_what_requests_took_is_free_once_they_are_answered():
    memory = MemoryBudget(100)
    admission = Admission(memory, max_requests=2, max_bytes=50)
    with admission.slot() as one, admission.slot() as two:
        one.reserve_bytes(30)
        with pytest.raises(PlatformError) as caught:
            two.reserve_bytes(30)
        assert caught.value.kind == "busy"
        two.reserve_bytes(20)
        with pytest.raises(PlatformError), admission.slot():
            pass
        assert memory.num_taken == 50
    assert memory.num_taken == 0
    with admission.slot() as alone:
        alone.reserve_bytes(90)  # longer than all together may be, and nobody else is there


def test_what_is_read_from_bodies_is_no_body_and_takes_half_of_the_memory_with_them():
    memory = MemoryBudget(100)
    with (admission := Admission(memory, max_requests=2, max_bytes=20)).slot() as one, admission.slot() as two:
        one.reserve_body(10)
        one.reserve_bytes(20)
        two.reserve_body(10)
        for reserve in (lambda: two.reserve_body(1), lambda: two.reserve_bytes(11)):
            with pytest.raises(PlatformError) as caught:
                reserve()
            assert caught.value.kind == "busy"
        two.reserve_bytes(10)
    with admission.slot() as alone:
        alone.reserve_body(30)
        alone.reserve_bytes(70)
    assert memory.num_taken == 0


def test_a_body_that_the_memory_could_never_hold_is_too_large_and_one_beside_others_comes_later():
    memory = MemoryBudget(100)
    admission = Admission(memory, max_requests=2, max_bytes=1000)
    with admission.slot() as slot:
        slot.reserve_bytes(60)
        with pytest.raises(UserError) as refused:
            slot.reserve_bytes(60)
        assert refused.value.kind == "too_large"
    assert memory.take(50)  # a picture is being decoded
    with admission.slot() as slot, pytest.raises(PlatformError) as later:
        slot.reserve_bytes(60)
    assert later.value.kind == "busy" and memory.num_taken == 50


def test_an_error_gives_the_room_back_too():
    memory = MemoryBudget(100)
    admission = Admission(memory, max_requests=1, max_bytes=100)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission.slot() as slot:
            slot.reserve_bytes(80)
            raise ZeroDivisionError
    assert memory.num_taken == 0
