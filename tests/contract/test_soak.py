"""Soak: good and hostile requests of every kind, side by side, for long: memory, threads and files stay flat, and
answers stay right."""

from __future__ import annotations

import base64
import json
import random
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hostile import REFUSED, hostile_request

from processes import Server, children, pss

NUM_CLIENTS = 8
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"
# What each of the clients that stay connected beside the others has sent: no request, a begun head, a begun body.
LINGERING = [b"", b"GET /ping HTTP/1.1\r\nX: ", POST + b"Content-Length: 5000\r\n\r\nx"]


@pytest.fixture(scope="module")
def pictures(trained_root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((trained_root / "input/data/training/train_jpg").iterdir())[:6]]


@dataclass(frozen=True)
class Taken:
    """What a process holds."""

    num_bytes: int
    num_threads: int
    num_files: int

    @classmethod
    def by(cls, pid: int) -> Taken:
        """The process of that number, at present."""
        status = Path(f"/proc/{pid}/status").read_text()
        num_threads = int(status.partition("Threads:")[2].split()[0])
        return cls(pss(pid), num_threads, len(list(Path(f"/proc/{pid}/fd").iterdir())))


def ask_well(server: Server, pictures: list[bytes], answers: list[float], rng: random.Random) -> str:
    """One picture, or several as lines: the answer is right, or the server says that it is busy."""
    numbers = [rng.randrange(len(pictures)) for _ in range(rng.choice([1, 1, 1, 5]))]
    if len(numbers) == 1:
        response = server.ask(pictures[numbers[0]])
    else:
        lines = [json.dumps({"image": base64.b64encode(pictures[number]).decode()}) for number in numbers]
        response = server.ask("\n".join(lines), "application/jsonlines", Accept="application/json")
    if response.status_code == 503:
        assert response.json()["error"] == "busy"
        return "busy"
    assert response.status_code == 200, response.text
    got = [prediction["probability"] for prediction in response.json()["predictions"]]
    assert got == pytest.approx([answers[number] for number in numbers], abs=1e-5)
    return "right"


def ask_badly(server: Server, pictures: list[bytes], rng: random.Random) -> str:
    """A broken request: answered in words."""
    body, headers = hostile_request(pictures, rng)
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", "/invocations", body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    assert response.status in {200, 503} | REFUSED, (headers, response.status, content[:300])
    return "refused" if response.status != 200 else "read all the same"


def send_large_nonsense(server: Server, rng: random.Random) -> str:
    """A large body that is no picture."""
    response = server.ask(rng.randbytes(2_000_000))
    assert response.status_code in {400, 503}, response.text
    return "refused"


def go_early(server: Server, pictures: list[bytes], rng: random.Random) -> str:
    """A client that leaves, by closing or by a reset, while its request is sent, decoded or computed."""
    line = json.dumps({"image": base64.b64encode(rng.choice(pictures)).decode()})
    body = "\n".join([line] * 4).encode()
    head = POST + b"Content-Type: application/jsonlines\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        if rng.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.sendall(head + body[: rng.choice([0, 100, len(body), len(body), len(body)])])
        time.sleep(rng.choice([0, 0.005, 0.02, 0.05]))
    return "gone"


def close_half(server: Server, pictures: list[bytes], answers: list[float], rng: random.Random) -> str:
    """A client that closes its sending side, and waits for the answer."""
    number = rng.randrange(len(pictures))
    head = POST + b"Content-Length: %d\r\n\r\n" % len(pictures[number])
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
        client.sendall(head + pictures[number])
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65536), b"")).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if answer.startswith(b"HTTP/1.1 503"):
        return "busy"
    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    said = json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"][0]["probability"]
    assert said == pytest.approx(answers[number], abs=1e-5)
    return "right"


def test_a_server_that_meets_everything_at_once_stays_as_it_is(target, pictures, flood):
    [worker] = children(target.process.pid)
    answers = [target.ask(picture).json()["predictions"][0]["probability"] for picture in pictures]

    def send(number: int) -> str:
        rng = random.Random(number)
        match rng.choices(range(5), [5, 6, 1, 2, 1])[0]:
            case 0:
                return ask_well(target, pictures, answers, rng)
            case 1:
                return ask_badly(target, pictures, rng)
            case 2:
                return send_large_nonsense(target, rng)
            case 3:
                return go_early(target, pictures, rng)
            case _:
                return close_half(target, pictures, answers, rng)

    def meet(numbers: range) -> Counter[str]:
        """These requests, beside clients that linger; returns when what they left behind is closed."""
        with ExitStack() as stack, ThreadPoolExecutor(NUM_CLIENTS) as pool:
            for sent in LINGERING * 10:
                stack.enter_context(socket.create_connection(("127.0.0.1", target.port))).sendall(sent)
            seen = Counter(pool.map(send, numbers))
            assert target.ping() == 200
        time.sleep(2)
        return seen

    # The first half warms up: threads are made as they are needed, and each keeps a little memory.
    middle, end = flood.seed + flood.num_requests // 2, flood.seed + flood.num_requests
    seen = meet(range(flood.seed, middle))
    before = Taken.by(worker)
    seen += meet(range(middle, end))
    after = Taken.by(worker)

    assert [target.ask(picture).json()["predictions"][0]["probability"] for picture in pictures] == answers
    assert children(target.process.pid) == [worker]  # the same, not one that had to be started again
    assert "Traceback" not in target.log.read_text() and "Exception in thread" not in target.log.read_text()
    assert seen["right"] > 0.2 * flood.num_requests and seen["refused"] > 0.2 * flood.num_requests, seen
    assert after.num_bytes < 1.1 * before.num_bytes, (before, after)
    assert after.num_threads <= before.num_threads + 5, (before, after)
    assert after.num_files <= before.num_files + 5, (before, after)
