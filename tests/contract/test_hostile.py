"""Hostile: a server that is sent whatever can be sent refuses it in words, and answers the next good request right."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from processes import Server, children, pss

NUM_REQUESTS = 10_000
NUM_CLIENTS = 4
REFUSED = {400, 406, 413, 415}
SECRETS = ("Traceback", ".py", "/opt/", "/tmp/", "/work/", "site-packages")


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


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The bytes cut off, swapped, overwritten, doubled."""
    changed = bytearray(content)
    for _ in range(rng.choice([0, 1, 1, 2, 8, 64])):
        if not changed:
            break
        start = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(len(changed), 64))
        end = min(len(changed), start + rng.choice([1, 2, 4, 100]))
        match rng.randrange(5):
            case 0:
                changed[start:end] = rng.randbytes(end - start)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = changed[start:end] * rng.choice([1, 50])
            case 3:
                del changed[start:]
            case 4:
                changed[start:end] = rng.choice([b"\x00", b"\xff"]) * (end - start)
    return bytes(changed)


def strange(rng: random.Random, depth: int = 0) -> object:
    """A value that JSON can hold, or nearly."""
    leaves = [
        *(
            None,
            True,
            -1,
            0,
            10**400,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "nan",
            "female",
            "\ud800",
            "../../etc/passwd",
        ),
        *("A" * 5000, "1e999", "'; DROP TABLE", "\x00", "٤٥", -0.0, 45, "torso", "<script>"),
    ]
    if depth > 4 or rng.random() < 0.6:
        return rng.choice(leaves)
    if rng.random() < 0.5:
        return [strange(rng, depth + 1) for _ in range(rng.randrange(4))]
    names = ["image", "json_data", "metadata", "instances", "b64", "sex", "age_approx", "age", "anatomy", "\ud800", ""]
    return {rng.choice(names): strange(rng, depth + 1) for _ in range(rng.randrange(4))}


def in_base64(content: bytes, rng: random.Random) -> object:
    text = base64.b64encode(content).decode()
    return rng.choice([text, text, text[:-1], "data:image/png;base64," + text, text + "=", {"b64": text}, [text]])


