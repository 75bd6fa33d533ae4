"""Pipeline: every wait has an end, decoders are watched, and errors keep no picture in memory."""

from __future__ import annotations

import gc
import io
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesion.algorithms.base import Prepared
from lesion.data.memory import MemoryBudget
from lesion.errors import LesionError, PlatformError, UserError
from lesion.serve.pipeline import Pipeline, Times
from lesion.serve.records import Record

FOREVER_S = 60.0


class OfOneNumber:
    """A predictor whose answer is a picture's first number. It prepares pictures only while its gate is open."""

    max_batch = 1

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Semaphore(0)
        self.gate.set()
        self.seen: list[weakref.ref[np.ndarray]] = []
        self.failing: type[LesionError] | None = None
        self.lanes = [lambda batch: np.array([[[float(one.pixels_HWC[0, 0, 0])]] for one in batch])]

    def prepare(self, image: np.ndarray, *_: object, **__: object) -> Prepared:
        self.seen.append(weakref.ref(image))
        self.entered.release()
        assert self.gate.wait(FOREVER_S)
        if self.failing is not None:
            raise self.failing("no", do="Mend it.", kind="busy")
        return Prepared(image[:1, :1].copy(), [], 1)


def png(side_px: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side_px, side_px), (7, 7, 7)).save(file, "PNG")
    return file.getvalue()


def record(content: bytes | None = None) -> Record:
    return Record(png() if content is None else content, {}, "a.png")


@contextmanager
def pipeline(
    predictor: Any, *, limit_s: float = FOREVER_S, hung_s: float = FOREVER_S, memory_bytes: int = 2**28
) -> Iterator[Pipeline]:
    running = Pipeline(
        predictor,
        memory=MemoryBudget(memory_bytes),
        num_cores=1,
        max_pixels=10**6,
        max_wait_s=0,
        limit_s=limit_s,
        hung_s=hung_s,
    )
    yield running
    predictor.gate.set()
    running.stop()


def answers(running: Pipeline, *records: Record | UserError) -> list[Any]:
    return list(running.answer(records, Times(), num_views=None, is_wanted=lambda: True))


def in_a_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def refusal(running: Pipeline, *records: Record) -> LesionError:
    with pytest.raises(LesionError) as caught:
        answers(running, *records)
    return caught.value


def test_each_record_has_its_own_answer_or_error():
    with pipeline(OfOneNumber()) as running:
        good, bad = answers(running, record(), record(b"no picture"))
    assert good.probs_FK.tolist() == [[7.0]] and bad.kind == "unreadable_image"


def test_who_waits_for_a_decoder_longer_than_the_limit_is_refused():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.2) as running:
        predictor.gate.clear()
        first = in_a_thread(lambda: answers(running, record()))
        assert predictor.entered.acquire(timeout=FOREVER_S)
        assert refusal(running, record()).kind == "busy"
        predictor.gate.set()
        first.join(FOREVER_S)
        assert len(answers(running, record())) == 1


def test_a_decoder_that_never_comes_to_an_end_is_waited_for_no_longer_than_it_may_hang():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.1, hung_s=0.1) as running:
        assert running.is_well(hung_s=0.1)
        predictor.gate.clear()
        assert refusal(running, record()).kind == "busy"
        assert not running.is_well(hung_s=0.1) and running.is_well(hung_s=FOREVER_S)
        predictor.gate.set()
        deadline = time.monotonic() + FOREVER_S
        while not running.is_well(hung_s=0.1):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_picture_that_could_never_fit_is_too_large_and_one_that_does_not_now_waits_and_is_refused_as_busy():
    predictor = OfOneNumber()
    with pipeline(predictor, limit_s=0.2, memory_bytes=30_000_000) as running:
        (too_large,) = answers(running, record(png(1000)))
        assert too_large.kind == "too_large" and "28 MiB" not in str(too_large.where)
        assert len(answers(running, record(png(600)))) == 1
        assert running._memory.take(29_000_000)  # as another request's body
        assert refusal(running, record(png(600))).kind == "busy"
        running._memory.give_back(29_000_000)
        assert len(answers(running, record(png(600)))) == 1
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
                    answers(running, record())
            predictor.failing = None
            answers(running, record())
            assert [seen() is None for seen in predictor.seen] == [True] * 4
    finally:
        gc.enable()
