"""Load: many requests at once, and each gets its own answer, whoever its neighbours are."""

from __future__ import annotations

import base64
import io
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import torch
from PIL import Image

from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor, load_torch
from lesion.artifact import load_manifest
from lesion.data.decode import images
from lesion.serve.app import create_app
from lesion.serve.limits import Limits
from processes import Server, children, pss, wait_until

NUM_PICTURES = 500
NUM_CLIENTS = 32


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """All different, of several sizes."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(NUM_PICTURES):
        side_px = 40 + number % 30
        colours_HWC = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(colours_HWC).resize((side_px, side_px)).save(file, "PNG")
        made.append(file.getvalue())
    return made


@pytest.fixture(scope="module")
def light(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose artifact takes one view, so that thousands of requests are soon answered."""
    root = tmp_path_factory.mktemp("light")
    shutil.copytree(trained_root / "model", root / "model")
    manifest = load_manifest(root / "model")
    one_view = manifest.model_copy(update={"payload": {**manifest.payload, "num_views": 1}})
    (root / "model" / "manifest.json").write_text(one_view.model_dump_json())
    return root


@pytest.fixture(scope="module")
def server(light: Path) -> Iterator[Server]:
    """One fold of it."""
    running = Server.start(light, light / "log", "--fold", "0").wait_until_ready()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def offline(light: Path, pictures: list[bytes]) -> np.ndarray:
    """What each picture is answered without a server."""
    predictor = load_predictor(light / "model", device="cpu", num_cores=2, fold=0, precision="fp32")
    probs_NK = predictor.predict([images.decode(picture) for picture in pictures], [{}] * NUM_PICTURES)
    # A wrong one would be seen. They lie so close together that by chance two may be the same float32.
    assert len(set(probs_NK[:, 0].tolist())) > 0.98 * NUM_PICTURES
    return probs_NK[:, 0]


def test_each_of_many_requests_at_once_gets_its_own_answer(server, pictures, offline, flood):
    order = np.random.default_rng(1).integers(0, NUM_PICTURES, flood.num_requests).tolist()
    sessions = [requests.Session() for _ in range(NUM_CLIENTS)]

    def ask(client: int) -> list[float]:
        url, headers = server.url("/invocations"), {"Content-Type": "image/png"}
        answers = []
        for number in order[client::NUM_CLIENTS]:
            response = sessions[client].post(url, data=pictures[number], headers=headers, timeout=60)
            assert response.status_code == 200, response.text
            answers.append(response.json()["predictions"][0]["probability"])
        return answers

    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        answers = list(pool.map(ask, range(NUM_CLIENTS)))
    for client, of_client in enumerate(answers):
        np.testing.assert_allclose(of_client, offline[order[client::NUM_CLIENTS]], atol=1e-5)


