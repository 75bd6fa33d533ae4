"""Pipeline: every wait has an end, decoders are watched, and errors keep no picture in memory."""

from __future__ import annotations

import gc
import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesion.data.decode import images
from lesion.data.decode.images import Pixels
from lesion.data.decode.memory import MemoryBudget, ReserveBytes
from lesion.errors import LesionError, PlatformError, UserError
from lesion.inference.pipeline import Item, Pipeline, Times

FOREVER_S = 60.0


class OfOneNumber:
    """The output of a picture is its first number. Pictures are prepared only while the gate is open."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.seen: list[weakref.ref[np.ndarray]] = []
        self.failing: type[LesionError] | None = None
        self.executors = [list]

    def prepare(self, image: np.ndarray, _: File) -> int:
        self.seen.append(weakref.ref(image))
        self.entered.release()
        assert self.gate.wait(FOREVER_S)
        if self.failing is not None:
            raise self.failing("no", do="Correct it there.", kind="busy")
        return int(image[0, 0, 0])


def png(side_px: int = 40, *, colour: int = 7) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (colour, colour, colour)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class File:
    """An item: the bytes of a picture's file."""

    content: bytes

    def pixels(self, *, max_pixels: int, reserve_bytes: ReserveBytes) -> Pixels:
        return images.decode(self.content, name="a.png", max_pixels=max_pixels, reserve_bytes=reserve_bytes)


def item(content: bytes | None = None) -> File:
    return File(png() if content is None else content)


@contextmanager
def pipeline(
    predictor: OfOneNumber,
    *,
    limit_s: float = FOREVER_S,
    hung_s: float = FOREVER_S,
    memory_bytes: int = 2**28,
    window: int = 16,
    on_death: Callable[[], None] = lambda: None,
) -> Iterator[Pipeline]:
    running = Pipeline(
        predictor.executors,
        max_batch=1,
        memory=MemoryBudget(memory_bytes),
        num_cores=1,
        max_pixels=10**6,
        max_wait_s=0,
        limit_s=limit_s,
        hung_s=hung_s,
        window=window,
        on_death=on_death,
    )
    yield running
    predictor.gate.set()
    running.stop()


def outputs(running: Pipeline, predictor: OfOneNumber, *items: Item | UserError) -> list[Any]:
    return list(running.run(items, predictor.prepare))


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def refusal(running: Pipeline, predictor: OfOneNumber, *items: Item) -> LesionError:
    with pytest.raises(LesionError) as caught:
        outputs(running, predictor, *items)
    return caught.value


def test_each_item_has_its_own_output_or_error_in_its_place():
    predictor, times = OfOneNumber(), Times()
    before = UserError("cannot be read", do="Correct it there.")
    with pipeline(predictor) as running:
        items = [item(b"no picture"), item(), before, *[item()] * 40]  # more than are under way at once
        bad, good, same, *rest = running.run(items, predictor.prepare, times=times)
    assert bad.kind == "unreadable_image" and good == 7 and same is before and rest == [7] * 40
    assert (times.num_pictures, times.batch_size) == (41, 1)


@pytest.mark.parametrize("kind", [UserError, PlatformError])
def test_what_an_executor_cannot_compute_is_an_error_in_its_place_and_the_others_are_computed(kind):
    def refuses_three(batch: list[int]) -> list[int]:
        if 3 in batch:
            raise kind("no number", do="Try again.", kind="no_number")
        return batch

    predictor = OfOneNumber()
    predictor.executors = [refuses_three]
    with pipeline(predictor) as running:
        first, bad, last = outputs(running, predictor, item(), item(png(colour=3)), item())
    assert (first, last) == (7, 7) and isinstance(bad, kind) and bad.kind == "no_number"


def test_of_a_long_row_of_items_only_a_window_is_read_ahead():
    predictor, left = OfOneNumber(), iter([item()] * 100)
    with pipeline(predictor, window=3) as running:
        first = next(running.run(left, predictor.prepare))
    assert first == 7 and len(list(left)) == 97


def test_who_waits_for_a_decoder_longer_than_the_limit_is_refused():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.2) as running:
        predictor.gate.clear()
        first = in_a_thread(lambda: outputs(running, predictor, item()))
        assert predictor.entered.acquire(timeout=FOREVER_S)
        assert refusal(running, predictor, item()).kind == "busy"
        predictor.gate.set()
        first.join(FOREVER_S)
        assert len(outputs(running, predictor, item())) == 1


def test_a_decoder_that_never_comes_to_an_end_is_waited_for_no_longer_than_it_may_hang():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.1, hung_s=0.1) as running:
        assert running.is_well(hung_s=0.1)
        predictor.gate.clear()
        assert refusal(running, predictor, item()).kind == "busy"
        assert not running.is_well(hung_s=0.1) and running.is_well(hung_s=FOREVER_S)
        predictor.gate.set()
        deadline = time.monotonic() + FOREVER_S
        while not running.is_well(hung_s=0.1):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("where", ["decoder", "executor"])
def test_a_picture_that_hangs_is_told_of_so_that_the_process_can_end(where):
    predictor, told = OfOneNumber(), threading.Event()
    if where == "executor":
        predictor.executors = [lambda batch: [predictor.gate.wait(FOREVER_S) for _ in batch]]
        predictor.prepare = lambda *_: 0
    with pipeline(predictor, limit_s=0.1, hung_s=0.1, on_death=told.set) as running:
        predictor.gate.clear()
        assert refusal(running, predictor, item()).kind == "busy"
        assert told.wait(FOREVER_S)


def test_a_picture_that_waits_for_memory_does_not_hang():
    predictor, told = OfOneNumber(), threading.Event()
    with pipeline(predictor, limit_s=1, hung_s=0.5, memory_bytes=30_000_000, on_death=told.set) as running:
        assert running._memory.take(29_000_000)
        assert refusal(running, predictor, item(png(600))).kind == "busy"
        assert not told.is_set()


def test_a_picture_that_could_never_fit_is_too_large_and_one_that_does_not_now_waits_and_is_refused_as_busy():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.2, memory_bytes=30_000_000) as running:
        (too_large,) = outputs(running, predictor, item(png(1000)))
        assert too_large.kind == "too_large" and "28 MiB" not in str(too_large.where)
        assert len(outputs(running, predictor, item(png(600)))) == 1
        assert running._memory.take(29_000_000)  # as another request's body
        assert refusal(running, predictor, item(png(600))).kind == "busy"
        running._memory.give_back(29_000_000)
        assert len(outputs(running, predictor, item(png(600)))) == 1
        assert running._memory.num_taken == 0


@pytest.mark.parametrize("kind", [UserError, PlatformError])
def test_an_error_keeps_no_picture_in_memory(kind):
    """With the garbage collector off: only what nothing refers to any more goes."""
    predictor = OfOneNumber()
    predictor.failing = kind
    gc.disable()
    try:
        with pipeline(predictor) as running:
            for _ in range(3):
                with suppress(LesionError):
                    outputs(running, predictor, item())
            predictor.failing = None
            outputs(running, predictor, item())
            assert [seen() is None for seen in predictor.seen] == [True] * 4
    finally:
        gc.enable()
