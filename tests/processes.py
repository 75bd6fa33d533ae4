"""Processes: the `lesion` command in one of its own, and a server of it that a test may ask. All on 127.0.0.1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests

import warm
from lesion.sagemaker import read_job
from warm import LIMIT_S

LESION = [sys.executable, "-m", "lesion.cli"]


def lesion(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command, run to its end in a warm process."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        status = warm.start(arguments, output, errors, environment=environment).wait(LIMIT_S)
        for file in (output, errors):
            file.seek(0)
        return subprocess.CompletedProcess([*map(str, arguments)], status, output.read(), errors.read())


def cold_lesion(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The same in a process that Python starts anew, as SageMaker does: where what is read at a start is looked at."""
    return subprocess.run(
        [*LESION, *map(str, arguments)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def train(root: Path, *, cores: Collection[int] | None = None) -> warm.Command:
    """The job, started, with its log in root/log."""
    with (root / "log").open("w") as output:
        return warm.start(["train", "--root", root], output, cores=cores)


def kill_all(parent: warm.Command) -> None:
    """As when the machine goes: parent and children at once, so that nothing is tidied up."""
    pids = [*children(parent.pid), parent.pid]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # Forks of a warm parent hold its lock on the folder until the last of them is gone.
    wait_until(lambda: not any(map(is_running, pids)), "processes outlived SIGKILL", lambda: str(pids))


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waits to be reaped; while one of its threads lives it holds its locks."""
    process = Path(f"/proc/{pid}")
    try:
        is_zombie = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie or len(list((process / "task").iterdir())) > 1
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pss(pid: int) -> int:
    """A process's memory in bytes, what it shares with others divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def wait_until(is_so: Callable[[], bool], otherwise: str, log: Callable[[], str]) -> None:
    """Returns when `is_so`; if that takes too long, fails with the words of `otherwise` and the log."""
    ends = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < ends, f"{otherwise}; the log: {log()}"
        time.sleep(0.05)


def wait_for_text(path: Path, text: str) -> None:
    """Returns when a growing log holds `text`."""
    wait_until(lambda: text in path.read_text(), f"'{text}' did not come", path.read_text)


def stop(root: Path, text: str, number: signal.Signals, *, has_states: tuple[str, int] = ("", 0)) -> int:
    """Runs the job and signals it as soon as its log holds `text`, and its folder states of a name; the exit code.

    SIGINT comes as Ctrl-C in a terminal does: to the parent and to its children.
    """
    log, (name, num_states) = root / "log", has_states
    parent = train(root)
    wait_for_text(log, text)
    wait_until(lambda: len(states(root, name)) >= num_states, f"no {num_states} states of {name}", log.read_text)
    if number == signal.SIGKILL:
        kill_all(parent)
    else:
        for pid in [*(children(parent.pid) if number == signal.SIGINT else []), parent.pid]:
            os.kill(pid, number)
    return parent.wait(60) % 256 if number != signal.SIGKILL else 128 - parent.wait(60)


def states(root: Path, name: str = "") -> list[Path]:
    """The job's checkpoints of that name, or all."""
    return sorted(read_job(root).checkpoint_dir.glob(f"{name}*.safetensors"))


def finish(root: Path) -> str:
    """Runs the job to its end; what it said."""
    ended = lesion("train", "--root", root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@dataclass
class Server:
    """A running `lesion serve`: where it listens, what it logs, and what /ping said until it was first ready."""

    root: Path
    port: int
    log: Path
    process: subprocess.Popen[bytes]
    pings: list[int | None] = field(default_factory=list)  # None: no answer
    log_when_ready: str = ""

    @classmethod
    def start(
        cls,
        root: Path,
        log: Path,
        *options: str,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = LESION,
    ) -> Server:
        """A server on a free port, which it is told by the platform's variable."""
        port = free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*program, "serve", "--root", str(root), *options],
                env={
                    **os.environ,
                    "SAGEMAKER_BIND_TO_PORT": str(port),
                    "LESION_PRECISION": "fp32",
                    **(environment or {}),
                },
                stdout=output,
                stderr=output,
            )
        return cls(root, port, log, process)

    def wait_until_ready(self) -> Server:
        ends = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < ends:
            self.pings.append(self.ping())
            if self.pings[-1] == 200:
                self.log_when_ready = self.log.read_text()
                return self
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()}")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def ping(self) -> int | None:
        try:
            return requests.get(self.url("/ping"), timeout=2).status_code
        except requests.RequestException:
            return None

    def get(self, path: str) -> str:
        """What a page says."""
        return requests.get(self.url(path), timeout=60).text

    def ask(self, body: object, content_type: str | None = "image/jpeg", **headers: str) -> requests.Response:
        """One invocation; underscores in the names of headers become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            named["Content-Type"] = content_type
        return requests.post(self.url("/invocations"), data=body, headers=named, timeout=60)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(30)
        self.process.kill()
        return self.process.wait(10)
