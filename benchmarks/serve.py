"""Serving: requests a second beside what a user would take instead, and beside what the machine can do at all.

    python benchmarks/serve.py --network resnet18
    python benchmarks/serve.py --network efficientnet_b2 --image-size 260 --sides lesion flask
    python benchmarks/serve.py --sides lesion before --before DIR  # what a change costs, beside an earlier checkout

One network of one fold, the same pictures of 600×450, one server at a time on 127.0.0.1, interleaved over rounds; asked
by wrk, which takes little of the cores. The peers are scripts of their own in peers/, with the Python of --peers-python
(README.md says how to make it); the limit is serve_limit.py's. Needs the real data beside the project. Prints one JSON
line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any

from ham10000 import PROJECT, where_and_when
from serve_inputs import MEAN, NUM_PICTURES, STD, lay_out_pictures, make_artifact
from serve_process import Others, Server, Side, free_port
from train import EVERYONES, PEERS_PYTHON, machine, spread, versions

HERE = Path(__file__).parent
BUILD = PROJECT / "build" / "serve_bench"
CORES = len(os.sched_getaffinity(0))
LEAST_RANGE = 0.2  # of the answers to several pictures, without which agreeing shows nothing
TOLERANCE = 0.1  # of that range, on average between two sides: decoders and resizing differ
PACKAGES = ["Flask", "gunicorn", "litserve", "bentoml", "torchserve", "openvino"]


SIDES = {
    "lesion": Side(),
    "before": Side(),  # Lesion as another checkout has it
    "flask": Side("serve_flask.py"),
    "litserve": Side("serve_litserve.py", form="json"),
    "litserve_batches": Side("serve_litserve.py", form="json", batch=8),
    "bentoml": Side("serve_bentoml.py", health="/readyz", form="multipart"),
    "bentoml_batches": Side("serve_bentoml.py", health="/readyz", form="multipart", batch=8),
    "torchserve": Side("serve_torchserve.py", path="/predictions/classifier", batch=8),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--sides", nargs="+", default=[name for name in SIDES if name != "before"], choices=SIDES)
    parser.add_argument("--before", type=Path, help="the checkout of the side `before`")
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement, after 3 to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is not installed: apt-get install wrk")
    if ("before" in args.sides) != (args.before is not None):
        raise SystemExit("the side `before` and --before DIR belong together")
    if not args.peers_python.exists() and any(SIDES[name].script for name in args.sides):
        raise SystemExit(f"no Python of the peers at {args.peers_python}: make it as benchmarks/README.md says")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # and the server with it
    BUILD.mkdir(parents=True, exist_ok=True)
    lock = (BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("this is being measured already: two at once would measure each other") from None
    pictures = lay_out_pictures(BUILD / "pictures")
    artifact = f"{args.network}_{args.image_size}"
    root = make_artifact(BUILD / artifact, args.network, args.image_size)
    if args.before is not None:  # which may not read today's artifacts
        folder = BUILD / f"{artifact}_before"
        args.before_root = make_artifact(folder, args.network, args.image_size, checkout=args.before)
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
                if (told_apart := max(answer) - min(answer)) < LEAST_RANGE:
                    raise SystemExit(f"all pictures are answered alike, so sides cannot be compared: {answer}")
                if mean(abs(a - b) for a, b in zip(answers[0], answer, strict=True)) > TOLERANCE * told_apart:
                    raise SystemExit(f"{name} does not answer as {args.sides[0]}: {answer}, {answers[0]}")
                run: dict[str, Any] = {"s_to_ping": to_ping_s, "s_to_answer": to_answer_s}
                for clients in args.clients:
                    run[f"{clients} clients"] = server.measure(pictures, clients, args.seconds)
                run["pss_mb"] = server.pss_mb()
            runs[name].append(shown(name, run))
    result = {
        "benchmark": "serve", **where_and_when(), "machine": machine(), "load_before": round(load_before, 1),
        "versions": versions(args.peers_python if args.peers_python.exists() else Path(sys.executable), *PACKAGES),
        "network": args.network, "image_size": args.image_size,
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
    command += ["--seconds", str(min(2.0, args.seconds / 5))]
    environment = {**os.environ, **EVERYONES, **told_peers(Side(), root, args)}
    others = Others()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"serve_limit.py ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "others_cores": others.cores()}


def told_peers(side: Side, root: Path, args: argparse.Namespace) -> dict[str, str]:
    return {
        "BENCH_NETWORK": args.network, "BENCH_SIDE_PX": str(args.image_size), "BENCH_CORES": str(CORES),
        "BENCH_WEIGHTS": str(root / "model" / "fold_0.safetensors"), "BENCH_SCRATCH": str(BUILD),
        "BENCH_BATCH": str(side.batch),
        "BENCH_MEAN": " ".join(map(str, MEAN)), "BENCH_STD": " ".join(map(str, STD)),
        "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(BUILD / "bentoml"),
    }  # fmt: skip


@contextmanager
def running(name: str, root: Path, args: argparse.Namespace) -> Iterator[Server]:
    """One server and all its processes, from its start to its end."""
    port = free_port()  # of its own, so that what an earlier server left behind is never asked
    side, environment, folder = SIDES[name], {**os.environ, **EVERYONES}, BUILD
    if side.script:
        folder = HERE / "peers"
        command = [str(args.peers_python), side.script, str(port)]
        environment |= {**told_peers(side, root, args), "PYTHONPATH": str(folder)}
    else:
        own = args.before_root if name == "before" else root
        command = [sys.executable, "-m", "lesion.cli", "serve", "--no-page", "--root", str(own), "--fold", "0"]
        command += ["--port", str(port)]
        environment["PYTHONPATH"] = str((args.before if name == "before" else PROJECT) / "src")
    log, started = BUILD / f"{name}.log", time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    server = Server(side, port, process, log, started)
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


def ratios(
    runs: dict[str, list[dict[str, Any]]], limits: list[dict[str, Any]], clients: list[int]
) -> dict[str, list[float]]:
    """Lesion beside the limit and beside whichever peer did best, each ratio of two numbers of one round."""
    if "lesion" not in runs:
        return {}
    most = f"{max(clients)} clients"
    ours = [run[most]["rps"] for run in runs["lesion"]]
    told = {"lesion_to_limit": spread([rps / one["limit_rps"] for rps, one in zip(ours, limits, strict=True)])}
    if "before" in runs:
        told |= to_before(runs, clients)
    peers = {name: [run[most]["rps"] for run in of_side] for name, of_side in runs.items() if SIDES[name].script}
    if peers:
        best = [max(of_round) for of_round in zip(*peers.values(), strict=True)]
        told["lesion_to_best_peer"] = spread([rps / peer for rps, peer in zip(ours, best, strict=True)])
    if 1 in clients:
        alone = [run["1 clients"]["p50_ms"] for run in runs["lesion"]]
        both = zip(alone, limits, strict=True)
        told["p50_alone_to_decode_and_forward"] = spread([ms / one["alone_ms"] for ms, one in both])
    return told


def to_before(runs: dict[str, list[dict[str, Any]]], clients: list[int]) -> dict[str, list[float]]:
    """Each of Lesion's numbers divided by the one of the checkout before, of the same round."""
    told = {}
    pairs = list(zip(runs["lesion"], runs["before"], strict=True))
    for name in ("s_to_ping", "s_to_answer", "pss_mb"):
        told[f"{name}_to_before"] = spread([now[name] / then[name] for now, then in pairs])
    for load in (f"{number} clients" for number in clients):
        for name in ("rps", "p50_ms", "cpu_ms"):
            told[f"{name}_of_{load}_to_before"] = spread([now[load][name] / then[load][name] for now, then in pairs])
    return told


def over_rounds(measured: list[Any]) -> Any:
    """Of each number its median, smallest and largest; words as they were in each round."""
    if isinstance(measured[0], dict):
        return {name: over_rounds([one[name] for one in measured]) for name in measured[0]}
    return measured if isinstance(measured[0], str) else spread(measured)


def shown(name: str, told: dict[str, Any]) -> dict[str, Any]:
    words = json.dumps(told)
    print(name, re.sub(r"(\d\.\d\d)\d+", r"\1", words), file=sys.stderr, flush=True)
    return told


if __name__ == "__main__":
    main()