def as_picture(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    kinds = [
        "image/jpeg",
        "image/png",
        "application/x-image",
        "application/octet-stream",
        "application/dicom",
        "image/x",
    ]
    if rng.random() < 0.1:
        content = bytes(128) + b"DICM" + content
    return content, rng.choice(kinds)


def as_json(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    fields: object = {"image": in_base64(content, rng), "json_data": strange(rng)}
    if rng.random() < 0.5:
        fields = {"instances": [fields, strange(rng), in_base64(content, rng)][: rng.randrange(4)]}
    text = json.dumps(fields if rng.random() < 0.8 else strange(rng)).encode()
    if rng.random() < 0.1:
        text = rng.choice([b"[" * 50_000, b'{"a":' * 50_000, text[:-1], b"\xff" + text, b"", b"1" * 5000])
    return text, "application/json"


def as_lines(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = [as_json(content, rng)[0] for _ in range(rng.randrange(1, 4))]
    return rng.choice([b"\n", b"\r\n", b"\n\n", b" "]).join(lines), "application/jsonlines"


def as_csv(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    cells = [str(in_base64(content, rng)), *(str(strange(rng)) for _ in range(rng.randrange(4)))]
    rows = (
        rng.choice(["", "image,sex,age_approx\n", "image,image\n", '"'])
        + ",".join(cells)
        + rng.choice(["", "\n", '"\n', "\r"])
    )
    return rows.encode("utf-8", "surrogatepass"), "text/csv"


def as_form(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    parts = [
        b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + content + b"\r\n",
        b'--frontier\r\nContent-Disposition: form-data; name="sex"\r\n\r\n' + rng.randbytes(4) + b"\r\n",
        b'--frontier\r\nContent-Disposition: form-data; name="json_data"\r\n\r\n{"age": "x"}\r\n',
    ]
    rng.shuffle(parts)
    body = b"".join(parts[: rng.randrange(1, 4)]) + rng.choice([b"--frontier--\r\n", b"", b"--fron"])
    return mutated(body, rng), rng.choice(
        ["multipart/form-data; boundary=frontier"] * 5 + ["multipart/form-data", "multipart/form-data; boundary="]
    )


def as_array(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    file = io.BytesIO()
    shape = rng.choice([(4, 5, 3), (4, 5), (2, 4, 5, 3), (0, 5, 3), (4, 5, 4), (3,), ()])
    kind = rng.choice([np.uint8, np.uint8, np.float64, np.int16, bool])
    np.save(file, np.zeros(shape, kind))
    body = file.getvalue()
    if rng.random() < 0.3:
        body = body.replace(b"(4, 5, 3)", rng.choice([b"(99999999, 5, 3)", b"(-4, 5, 3)", b"(4, 5, 'a')"]))
    if rng.random() < 0.1:
        np.save(file := io.BytesIO(), np.array([{"a": 1}]), allow_pickle=True)
        body = file.getvalue()
    return mutated(body, rng) if rng.random() < 0.5 else body, "application/x-npy"


def as_nonsense(content: bytes, rng: random.Random) -> tuple[bytes, str]:
    return content, rng.choice(["", "text/plain", "///", "application/json/x", "a" * 3000, "image/", ";", "video/mp4"])


FORMS: list[Callable[[bytes, random.Random], tuple[bytes, str]]] = [
    *(as_picture, as_picture, as_json, as_lines, as_csv, as_form, as_array, as_nonsense),
]


def send(server: Server, seeds: list[bytes], numbers: range) -> Counter[int]:
    """Requests of these numbers over one connection after the other; each answer is looked at."""
    seen: Counter[int] = Counter()
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in numbers:
        rng = random.Random(number)
        body, content_type = rng.choice(FORMS)(mutated(rng.choice(seeds), rng), rng)
        headers = {"Content-Type": content_type}
        if rng.random() < 0.2:
            headers["Accept"] = rng.choice(
                ["text/csv", "application/jsonlines", "*/*", "text/html", "a;q=x", ",,;", "*"]
            )
        if rng.random() < 0.2:
            attributes = [
                "views=2",
                "views=0",
                "views=x",
                "top_k=1, details=true",
                "top_k=-1",
                "details=maybe",
                "=;,",
                "a" * 1024,
            ]
            headers["X-Amzn-SageMaker-Custom-Attributes"] = rng.choice(attributes)
        try:
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            content = response.read()
        except OSError as error:
            raise AssertionError(f"number {number}, {content_type[:60]}: {error!r}") from error
        what = f"number {number}, {content_type[:60]}: {response.status} {content[:300]!r}"
        assert response.status in {200, 503} | REFUSED, what
        assert not any(secret.encode() in content for secret in SECRETS), what
        if response.status != 200:
            assert set(json.loads(content)) == {"error", "message"}, what
        seen[response.status] += 1
    connection.close()
    return seen


def test_ten_thousand_hostile_requests_are_answered_in_words_and_the_next_good_one_right(target, seeds):
    before = target.ask(seeds[0]).json()
    [worker] = children(target.process.pid)
    with ThreadPoolExecutor(NUM_CLIENTS) as pool:
        parts = [range(start, NUM_REQUESTS, NUM_CLIENTS) for start in range(NUM_CLIENTS)]
        seen = sum(pool.map(lambda numbers: send(target, seeds, numbers), parts), Counter())
    assert seen.total() == NUM_REQUESTS
    assert seen[200] > 500 and seen[400] > 2000 and seen[415] > 100 and seen[406] > 10, seen  # all doors were met
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


def test_memory_does_not_grow_with_good_requests(target, seeds):
    [worker] = children(target.process.pid)

    def ask(number: int) -> int:
        return target.ask(seeds[number % 6], X_Amzn_SageMaker_Custom_Attributes="views=1").status_code

    def after(num_requests: int) -> int:
        with ThreadPoolExecutor(NUM_CLIENTS) as pool:
            assert set(pool.map(ask, range(num_requests))) == {200}
        return pss(worker)

    before = after(1000)
    assert after(NUM_REQUESTS) < 1.05 * before
    assert requests.get(target.url("/ping"), timeout=2).status_code == 200
