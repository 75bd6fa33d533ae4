"""Memory of a server: what it may take, what it refuses for want of room, and what is left after an answer."""

from __future__ import annotations

import base64
import gc
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from flask import Flask
from PIL import Image

from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.serve.app import create_app
from lesion.serve.limits import Limits


@pytest.fixture(scope="module")
def app(trained_root: Path) -> Flask:
    """With 64 MiB for all that is under way."""
    predictor = load_predictor(trained_root / "model", device="cpu", num_cores=1, fold=0)
    return create_app(predictor, limits=Limits(memory_bytes=2**26))


def one_colour(width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("mode", "width"), [("1", 9500), ("RGB", 4000), ("RGBA", 4000)])
def test_a_small_file_of_a_picture_too_large_for_the_memory_is_413_with_the_numbers(app, mode, width):
    content = one_colour(width, width, mode)
    assert len(content) < 300_000
    answer = app.test_client().post("/invocations", data=content, content_type="image/png")
    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert "MiB of memory, but the limit is 64 MiB" in answer.json["message"]
    small = app.test_client().post("/invocations", data=one_colour(50, 40, mode), content_type="image/png")
    assert small.status_code == 200


def test_a_text_counts_with_what_is_read_of_it(app):
    """20 MB of JSON are held as text, as values and as a file; 20 MB of a file once."""
    content = one_colour(50, 40) + bytes(15_000_000)
    body = json.dumps({"image": base64.b64encode(content).decode()})
    answer = app.test_client().post("/invocations", data=body, content_type="application/json")
    assert (answer.status_code, answer.json["error"]) == (413, "too_large")
    assert app.test_client().post("/invocations", data=content, content_type="image/png").status_code == 200
    small = json.dumps({"image": base64.b64encode(content[:5_000_000]).decode()})
    assert app.test_client().post("/invocations", data=small, content_type="application/json").status_code == 200


def test_refused_bodies_do_not_stay_in_memory(app):
    """With the garbage collector off: an error, its traceback and its frame must not hold each other and the body."""
    body = b"no picture" * 300_000  # 3 MB
    client = app.test_client()
    client.post("/invocations", data=body, content_type="image/jpeg")
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(10):
            assert client.post("/invocations", data=body, content_type="image/jpeg").status_code == 400
        left_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert left_bytes < 2 * len(body)
