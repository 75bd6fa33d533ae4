"""Worker: how gunicorn serves: each setting with its reason, and clients that are slow kept from those that are not.

The same on a laptop and in the container.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from functools import partial
from selectors import EVENT_READ
from typing import Any, Protocol

from gunicorn.http.errors import ParseException
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

BODY_ERRORS = (OSError, ParseException)  # what reading a body raises that ends early, or is not in the form it claims
SPARE_THREADS = 16  # beside those of requests that are admitted: for /ping, and to refuse the others at once
RECEIVE_S = 60  # the longest that a client may take over sending one request: the platform's own limit for an answer
DRAIN_S, DRAIN_BYTES = 5, 2**27  # of a body that is refused unread


class Settings(Protocol):
    """What gunicorn needs to be told; sagemaker.ServerSettings is one."""

    @property
    def num_workers(self) -> int: ...
    @property
    def max_requests(self) -> int: ...
    @property
    def timeout_s(self) -> int: ...


def gunicorn_settings(settings: Settings, port: int) -> dict[str, Any]:
    """gunicorn's own settings. What of them a user may change is in `settings`."""
    return {
        "bind": f"0.0.0.0:{port}",
        # One process, since each would hold its own copy of the model; threads read bodies and decode side by side.
        "workers": settings.num_workers,
        "worker_class": PatientWorker,
        # Threads only wait, and are made as they are needed: the pipeline decides how many compute.
        "threads": settings.max_requests + SPARE_THREADS,
        "worker_connections": 4 * (settings.max_requests + SPARE_THREADS),
        # The model loads in the worker, after the fork, which CUDA does not survive. Until then connections wait.
        "preload_app": False,
        "backlog": 512,
        "timeout": settings.timeout_s,  # longer than SageMaker's 60 s, so that only a hung worker meets it
        "graceful_timeout": 25,  # SageMaker kills 30 s after SIGTERM
        "keepalive": 65,  # longer than the platform's own, so that it never writes to a connection we just closed
        # The one place that is writable on a read-only container; its heartbeat is better off in memory.
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp",  # noqa: S108
        "control_socket_disable": True,
        "accesslog": None,
        "loglevel": "warning",
    }


class PatientSocket(socket.socket):
    """Gives a client so many seconds to send one request, however it drips, and to take each part of the answer."""

    must_end = float("inf")

    def setblocking(self, flag: bool) -> None:
        """Blocking means patient: nothing is waited for without an end."""
        if self.fileno() != -1:  # gunicorn asks it of closed ones too
            self.settimeout(RECEIVE_S if flag else 0)

    def recv(self, *args: Any) -> bytes:
        """As a socket's; the client counts as gone when its time is over."""
        patience, left_s = self.gettimeout(), max(self.must_end - time.monotonic(), 1e-3)
        self.settimeout(left_s if patience is None else min(patience, left_s))
        try:
            return super().recv(*args)
        except TimeoutError:
            if time.monotonic() < self.must_end:  # gunicorn's own patience, with what nobody reads
                raise
            raise ConnectionResetError(errno.ECONNRESET, "the request did not come in time") from None
        finally:
            self.settimeout(patience)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, in which a client that has connected and says nothing holds no thread."""

    def accept(self, listener: socket.socket) -> None:
        """As gunicorn's, but the connection waits in the poller, not in a thread, until it can be read."""
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno not in {errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK}:
                raise
            return
        self.nr_conns += 1
        connection = TConn(self.cfg, PatientSocket(fileno=client.detach()), address, listener.getsockname())
        connection.set_timeout()
        self.pending_conns.append(connection)
        self.poller.register(connection.sock, EVENT_READ, partial(self.on_pending_socket_readable, connection))

    def handle(self, connection: TConn) -> Any:
        """As gunicorn's, with a limit to the time that a request takes to arrive."""
        connection.sock.must_end = time.monotonic() + RECEIVE_S
        is_kept = super().handle(connection)
        if is_kept is False:
            # Waits up to two seconds for the client to close too. gunicorn does so in the loop that all others need.
            close_graceful(connection.sock)
        return is_kept

    def murder_pending(self) -> None:
        """As gunicorn's; a worker that stops does not wait for connections on which nothing was asked."""
        if not self.alive:
            for connection in self.pending_conns:
                connection.timeout = 0
        super().murder_pending()

    def _keepalive_after(self, connection: TConn, keepalive: bool) -> bool:
        """As gunicorn's, which gives up on a body that nobody read after 64 KiB, and closes a connection of which the
        answer has said that it stays: a client that is refused at once would lose its next request.
        """
        ends = time.monotonic() + DRAIN_S
        return keepalive and bool(connection.parser.finish_body(deadline=ends, max_bytes=DRAIN_BYTES))


def is_connected(client: socket.socket | None) -> bool:
    """Whether the client still listens, as far as can be told; it does where there is no socket, as in a test."""
    if client is None:
        return True
    listening = select.poll()
    listening.register(client, select.POLLIN)
    try:  # what can be read of a client that only waits is its end
        return not listening.poll(0) or socket.socket.recv(client, 1, socket.MSG_PEEK) != b""
    except OSError:
        return False
