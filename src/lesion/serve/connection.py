"""Connection: one client's TCP connection: its request head as it arrives, and its limits in time and size.

Knows sockets and gunicorn's parser, not pictures. Which thread handles a request is decided in worker.py.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.workers.gthread import TConn

# A head (request line and headers) has HEAD_S, longer while it comes at HEAD_BYTES_PER_S, MAX_HEAD_S at most. Apache's
# mod_reqtimeout has the same rule: https://httpd.apache.org/docs/2.4/mod/mod_reqtimeout.html
HEAD_S, MAX_HEAD_S, HEAD_BYTES_PER_S = 5.0, 20.0, 500
MAX_HEAD_BYTES = 2**16  # the platform's own headers take at most a few thousand bytes
RECEIVE_S = 60.0  # the longest that a client may take to send a body: the platform's own limit for an answer
STALL_S = 15.0  # the longest that a body may stand still
CLOSE_S, CLOSE_BYTES = (
    5.0,
    2**27,
)  # how long, and how many bytes, a closed connection is read so that its answer arrives
HEAD_PIECE_BYTES, DISCARDED_PIECE_BYTES = 2**13, 2**16  # what comes with a head of its body is copied on the way
GONE_AFTER_S = 1.0  # after so long a client that closed its sending side is tested: does it still read?
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

PING = re.compile(rb"(GET|HEAD) /ping[ ?]")
HAS_BODY = re.compile(rb"\r\n(content-length:[ \t]*0*[1-9]|transfer-encoding:)", re.IGNORECASE)


class PatientSocket(socket.socket):
    """Limits the seconds in which a client must send its body, and receive each part of the answer."""

    must_end = float("inf")

    def setblocking(self, flag: bool) -> None:
        """Blocking calls get the time limit instead of waiting forever."""
        if self.fileno() != -1:  # gunicorn calls it on closed sockets too
            self.settimeout(RECEIVE_S if flag else 0)

    def recv(self, *args: Any) -> bytes:
        """As socket's; raises when the client's time is over, as if it had closed the connection."""
        patience = self.gettimeout()
        if patience == 0:
            return super().recv(*args)
        left_s = min(max(self.must_end - time.monotonic(), 1e-3), STALL_S)
        self.settimeout(left_s if patience is None else min(patience, left_s))
        try:
            return super().recv(*args)
        except TimeoutError:
            if patience is not None and patience < left_s:  # gunicorn's own timeout, for a body that is not read
                raise
            raise ConnectionResetError(errno.ECONNRESET, "the request did not come in time") from None
        finally:
            self.settimeout(patience)


class Connection(TConn):  # type: ignore[misc]
    """gunicorn's connection, and what the event loop knows of it while no thread handles it."""

    sock: PatientSocket

    def __init__(self, cfg: Any, client: socket.socket, address: Any, server: Any) -> None:
        super().__init__(cfg, PatientSocket(fileno=client.detach()), address, server)
        self.head = bytearray()  # of the next request, and what came with it of the body
        self.deadline = 0.0  # when the event loop closes it
        self.has_asked = False  # whether it has ever sent a whole head
        self.holds_thread = False
        self._head_began = 0.0
        self._num_discarded = 0

    def await_head(self, rest: bytes = b"") -> None:
        """Waits for the next request, of which `rest` has come already."""
        self.sock.setblocking(False)
        self.head[:] = rest
        self._head_began = time.monotonic()
        self.deadline = self._head_began + (HEAD_S if rest else self.cfg.keepalive)

    def read_head(self) -> bool:
        """Takes what has come, without waiting; False where the client closed the connection."""
        if (piece := self._receive(HEAD_PIECE_BYTES)) is None:
            return True
        if not self.head:
            self._head_began = time.monotonic()
        self.head += piece
        self.deadline = self._head_began + min(HEAD_S + len(self.head) / HEAD_BYTES_PER_S, MAX_HEAD_S)
        return bool(piece)

    @property
    def is_http(self) -> bool:
        """Whether the head begins as HTTP does: with a method in capitals, or an empty line before it."""
        return not self.head or self.head[0] in b"\r\n" or 65 <= self.head[0] <= 90

    @property
    def head_bytes(self) -> int | None:
        """The length of the head; None while its end has not come."""
        end = self.head.find(b"\r\n\r\n")
        return None if end < 0 else end + 4

    @property
    def has_bare_newline(self) -> bool:
        """Whether a line of an unfinished head ends in a way that HTTP forbids, so that its end need not come."""
        return self.head.count(b"\n") != self.head.count(b"\r\n")

    @property
    def is_ping(self) -> bool:
        """Whether the head is a request of /ping without body."""
        return bool(PING.match(self.head)) and not HAS_BODY.search(self.head, 0, self.head_bytes or 0)

    def begin_request(self) -> None:
        """Hands the head to gunicorn's parser; the body has RECEIVE_S from now."""
        self.init()  # makes the parser, and the socket patient
        self.data_ready = True
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()
        self.has_asked = True
        self.sock.must_end = time.monotonic() + RECEIVE_S

    def can_be_answered_at_once(self) -> bool:
        """Whether the send buffer has room for a short answer, so that sending will not block."""
        return bool(_events(self.sock, select.POLLOUT) & select.POLLOUT)

    def begin_closing(self) -> bool:
        """Closes the sending side; what the client still sends is then discarded, so that it gets the answer
        instead of a reset (RFC 9112, 9.6). False where the client closed the connection.
        """
        self.deadline = time.monotonic() + CLOSE_S
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.setblocking(False)
        except OSError:
            return False
        return True

    def discard(self) -> bool:
        """Discards what has arrived; False when nothing more can arrive."""
        if (piece := self._receive(DISCARDED_PIECE_BYTES)) is None:
            return True
        self._num_discarded += len(piece)
        return bool(piece) and self._num_discarded < CLOSE_BYTES

    def _receive(self, num_bytes: int) -> bytes | None:
        """Up to so many received bytes, without blocking; None if there are none yet, b"" if the client closed."""
        try:
            return self.sock.recv(num_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""


class ClientWatch:
    """Whether a request's client still waits for its answer. Any thread may call it; it never raises.

    A client that has closed its sending side may still read (RFC 9112, 9.6), so that alone is no sign. TCP shows the
    difference only to a sender: after GONE_AFTER_S we send an interim response, which HTTP/1.1 allows at any time
    before the final one (RFC 9110, 15.2); a closed client answers with a reset.
    """

    def __init__(self, client: socket.socket | None, *, speaks_http_1_1: bool) -> None:
        self._client = client  # None: there is no connection, as in a test
        self._can_ask = speaks_http_1_1
        self._half_closed_since: float | None = None
        self._asking = threading.Lock()

    def __call__(self) -> bool:
        """Whether the client still waits, as far as TCP shows it."""
        if self._client is None:
            return True
        events = _events(self._client, select.POLLRDHUP)
        if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            return False
        if events & select.POLLRDHUP:
            self._ask()
        return True

    @contextmanager
    def until_answered(self) -> Iterator[None]:
        """Inside, the client is watched; after it no interim response is sent any more, so the final one can begin."""
        try:
            yield
        finally:
            with self._asking:
                self._can_ask = False

    def _ask(self) -> None:
        with self._asking:
            now = time.monotonic()
            self._half_closed_since = self._half_closed_since or now
            if self._client is None or not self._can_ask or now - self._half_closed_since < GONE_AFTER_S:
                return
            self._can_ask = False
            try:
                self._client.send(CONTINUE, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            except (OSError, ValueError):
                return  # the next look sees that the client closed the connection


def _events(client: socket.socket, wanted: int) -> int:
    """Which of the events have come, without waiting; POLLNVAL for a socket that is closed."""
    poll = select.poll()
    try:
        poll.register(client, wanted)
    except (OSError, ValueError):  # a closed socket has the number -1
        return select.POLLNVAL
    return next((events for _, events in poll.poll(0)), 0)