@pytest.mark.parametrize("num_lines", [1, 2, 40, 1000])
def test_lines_of_any_number_are_answered_in_their_order(server, pictures, offline, num_lines):
    numbers = np.random.default_rng(num_lines).integers(0, NUM_PICTURES, num_lines)
    lines = [json.dumps({"image": base64.b64encode(pictures[number]).decode()}) for number in numbers]
    response = server.ask("\n".join(lines), "application/jsonlines")
    answers = [json.loads(line)["prediction"] for line in response.text.split("\n")]
    np.testing.assert_allclose(np.array(answers)[:, 1], offline[numbers], atol=1e-5)
    np.testing.assert_allclose(np.sum(answers, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("max_batch", [1, 2, 7, 64])
def test_neighbours_in_a_batch_change_nothing(light, pictures, offline, max_batch):
    """By torch, which computes batches; the graph takes one picture at a time."""
    manifest = load_manifest(light / "model")
    model = read(light / "model", manifest)
    predictor = load_torch(light / "model", manifest, model, model.folds[:1], [torch.device("cpu")])
    predictor.max_batch = max_batch
    app = create_app(predictor, num_cores=2, limits=Limits(max_wait_s=0.05))

    def ask(number: int) -> float:
        response = app.test_client().post("/invocations", data=pictures[number], content_type="image/png")
        return float(response.get_json()["predictions"][0]["probability"])

    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        answers = list(pool.map(ask, range(200)))
    app.extensions["pipeline"].stop()
    np.testing.assert_allclose(answers, offline[:200], atol=1e-5)


def test_ping_answers_within_two_seconds_whatever_the_load(server, pictures):
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        asked = [pool.submit(server.ask, pictures[number % NUM_PICTURES]) for number in range(300)]
        while not all(answer.done() for answer in asked):
            assert server.ping() == 200
        assert {answer.result().status_code for answer in asked} == {200}


def test_a_crowd_beyond_the_limit_is_refused_at_once_and_nobody_waits_in_vain(light, pictures, tmp_path):
    small = Server.start(light, tmp_path / "log", environment={"LESION_MAX_REQUESTS": "2"}).wait_until_ready()
    try:
        with ThreadPoolExecutor(NUM_CLIENTS) as pool:
            answers = list(pool.map(lambda number: small.ask(pictures[number]), range(200)))
        statuses = {answer.status_code for answer in answers}
        assert statuses == {200, 503}
        assert {answer.headers.get("Retry-After") for answer in answers if answer.status_code == 503} == {"1"}
        assert small.ask(pictures[0]).status_code == 200
    finally:
        small.stop()


def test_bodies_that_together_take_too_much_memory_are_refused_and_one_alone_is_not(light, pictures, tmp_path):
    """Only what has arrived counts: a client that claims a long body and sends none of it takes nothing."""
    small = Server.start(light, tmp_path / "log", environment={"LESION_MAX_BODIES_MIB": "1"}).wait_until_ready()
    line = json.dumps({"image": base64.b64encode(pictures[0]).decode()})
    lines = "\n".join([line + " " * 100_000] * 30)  # 3 MB
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/jsonlines\r\n"
    try:
        assert small.ask(lines, "application/jsonlines").text.count("\n") == 29
        with socket.create_connection(("127.0.0.1", small.port)) as slow:
            slow.sendall(head + f"Content-Length: {len(lines)}\r\n\r\n".encode())
            time.sleep(0.5)
            assert small.ask(pictures[0]).status_code == 200
            slow.sendall(lines[:1_000_000].encode())
            time.sleep(0.5)  # until it has arrived: else the next body comes first, and the slow one is refused
            wait_until(
                lambda: small.ask(lines, "application/jsonlines").status_code == 503, "no 503", small.log.read_text
            )
            refused = small.ask(lines, "application/jsonlines")
            assert (refused.headers["Retry-After"], refused.json()["error"]) == ("1", "busy")
            assert small.ask(pictures[0]).status_code == 200 == small.ping()  # what fits is answered
            slow.sendall(lines[1_000_000:].encode())
            assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert small.ask(lines, "application/jsonlines").status_code == 200
    finally:
        small.stop()


def test_a_client_that_has_gone_is_not_computed_for(server, pictures):
    """Its log line tells: few pictures were answered, those until the server had asked whether it still reads."""
    body = "\n".join([json.dumps({"image": base64.b64encode(pictures[0]).decode()})] * 8000).encode()
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/jsonlines\r\n"
    head += b"X-Amzn-SageMaker-Inference-Id: gone-away\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    ends = time.monotonic() + 60
    while not (lines := [line for line in server.log.read_text().splitlines() if "id=gone-away" in line]):
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert int(lines[0].partition("pictures=")[2].split()[0]) < 4000


def test_a_server_on_a_cpu_loads_no_torch_and_stays_small(server):
    [worker] = children(server.process.pid)
    loaded = Path(f"/proc/{worker}/maps").read_text()
    assert "openvino" in loaded
    assert not any(name in loaded for name in ("libtorch", "/pandas/", "/sklearn/", "/scipy/"))
    assert sum(map(pss, (worker, server.process.pid))) < 500e6


def test_what_serving_on_a_cpu_imports_is_neither_torch_nor_pandas_nor_scikit_learn():
    code = (
        "import sys, lesion.cli, lesion.serve.server, lesion.serve.pages, lesion.algorithms.classify.prediction.load\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'timm', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(sorted(heavy) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
