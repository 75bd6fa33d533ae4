"""Serving: requests a second beside what a user would take instead, and beside what the machine can do at all.

    python benchmarks/serve.py --network resnet18
    python benchmarks/serve.py --network efficientnet_b2 --image-size 260 --sides lesion flask

One network of one fold, the same pictures of 600×450, one server at a time on 127.0.0.1, interleaved over rounds; asked
by wrk, which takes little of the cores. The peers are scripts of their own in peers/, with the Python of --peers-python
(README.md says how to make it); the limit is serve_limit.py's. Lesion is the one that this Python imports: another tree
is measured by PYTHONPATH. Needs the real data beside the project. Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ham10000 import PROJECT, where_and_when
from serve_inputs import CONTENT_TYPES, MEAN, NUM_PICTURES, STD, lay_out_pictures, make_artifact
from train import EVERYONES, PEERS_PYTHON, machine, spread, versions

HERE = Path(__file__).parent
BUILD = PROJECT / "build" / "serve_bench"
PORT = 8177
CORES = len(os.sched_getaffinity(0))
LIMIT_S = 180  # no server takes longer to start
TOLERANCE = 2e-2  # between answers: decoders and resizing differ
NUM_COMPARED = 8
PACKAGES = ["flask", "gunicorn", "litserve", "bentoml", "torchserve", "openvino"]


@dataclass(frozen=True)
class Side:
    """How a server is started and asked. Lesion has no script."""

    script: str = ""
    health: str = "/ping"
    path: str = "/invocations"
    form: str = "jpg"  # of the pictures


SIDES = {
    "lesion": Side(),
    "flask": Side("serve_flask.py"),
    "litserve": Side("serve_litserve.py", form="json"),
    "bentoml": Side("serve_bentoml.py", health="/readyz", form="multipart"),
    "torchserve": Side("serve_torchserve.py", path="/predictions/classifier"),
}
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement, after as many to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is not installed: apt-get install wrk")
    if not args.peers_python.exists() and args.sides != ["lesion"]:
        raise SystemExit(f"no Python of the peers at {args.peers_python}: make it as benchmarks/README.md says")
    pictures = lay_out_pictures(BUILD / "pictures")
    root = make_artifact(BUILD / f"{args.network}_{args.image_size}", args.network, args.image_size)
    load_before = os.getloadavg()[0]
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in args.sides}
    limits, answers = [], []
    for number in range(args.rounds):
        limits.append(shown("limit", limit(root, pictures, args)))
        first = number % len(args.sides)
        for name in args.sides[first:] + args.sides[:first]:
            with running(name, root, args) as server:
                to_ping_s, to_answer_s, answer = server.first_answers(pictures)
                answers.append(answer)
                differ = max(abs(a - b) for a, b in zip(answers[0], answer, strict=True))
                if differ > TOLERANCE:
                    raise SystemExit(f"{name} does not answer as {args.sides[0]}: {answer}, {answers[0]}")
                run: dict[str, Any] = {"s_to_ping": to_ping_s, "s_to_answer": to_answer_s}
                for clients in args.clients:
                    run[f"{clients} clients"] = server.measure(pictures, clients, args.seconds)
                run["pss_mb"] = sum(pss_mb(pid) for pid in server.tree())
            runs[name].append(shown(name, run))
    result = {
        "benchmark": "serve", **where_and_when(), "machine": machine(), "load_before": round(load_before, 1),
        "versions": versions(args.peers_python, *PACKAGES), "network": args.network, "image_size": args.image_size,
        "kilobytes_a_picture": round(sum(path.stat().st_size for path in pictures.glob("*.jpg")) / NUM_PICTURES / 1000),
        "rounds": args.rounds, "seconds": args.seconds,
        "largest_difference_of_answers": round(max(max(both) - min(both) for both in zip(*answers, strict=True)), 4),
        "range_of_answers": [round(min(map(min, answers)), 3), round(max(map(max, answers)), 3)],
        "limit": over_rounds(limits), "sides": {name: over_rounds(measured) for name, measured in runs.items()},
        **ratios(runs, limits, args.clients),
    }  # fmt: skip
    print(json.dumps(result))


def limit(root: Path, pictures: Path, args: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, HERE / "serve_limit.py", "--artifact", root / "model", "--pictures", pictures]
    command += ["--seconds", str(min(2.0, args.seconds / 10))]
    environment = {**os.environ, **EVERYONES, **told_peers(root, args)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"serve_limit.py ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def told_peers(root: Path, args: argparse.Namespace) -> dict[str, str]:
    return {
        "BENCH_NETWORK": args.network, "BENCH_SIDE_PX": str(args.image_size), "BENCH_CORES": str(CORES),
        "BENCH_WEIGHTS": str(root / "model" / "fold_0.safetensors"), "BENCH_SCRATCH": str(BUILD),
        "BENCH_MEAN": " ".join(map(str, MEAN)), "BENCH_STD": " ".join(map(str, STD)),
        "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(BUILD / "bentoml"),
    }  # fmt: skip


@contextmanager
def running(name: str, root: Path, args: argparse.Namespace) -> Iterator[Server]:
    """One server and all its processes, from its start to its end."""
    side, environment, folder = SIDES[name], {**os.environ, **EVERYONES}, HERE
    if side.script:
        command = [str(args.peers_python), side.script, str(PORT)]
        environment, folder = environment | told_peers(root, args) | {"PYTHONPATH": "."}, HERE / "peers"
        environment["PYTHONPATH"] = str(folder)
    else:
        command = [sys.executable, "-m", "lesion.cli", "serve", "--no-page", "--root", str(root), "--fold", "0"]
        command += ["--port", str(PORT)]
    log = BUILD / f"{name}.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    server = Server(side, process, log, time.monotonic())
    try:
        yield server
    finally:
        left = server.tree()
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(40)
        for pid in left:  # a peer may leave some behind
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()


@dataclass
class Server:
    """A server that runs, and the ways to ask and to weigh it."""

    side: Side
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
            told = json.loads(self.ask(self.side.path, body))
            to_answer_s = to_answer_s or time.monotonic() - self.started
            told = told["predictions"] if "predictions" in told else told
            told = told[0] if isinstance(told, list) else told
            answers.append(told["probability"] if isinstance(told, dict) else told)
        return to_ping_s, to_answer_s, answers

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        """The first answer of status 200."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}{path}", body, {"Content-Type": CONTENT_TYPES[self.side.form]}
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
        before = self.cpu_s()
        told = self.load(pictures, clients, seconds)
        cpu_ms = 1000 * (self.cpu_s() - before) / max(told["answers"], 1)
        told["rps"] = (told["answers"] - told["not_200"]) / told["seconds"]
        return {name: told[name] for name in ("rps", "p50_ms", "p99_ms", "not_200", "no_answer")} | {"cpu_ms": cpu_ms}

    def load(self, pictures: Path, clients: int, seconds: int) -> dict[str, float]:
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", HERE / "serve_wrk.lua"]
        command += [f"http://127.0.0.1:{PORT}", "--", pictures, self.side.form, CONTENT_TYPES[self.side.form]]
        command += [self.side.path, str(NUM_PICTURES)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return dict(json.loads(said.partition("JSON ")[2]))

    def settle(self) -> None:
        """Until nothing is computed any more for clients that have left."""
        ends, last = time.monotonic() + 30, self.cpu_s()
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
        return ticks / os.sysconf("SC_CLK_TCK")

    def tree(self) -> list[int]:
        """Itself and all below it."""
        found = [self.process.pid]
        for pid in found:  # grows as it is read
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with suppress(OSError):
                    found += map(int, children.read_text().split())
        return found


def pss_mb(pid: int) -> float:
    """A process's memory, what it shares with others divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1e6


def ratios(
    runs: dict[str, list[dict[str, Any]]], limits: list[dict[str, Any]], clients: list[int]
) -> dict[str, list[float]]:
    """Lesion beside the limit and beside whichever peer did best, each ratio of two numbers of one round."""
    if "lesion" not in runs:
        return {}
    most = f"{max(clients)} clients"
    ours = [run[most]["rps"] for run in runs["lesion"]]
    told = {"lesion_to_limit": spread([rps / one["limit_rps"] for rps, one in zip(ours, limits, strict=True)])}
    peers = {name: [run[most]["rps"] for run in of_side] for name, of_side in runs.items() if name != "lesion"}
    if peers:
        best = [max(of_round) for of_round in zip(*peers.values(), strict=True)]
        told["lesion_to_best_peer"] = spread([rps / peer for rps, peer in zip(ours, best, strict=True)])
    if 1 in clients:
        alone = [run["1 clients"]["p50_ms"] for run in runs["lesion"]]
        both = zip(alone, limits, strict=True)
        told["p50_alone_to_decode_and_forward"] = spread([ms / one["alone_ms"] for ms, one in both])
    return told


def over_rounds(measured: list[Any]) -> Any:
    """Of each number its median, smallest and largest; words as they were in each round."""
    if isinstance(measured[0], dict):
        return {name: over_rounds([one[name] for one in measured]) for name in measured[0]}
    return measured if isinstance(measured[0], str) else spread(measured)


def shown(name: str, told: dict[str, Any]) -> dict[str, Any]:
    print(f"{name} {json.dumps(over_rounds([told]))}", file=sys.stderr, flush=True)
    return told


if __name__ == "__main__":
    main()
