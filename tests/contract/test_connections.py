"""Connections: whatever clients do with theirs, /ping answers, the next good request is answered, and the server ends
when it is told to."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from lesion.serve.connection import GONE_AFTER_S, MAX_HEAD_BYTES
from processes import LESION, Server, children, cold_lesion, free_port, lesion, wait_until

NUM_CLIENTS = 500
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: image/jpeg\r\n"


@pytest.fixture(scope="module")
def picture(trained_root: Path) -> bytes:
    return (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()


@pytest.fixture(scope="module", autouse=True)
def _enough_open_files() -> Iterator[None]:
    """This process holds as many connections as the server does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def post(body: bytes, *headers: str) -> bytes:
    """A whole request."""
    return (
        POST
        + "".join(f"{header}\r\n" for header in headers).encode()
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )


@contextmanager
def clients(server: Server, number: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many clients that have sent this, read nothing, and take little at once."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.settimeout(30)
            client.connect(("127.0.0.1", server.port))
            client.setblocking(False)
            if sent:
                client.send(sent)
            made.append(client)
        yield made


def read_all(client: socket.socket) -> bytes:
    client.settimeout(60)
    return b"".join(iter(lambda: client.recv(65536), b""))


CROWDS = {
    "silent": b"",
    "unfinished heads": PING + b"X: ",
    "unfinished heads of invocations": POST + b"X: ",
    "begun bodies": POST + b"Content-Length: 5000\r\n\r\nx",
    "begun chunks": POST + b"Transfer-Encoding: chunked\r\n\r\nffff\r\nx",
    "refused bodies": POST.replace(b"image/jpeg", b"text/odd") + b"Content-Length: 50000000\r\n\r\nx",
    "/ping with a begun body": PING + b"Content-Length: 5000\r\n\r\nx",
    "/ping again and again, unread": (PING + b"\r\n") * 100,
    "the page, unread": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 10,
    "answered and left open": PING + b"Connection: close\r\n\r\n",
    "greetings of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("sent", CROWDS.values(), ids=CROWDS)
def test_ping_answers_within_two_seconds_beside_five_hundred_clients(target, picture, sent, is_long):
    for _ in range(3 if is_long else 1):
        with clients(target, NUM_CLIENTS, sent):
            for _ in range(10):
                assert requests.get(target.url("/ping"), timeout=2).status_code == 200  # the platform's own limit
            assert target.ask(picture).status_code in {200, 503}
    wait_until(lambda: target.ask(picture).status_code == 200, "no good answer", target.log.read_text)


@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 5000\r\n\r\nx",
        b"Transfer-Encoding: chunked\r\n\r\nffff\r\nx",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    ],
    ids=["with its length", "within a chunk", "between chunks"],
)
def test_a_body_that_ends_early_is_refused_with_the_reason(target, begun):
    with clients(target, 1, POST + begun) as [client]:
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400") and b"the body ended early" in answer


def test_the_oldest_silent_connection_makes_room_for_a_new_one(target, picture):
    with clients(target, 1000, b"") as silent:  # more than the server keeps
        assert target.ping() == 200
        assert target.ask(picture).status_code == 200
        assert read_all(silent[0]) == b""  # closed, and not reset
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)  # still open


def test_a_head_that_comes_byte_by_byte_is_read_and_one_that_never_ends_is_closed(target, picture):
    with (
        socket.create_connection(("127.0.0.1", target.port)) as slow,
        socket.create_connection(("127.0.0.1", target.port)) as endless,
    ):
        endless.sendall(PING)
        for byte in PING + b"\r\n":
            slow.sendall(bytes([byte]))
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
        assert read_all(endless) == b""


