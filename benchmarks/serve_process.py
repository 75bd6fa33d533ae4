"""A server that is measured: how it is asked, and what all its processes cost."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_inputs import CONTENT_TYPES, NUM_PICTURES

WRK_SCRIPT = Path(__file__).with_name("serve_wrk.lua")
LIMIT_S = 180  # no server takes longer to start
NUM_COMPARED = 8
TICKS = os.sysconf("SC_CLK_TCK")

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


@dataclass(frozen=True)
class Side:
    """How a server is started and asked. Lesion has no script."""

    script: str = ""
    health: str = "/ping"
    path: str = "/invocations"
    form: str = "jpg"  # of the pictures
    batch: int = 1  # the most pictures that a peer may compute at once


@dataclass
class Server:
    """A server that runs, and the ways to ask and to weigh it."""

    side: Side
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def first_answers(self, pictures: Path) -> tuple[float, float, list[float]]:
        """Seconds from the start to the first healthy ping and to the first answer; what it says of some pictures."""
        self.ask(self.side.health)
        to_ping_s = time.monotonic() - self.started
        answers, to_answer_s = [], 0.0
        for number in range(NUM_COMPARED):
            body = (pictures / f"{number:02d}.{self.side.form}").read_bytes()
            answers.append(probability(json.loads(self.ask(self.side.path, body))))
            to_answer_s = to_answer_s or time.monotonic() - self.started
        return to_ping_s, to_answer_s, answers

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """The first answer of status 200."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": CONTENT_TYPES[self.side.form]}
        )
        while time.monotonic() - self.started < LIMIT_S and self.process.poll() is None:
            with suppress(OSError), open_url(request, timeout=60) as response:
                return bytes(response.read())
            time.sleep(0.02)
        raise SystemExit(f"no answer from {path}; {self.log} ends with:\n{self.log.read_text()[-2000:]}")

    def measure(self, pictures: Path, clients: int, seconds: int) -> dict[str, float]:
        """One load, after one to warm up."""
        self.load(pictures, clients, min(seconds, 3))
        self.settle()
        others, before = Others(), self.cpu_s()
        told = self.load(pictures, clients, seconds)
        cpu_s = self.cpu_s() - before
        return {
            "rps": (told["answers"] - told["not_200"]) / told["seconds"],
            **{name: told[name] for name in ("p50_ms", "p99_ms", "not_200", "no_answer")},
            "cpu_ms": 1000 * cpu_s / max(told["answers"], 1),
            "others_cores": others.cores(cpu_s),
        }

    def load(self, pictures: Path, clients: int, seconds: int) -> dict[str, float]:
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", WRK_SCRIPT]
        command += [f"http://127.0.0.1:{self.port}", "--", pictures, self.side.form, CONTENT_TYPES[self.side.form]]
        command += [self.side.path, str(NUM_PICTURES)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return dict(json.loads(said.partition("JSON ")[2]))

    def settle(self) -> None:
        """Until nothing is computed any more for clients that have left."""
        ends, last = time.monotonic() + 10, self.cpu_s()
        while time.monotonic() < ends:
            time.sleep(0.5)
            if (now := self.cpu_s()) - last < 0.05:
                return
            last = now

    def cpu_s(self) -> float:
        """CPU seconds that all its processes have taken."""
        ticks = 0
        for pid in self.tree():
            with suppress(OSError):  # it has just ended
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def pss_mb(self) -> float:
        """Memory of all its processes, what they share counted once."""
        kib = 0
        for pid in self.tree():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kib += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return 1024 * kib / 1e6

    def tree(self) -> list[int]:
        """Itself and all below it."""
        found = [self.process.pid]
        for pid in found:  # grows as it is read
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found += map(int, children.read_text().split())
        return found


class Others:
    """What others take of the machine meanwhile: a server is slowed by it, and a result says so."""

    def __init__(self) -> None:
        self.busy_s, self.ours_s, self.started = self._busy_s(), self._ours_s(), time.monotonic()

    def cores(self, server_s: float = 0.0) -> float:
        """How many cores, on average; `server_s` is what a server took that still runs."""
        ours_s = self._ours_s() - self.ours_s + server_s
        return max(self._busy_s() - self.busy_s - ours_s, 0.0) / (time.monotonic() - self.started)

    @staticmethod
    def _busy_s() -> float:
        user, nice, system, _, _, irq, softirq = Path("/proc/stat").read_text().split()[1:8]
        return sum(map(int, (user, nice, system, irq, softirq))) / TICKS

    @staticmethod
    def _ours_s() -> float:
        """Of this process and of those that it started and that have ended."""
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in both)


def probability(told: Any) -> float:
    """The one number in a side's answer."""
    if isinstance(told, dict):
        return probability(told["predictions"] if "predictions" in told else told["probability"])
    return probability(told[0]) if isinstance(told, list) else float(told)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
