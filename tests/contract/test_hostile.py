"""Hostile: a server that is sent whatever can be sent refuses it in words, and answers the next good request right."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests
from hostile import REFUSED, SECRETS, hostile_request
from PIL import Image

from processes import Server, children, pss

NUM_CLIENTS = 4


@pytest.fixture(scope="module")
def target(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, so that what these tests do to it is seen here and nowhere else."""
    root = tmp_path_factory.mktemp("hostile")
    (root / "model").symlink_to(trained_root / "model")
    limits = {"LESION_MAX_PIXELS": "4000000"}
    server = Server.start(root, root / "log", "--fold", "0", environment=limits).wait_until_ready()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def seeds(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Real files of several formats to mutate."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = sorted((trained_root / "input/data/training/train_jpg").iterdir())[:6]
    with Image.open(paths[0]) as image:
        for name in ("a.png", "a.tif", "a.webp", "a.bmp", "a.gif", "a.jp2"):
            image.save(folder / name)
        image.convert("CMYK").save(folder / "cmyk.jpg")
    return [path.read_bytes() for path in (*paths, *sorted(folder.iterdir()))]


def send(server: Server, seeds: list[bytes], numbers: range) -> Counter[int]:
    """Requests of these numbers over one connection after the other; each answer is looked at."""
    seen: Counter[int] = Counter()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in numbers:
        body, headers = hostile_request(seeds, random.Random(number))
        try:
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            content = response.read()
        except OSError as error:
            raise AssertionError(f"number {number}, {headers}: {error!r}") from error
        what = f"number {number}, {headers}: {response.status} {content[:300]!r}"
        assert response.status in {200, 503} | REFUSED, what
        assert not any(secret.encode() in content for secret in SECRETS), what
        if response.status != 200:
            assert set(json.loads(content)) == {"error", "message"}, what
        seen[response.status] += 1
    connection.close()
    return seen


def test_hostile_requests_are_answered_in_words_and_the_next_good_one_right(target, seeds, flood):
    before = target.ask(seeds[0]).json()
    [worker] = children(target.process.pid)
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        numbers = range(flood.seed, flood.seed + flood.num_requests)
        parts = [numbers[start::NUM_CLIENTS] for start in range(NUM_CLIENTS)]
        seen = sum(pool.map(lambda numbers: send(target, seeds, numbers), parts), Counter())
    assert seen.total() == flood.num_requests
    shares = {status: seen[status] / flood.num_requests for status in (200, 400, 415, 406)}
    assert shares[200] > 0.05 and shares[400] > 0.2 and shares[415] > 0.01 and shares[406] > 0, seen
    assert not seen[503]  # four clients are no crowd
    assert target.ask(seeds[0]).json() == before
    assert children(target.process.pid) == [worker]  # the same, not one that had to be started again
    assert "Traceback" not in target.log.read_text()


def test_the_dirty_set_is_answered_picture_by_picture(target, shared_data):
    for path in sorted((shared_data / "dirty").iterdir()):
        response = target.ask(path.read_bytes(), "application/x-image")
        assert response.status_code in {200, 400}, path
        assert response.status_code == 400 or 0 <= response.json()["predictions"][0]["probability"] <= 1


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG's signature and header, whole, and no pixels."""
    import zlib

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (header, pixels, b"IEND")
    )


@pytest.mark.parametrize(("width", "height"), [(2001, 2000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_gigantic_dimensions_are_refused_before_any_memory_is_taken(target, width, height):
    [worker] = children(target.process.pid)
    before = pss(worker)
    response = target.ask(png_that_claims(width, height), "image/png")
    assert response.status_code == 400 and response.json()["error"] == "unreadable_image"
    assert pss(worker) - before < 20e6


def test_metadata_of_wrong_kinds_is_refused_by_name(target, seeds):
    for field, value in (("age_approx", "NaN years"), ("age_approx", [45]), ("sex", {"a": 1})):
        body = json.dumps({"image": base64.b64encode(seeds[0]).decode(), "json_data": {field: value}})
        response = target.ask(body, "application/json")
        assert response.status_code == 400 and field in response.json()["message"]


# Slow, silent and rude clients


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    client.sendall(sent)
    return client


def test_two_hundred_silent_connections_keep_nobody_waiting(target, seeds):
    silent = [connect(target, sent) for sent in [b"", b"POST /invoc"] * 30 + [b""] * 140]
    try:
        started = time.monotonic()
        assert target.ping() == 200
        assert target.ask(seeds[0]).status_code == 200
        assert time.monotonic() - started < 4  # gunicorn's own worker holds a thread 5 s for each that is silent
    finally:
        for client in silent:
            client.close()


def test_clients_that_do_not_close_keep_nobody_waiting(target, seeds):
    """Each has had its answer, was told that the connection ends, and leaves its own end open."""
    request = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    left_open = [connect(target, request) for _ in range(10)]
    try:
        started = time.monotonic()
        assert target.ping() == 200
        assert target.ask(seeds[0]).status_code == 200
        assert time.monotonic() - started < 4  # gunicorn's own worker stands still for 2 s for each of them
    finally:
        for client in left_open:
            client.close()


def test_slow_bodies_take_the_places_of_requests_and_no_more(target, seeds):
    """More are begun than are admitted: the rest is refused at once, and /ping goes on."""
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n"
    slow = [connect(target, head + b"x") for _ in range(64)]
    try:
        time.sleep(0.5)  # each has its thread by now
        assert target.ping() == 200
        response = target.ask(seeds[0])
        assert response.status_code == 503 and response.json()["error"] == "busy"
        assert int(response.headers["Retry-After"]) > 0
    finally:
        for client in slow:
            client.close()
    ends = time.monotonic() + 30
    while target.ask(seeds[0]).status_code != 200:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_a_body_that_is_refused_unread_does_not_end_the_connection(target, seeds):
    connection = HTTPConnection("127.0.0.1", target.port, timeout=60)
    for _ in range(3):
        attributes = {"X-Amzn-SageMaker-Custom-Attributes": "views=99"}
        connection.request("POST", "/invocations", bytes(3_000_000), attributes)
        response = connection.getresponse()
        assert response.status == 400 and b"views" in response.read() and not response.will_close
    connection.request("POST", "/invocations", seeds[0], {"Content-Type": "image/jpeg"})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\nabc",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999\r\n\r\nabc",
        b"POST /invocations HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        b"POST /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a greeting of TLS
    ],
    ids=lambda sent: repr(sent[:60]),
)
def test_broken_http_ends_its_own_connection_and_nothing_else(target, seeds, sent):
    with connect(target, sent) as client:
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert not answer or answer[9:10] == b"4", answer[:200]  # a status of 4xx
    assert not any(secret.encode() in answer for secret in SECRETS)
    assert target.ask(seeds[0]).status_code == 200


def test_memory_does_not_grow_with_good_requests(target, seeds, flood):
    [worker] = children(target.process.pid)

    def ask(number: int) -> int:
        return target.ask(seeds[number % 6], X_Amzn_SageMaker_Custom_Attributes="views=1").status_code

    def after(num_requests: int) -> int:
        with ThreadPoolExecutor(NUM_CLIENTS) as pool:
            assert set(pool.map(ask, range(num_requests))) == {200}
        return pss(worker)

    before = after(1000)
    assert after(flood.num_requests) < 1.05 * before
    assert requests.get(target.url("/ping"), timeout=2).status_code == 200