def test_a_head_that_is_too_long_is_refused_before_it_ends(target):
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(PING + b"X: a\r\n" * (MAX_HEAD_BYTES // 6 + 1))
        assert read_all(client).startswith(b"HTTP/1.1 431")


def test_a_greeting_of_tls_is_told_in_the_log_and_refused(target):
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(CROWDS["greetings of TLS"])
        assert b"plain HTTP" in read_all(client)
    assert "speaks TLS" in target.log.read_text()


def test_requests_that_come_in_one_piece_are_answered_in_their_order(target, picture):
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(post(picture) + PING + b"\r\n" + post(b"no picture") + PING + b"Connection: close\r\n\r\n")
        statuses = [answer[:3] for answer in read_all(client).split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"400", b"200"]


def test_a_client_that_closes_only_its_sending_side_gets_its_answer(target, picture):
    with socket.create_connection(("127.0.0.1", target.port)) as client:
        client.sendall(post(picture))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 200")


def test_a_long_answer_reaches_a_client_that_closed_its_sending_side_long_ago(target, picture):
    """Longer than the server waits before it asks, by an interim answer, whether the client still reads."""
    line = json.dumps({"image": base64.b64encode(picture).decode()})
    num_lines, took_s = 50, 0.0
    while took_s < 2 * GONE_AFTER_S:
        num_lines *= 2
        body = "\n".join([line] * num_lines).encode()
        with socket.create_connection(("127.0.0.1", target.port)) as client:
            started = time.monotonic()
            client.sendall(post(body).replace(b"image/jpeg", b"application/jsonlines"))
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
            took_s = time.monotonic() - started
        assert b"HTTP/1.1 200" in answer and answer.count(b"prediction") == num_lines


@pytest.mark.parametrize("wait_s", [0, 0.005, 0.02, 0.05])
def test_a_client_that_goes_does_not_hurt_the_next_one(target, picture, wait_s):
    line = json.dumps({"image": base64.b64encode(picture).decode()})
    body = post("\n".join([line] * 8).encode()).replace(b"image/jpeg", b"application/jsonlines")
    for kind in ("closes", "resets"):
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", target.port)) as client:
                if kind == "resets":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                client.sendall(body)
                time.sleep(wait_s)
        assert target.ask(picture).status_code == 200
        assert target.ping() == 200
    assert "Exception in thread" not in target.log.read_text()


def test_the_id_of_a_request_cannot_forge_the_log(target, picture):
    forged = {"X_Amzn_SageMaker_Inference_Id": "abc status=200 pictures=999\x9b" + "a" * 8000}
    assert target.ask(picture, **forged).status_code == 200
    [line] = [line for line in target.log.read_text().splitlines() if "id=abc_status" in line]
    [name] = [part for part in line.split() if part.startswith("id=")]
    assert len(name) == len("id=") + 64 and "pictures=999" not in line.split() and name.isascii()


def test_headers_do_not_set_variables_of_the_server(target):
    assert requests.get(target.url("/"), headers={"SCRIPT_NAME": "/x"}, timeout=5).status_code == 200


def test_the_server_listens_by_ipv6_too(target):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    assert requests.get(f"http://[::1]:{target.port}/ping", timeout=5).status_code == 200


# Its end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_an_idle_server_ends_at_once_whatever_connections_there_are(trained_root, tmp_path, picture, number, is_long):
    """The parent alone is told, or all of its processes, as Ctrl-C does."""
    for to_group in (False, True) if is_long else (number == signal.SIGINT,):
        port = free_port()
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*LESION, "serve", "--root", trained_root, "--port", str(port)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Server(trained_root, port, log, process).wait_until_ready()
        with clients(server, 50, PING + b"X: "), clients(server, 50, b""), requests.Session() as kept:
            assert kept.post(server.url("/invocations"), picture, headers={"Content-Type": "image/jpeg"}).ok
            started = time.monotonic()
            (os.killpg if to_group else os.kill)(process.pid, number)
            assert process.wait(30) == 0
        assert time.monotonic() - started < 10  # it takes less than two seconds; gunicorn's own can take 25
        assert "SIGKILL" not in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_server_that_is_never_ready_ends_in_words_and_starts_no_worker_without_end(trained_root, tmp_path, number):
    """As where the memory does not hold the model, or where a graph crashes what reads it."""
    server = Server.start(trained_root, tmp_path / "log")
    killed: set[int] = set()
    while server.process.poll() is None:
        for worker in set(children(server.process.pid)) - killed:
            with suppress(ProcessLookupError):  # it has ended by itself, as a short-lived child that is no worker does
                os.kill(worker, number)
            killed.add(worker)
    said = server.log.read_text()
    assert server.process.returncode == 3 and 3 <= len(killed) <= 6  # a child may be another than a worker
    [line] = [line for line in said.splitlines() if "the model cannot be served" in line]
    assert number.name in line and ("MiB" in line) == (number == signal.SIGKILL)
    assert "Traceback" not in said


@pytest.mark.parametrize("port", ["99999", "0", "abc", "-1", "²"])
def test_a_port_that_is_none_is_refused_in_one_line(trained_root, port):
    by_variable = lesion("serve", "--root", trained_root, environment={"SAGEMAKER_BIND_TO_PORT": port})
    by_option = lesion("serve", "--root", trained_root, f"--port={port}")
    assert by_variable.returncode == by_option.returncode == 2
    assert port in by_variable.stderr and by_variable.stderr.count("\n") == 1 and port in by_option.stderr


def test_a_port_that_is_taken_is_refused_in_one_line(trained_root):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        nonsense = {
            "WEB_CONCURRENCY": "abc",
            "LISTEN_FDS": "x",
            "GUNICORN_FD": "y",
        }  # gunicorn's own
        ended = cold_lesion("serve", "--root", trained_root, "--port", port, environment=nonsense)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and f"port {port} is taken" in ended.stderr
