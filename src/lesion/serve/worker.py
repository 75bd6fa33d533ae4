"""Worker: gunicorn's settings, each with its reason, and an event loop that no client can block.

The same on a laptop and in the container. docs/decisions/0021 says why gunicorn's own loop is not used.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from selectors import EVENT_READ
from types import FrameType
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import ClientDisconnected

from lesion.inference.batcher import busy
from lesion.serve.connection import CLOSE_BYTES, CLOSE_S, MAX_HEAD_BYTES, Connection
from lesion.serve.errors import refusal_bytes
from lesion.serve.limits import Limits

log = logging.getLogger(__name__)

# What reading a body raises that ends early, or is not in the form it claims; the last from werkzeug, for chunks.
BODY_ERRORS = (OSError, ParseException, ClientDisconnected)
SPARE_THREADS = 16  # beside those of requests that are admitted: to refuse the others at once
PING_THREADS = 2  # /ping has threads that nothing else can take
MAX_CONNECTIONS = 800  # beyond these the oldest idle one is closed; most systems allow 1,024 open files
ACCEPTS_AT_ONCE = 64  # connections taken before the loop looks at the others again
NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
TLS_HANDSHAKE = 0x16
BUSY = refusal_bytes(503, "busy", str(busy()))
IDLE_CLOSE_S = 1.0  # how long a stopping worker keeps connections on which a request may be on its way


def gunicorn_settings(limits: Limits, num_workers: int, listener: socket.socket) -> dict[str, Any]:
    """gunicorn's own settings, for a server that listens on that socket."""
    threads = limits.max_requests + SPARE_THREADS
    return {
        "bind": f"fd://{listener.detach()}",
        # One process, since each would hold its own copy of the model; threads read bodies and decode side by side.
        "workers": num_workers,
        "worker_class": PatientWorker,
        # Threads only wait, and are made as they are needed: the pipeline decides how many compute.
        "threads": threads,
        "worker_connections": max(MAX_CONNECTIONS, 2 * threads),
        # The model loads in the worker, after the fork, which CUDA does not survive. Until then connections wait.
        "preload_app": False,
        "timeout": limits.hung_s,  # longer than SageMaker's 60 s, so that only a hung worker meets it
        "graceful_timeout": 25,  # SageMaker kills 30 s after SIGTERM
        "keepalive": 65,  # longer than the platform's own, so that it never writes to a connection we just closed
        # Nobody in front of us sets variables of the program by headers: SCRIPT_NAME from this machine would.
        "forwarder_headers": "",
        # The one place that is writable on a read-only container; its heartbeat is better off in memory.
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp",  # noqa: S108
        "control_socket_disable": True,
        "accesslog": None,
        "loglevel": "warning",
    }


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, in which a client gets a thread only when the head of its request is complete.

    Until then, and after its last answer, a connection waits in the event loop, with a deadline. /ping has
    threads of its own. Without a free thread the loop itself refuses a request, at once.
    """

    def init_process(self) -> None:
        """As gunicorn's."""
        self.ping_pool = ThreadPoolExecutor(PING_THREADS, thread_name_prefix="ping")
        self.waiting: dict[Connection, None] = {}  # the connections in the event loop, the longest there first
        self.num_held = 0  # threads that requests hold, those of /ping aside
        self.num_refused = 0  # since the last line in the log that says so
        self.next_look = 0.0  # when to look for connections that are late
        self.is_quitting = False
        super().init_process()

    def run(self) -> None:
        """The event loop, and the end of the process. Threads are not joined: a client could hold them."""
        self.poller.register(self.method_queue.fileno(), EVENT_READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self._turn(timeout_s=1.0)
        self.set_accept_enabled(False)
        stopped = time.monotonic()
        while self.nr_conns and not self.is_quitting and time.monotonic() < stopped + self.cfg.graceful_timeout:
            if time.monotonic() > stopped + IDLE_CLOSE_S:
                for connection in list(self.waiting):
                    self._drop(connection)
            self._turn(timeout_s=0.1)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: the loop ends after the requests in progress. Takes no lock: the interrupted thread may own it."""
        if not self.booted:  # the model is being loaded, and nobody waits
            os._exit(0)
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT and SIGQUIT: the loop ends at once. gunicorn's own takes the thread pool's lock, and can wait for
        itself.
        """
        self.is_quitting = True
        self.handle_exit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        """Takes new connections into the event loop. Beyond the limit the oldest makes room."""
        for _ in range(ACCEPTS_AT_ONCE):
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno in NO_ROOM and not self._evict():
                    time.sleep(0.01)  # nothing to close: the loop would spin until a thread ends
                return  # also if no client is left, or one has closed already
            self.nr_conns += 1
            self._await_head(Connection(self.cfg, client, address, listener.getsockname()))
            if self.nr_conns > self.worker_connections:
                self._evict()

    def finish_request(self, connection: Connection, future: Future[Any]) -> None:
        """Called in the loop when a thread has handled a request: the connection waits for the next, or is closed."""
        self.num_held -= connection.holds_thread
        if not future.exception() and future.result():
            self._await_head(connection, connection.parser.unreader.take_buffered())
        else:
            self._close(connection)

    def _keepalive_after(self, connection: Connection, keepalive: bool) -> bool:
        """As gunicorn's, which gives up on a body that nobody read after 64 KiB, and closes a connection of which the
        answer has said that it stays: a client that is refused at once would lose its next request.
        """
        ends = time.monotonic() + CLOSE_S
        return keepalive and bool(connection.parser.finish_body(deadline=ends, max_bytes=CLOSE_BYTES))

    def _turn(self, *, timeout_s: float) -> None:
        """One turn of the event loop."""
        self.notify()
        self.wait_for_and_dispatch_events(timeout_s)
        if (now := time.monotonic()) < self.next_look:
            return
        self.next_look = now + 1.0
        for connection in [connection for connection in self.waiting if connection.deadline < now]:
            self._drop(connection)
        if self.num_refused:
            log.warning("refused=%d requests, since other clients hold every thread", self.num_refused)
            self.num_refused = 0

    def _await_head(self, connection: Connection, rest: bytes = b"") -> None:
        connection.await_head(rest)
        self._wait(connection, self._on_head)
        if rest:
            self._look_at_head(connection)

    def _on_head(self, connection: Connection) -> None:
        if connection.read_head():
            self._look_at_head(connection)
        else:
            self._drop(connection)

    def _look_at_head(self, connection: Connection) -> None:
        """Begins the request if its head is whole, or refuses what will be none."""
        num_bytes = connection.head_bytes
        if not connection.is_http:
            what = "TLS, and this port speaks plain HTTP" if connection.head[0] == TLS_HANDSHAKE else "no HTTP"
            log.warning("refused client=%s: it speaks %s", connection.client[0], what)
            self._refuse(connection, refusal_bytes(400, "bad_request", f"The client speaks {what}."))
        elif (num_bytes or len(connection.head)) > MAX_HEAD_BYTES:
            self._refuse(connection, refusal_bytes(431, "head_too_large", f"Send at most {MAX_HEAD_BYTES:,} bytes."))
        elif num_bytes or connection.has_bare_newline:  # which gunicorn's parser refuses
            self._begin_request(connection)

    def _begin_request(self, connection: Connection) -> None:
        connection.holds_thread = not connection.is_ping
        if connection.holds_thread and self.num_held >= self.cfg.threads:
            self.num_refused += 1
            self._refuse(connection, BUSY)
            return
        self._leave_loop(connection)
        if not connection.can_be_answered_at_once():  # it sends requests and reads no answers
            self._end(connection)
            return
        connection.begin_request()
        self.num_held += connection.holds_thread
        pool = self.tpool if connection.holds_thread else self.ping_pool
        future = pool.submit(self.handle, connection)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, connection, done))

    def _refuse(self, connection: Connection, answer: bytes) -> None:
        """Answers without a thread, and closes."""
        self._leave_loop(connection)
        with suppress(OSError):
            connection.sock.send(answer)  # does not wait; it has room for as little as this
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection.begin_closing():
            self._wait(connection, self._on_rest)
        else:
            self._end(connection)

    def _on_rest(self, connection: Connection) -> None:
        if not connection.discard():
            self._drop(connection)

    def _wait(self, connection: Connection, when_readable: Callable[[Connection], None]) -> None:
        self.waiting[connection] = None

        def on_readable(_: socket.socket) -> None:
            if connection in self.waiting:  # else it was closed in this very turn, to make room
                when_readable(connection)

        self.poller.register(connection.sock, EVENT_READ, on_readable)

    def _leave_loop(self, connection: Connection) -> None:
        del self.waiting[connection]
        self.poller.unregister(connection.sock)

    def _drop(self, connection: Connection) -> None:
        self._leave_loop(connection)
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        self.nr_conns -= 1
        connection.close()

    def _evict(self) -> bool:
        """Closes the connection that waits longest, preferably one that has never sent a request."""
        oldest = next((each for each in self.waiting if not each.has_asked), next(iter(self.waiting), None))
        if oldest is None:
            return False
        self._drop(oldest)
        return True
