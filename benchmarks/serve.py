"""Serving: requests a second beside what a user would take instead, and beside what the machine can do at all.

    python benchmarks/serve.py --network resnet18
    python benchmarks/serve.py --network efficientnet_b2 --image-size 260 --sides lesion flask

One network of one fold, the same pictures of about 600×450, one server at a time on 127.0.0.1, interleaved over rounds;
asked by wrk, which takes little of the cores. The peers are scripts of their own in peers/, with the Python of
--peers-python (README.md says how to make it). Needs the real data beside the project.
Prints one JSON line; copies lie in results/.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from dermoscopy import HAM
from ham10000 import PROJECT, where_and_when
from train import EVERYONES, PEERS_PYTHON, machine

HERE = Path(__file__).parent
BUILD = PROJECT / "build" / "serve_bench"
PORT = 8177
CORES = len(os.sched_getaffinity(0))
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NUM_PICTURES, SIZE, QUALITY = 64, (600, 450), 95  # about 85 kB each, with a camera's grain
HEALTH = {"bentoml": "/readyz"}  # where it is not /ping
IN_JSON = {"litserve"}  # takes base64 in JSON, and no bare picture
PEERS = {"flask": "serve_flask.py", "litserve": "serve_litserve.py", "bentoml": "serve_bentoml.py"}

LUA = """
local bodies, next = {}, 0
for i = 0, %d do
  local file = io.open(string.format("%s/%%02d.%s", i), "rb"); bodies[i] = file:read("*a"); file:close()
end
local headers = {["Content-Type"] = "%s"}
request = function()
  next = (next + 1) %% (#bodies + 1)
  return wrk.format("POST", "/invocations", headers, bodies[next])
end
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('JSON {"requests": %%d, "us": %%d, "bad": %%d, "p50_ms": %%f, "p99_ms": %%f}\\n',
    summary.requests, summary.duration, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--sides", nargs="+", default=["lesion", *PEERS], choices=["lesion", *PEERS])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("the load generator wrk is not installed: apt install wrk")
    root = BUILD / f"{args.network}_{args.image_size}"
    pictures = lay_out_pictures(BUILD / "pictures")
    make_artifact(root, args.network, args.image_size)
    load_before = os.getloadavg()[0]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in args.sides}
    limits = []
    for number in range(args.rounds):
        limits.append(limit(root / "model", pictures))
        shown({"limit_rps": round(limits[-1]["limit_rps"], 1), "best": limits[-1]["best"]})
        first = number % len(args.sides)
        for side in args.sides[first:] + args.sides[:first]:
            runs[side].append(shown(measure(side, root, pictures, args)))
    print(json.dumps({
        "benchmark": "serve", **where_and_when(), "machine": machine(), "load_before": round(load_before, 1),
        "network": args.network, "image_size": args.image_size, "rounds": args.rounds, "seconds": args.seconds,
        "kilobytes_a_picture": round(sum(path.stat().st_size for path in pictures.glob("*.jpg")) / NUM_PICTURES / 1000),
        "limit": limits[0], "limit_rps": [round(one["limit_rps"], 1) for one in limits],
        "sides": {side: [condensed(run) for run in of_side] for side, of_side in runs.items()},
        **ratios(runs, limits, max(args.clients)),
    }))  # fmt: skip


def lay_out_pictures(folder: Path) -> Path:
    """Real pictures, cut and enlarged to one size with grain, so that they weigh what a camera's do."""
    if not HAM.is_dir():
        raise SystemExit(f"the real pictures are not here: {HAM}")
    if not folder.is_dir():
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number, path in enumerate(sorted((HAM / "train_jpg").iterdir())[:NUM_PICTURES]):
            image_HWC = cv2.resize(cv2.imread(str(path)), SIZE, interpolation=cv2.INTER_CUBIC)
            grainy_HWC = np.clip(image_HWC + rng.normal(0, 4, image_HWC.shape), 0, 255).astype(np.uint8)
            file = cv2.imencode(".jpg", grainy_HWC, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
            (folder / f"{number:02d}.jpg").write_bytes(file)
            in_json = json.dumps({"image": base64.b64encode(file).decode()})
            (folder / f"{number:02d}.json").write_text(in_json)
    return folder


def make_artifact(root: Path, network: str, image_size: int) -> None:
    """Two folds of random weights, by `lesion train`: what they answer does not matter, but that all do so alike."""
    if (root / "model" / "graph.xml").is_file():
        return
    shutil.rmtree(root, ignore_errors=True)
    channel = root / "input" / "data" / "training"
    (channel / "train_jpg").mkdir(parents=True)
    rows = ["image_name,patient_id,target"]
    for number, path in enumerate(sorted((HAM / "train_jpg").iterdir())[:16]):
        shutil.copy(path, channel / "train_jpg")
        rows.append(f"{path.stem},{number},{number % 2}")
    (channel / "train.csv").write_text("\n".join(rows))
    settings = {
        **{"model": network, "image_size": image_size, "pretrained": False, "folds": 2, "epochs": 1, "tta": 1},
        **{"image_mean": MEAN, "image_std": STD, "batch_size_train": 4, "on_leak": "warn"},
        "split": "stratified_group_kfold",
    }
    (root / "input" / "config").mkdir()
    written = {name: json.dumps(value) for name, value in settings.items()}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(written))
    subprocess.run(
        [sys.executable, "-m", "lesion.cli", "train", "--root", root, "--no-progress"], check=True, stdout=sys.stderr
    )


def limit(artifact: Path, pictures: Path) -> dict[str, Any]:
    command = [sys.executable, HERE / "serve_limit.py", "--artifact", artifact, "--pictures", pictures]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def measure(side: str, root: Path, pictures: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One server from its start to its end."""
    script = BUILD / "wrk.lua"
    suffix, content_type = ("json", "application/json") if side in IN_JSON else ("jpg", "image/jpeg")
    script.write_text(LUA % (NUM_PICTURES - 1, pictures, suffix, content_type))
    with running(side, root, args) as (pid, started):
        wait_for(HEALTH.get(side, "/ping"), started)
        to_ping = time.monotonic() - started
        answer = ask((pictures / f"00.{suffix}").read_bytes(), content_type, started)
        result: dict[str, Any] = {
            "side": side, "seconds_to_ping": to_ping, "seconds_to_answer": time.monotonic() - started, "answer": answer,
        }  # fmt: skip
        for clients in args.clients:
            load(script, clients, 3)  # warm
            before = cpu_s(pid)
            told = load(script, clients, args.seconds)
            told["cpu_ms"] = 1000 * (cpu_s(pid) - before) / max(told["requests"], 1)
            result[f"{clients} clients"] = {**told, "rps": 1e6 * told["requests"] / told["us"]}
        result["pss_mb"] = sum(pss(process) for process in tree(pid)) / 1e6
    return result


@contextmanager
def running(side: str, root: Path, args: argparse.Namespace) -> Iterator[tuple[int, float]]:
    """A server's process, and when it was started."""
    environment = {**os.environ, **EVERYONES}
    if side == "lesion":
        environment["SAGEMAKER_BIND_TO_PORT"] = str(PORT)
        command = [sys.executable, "-m", "lesion.cli", "serve", "--no-page", "--root", str(root), "--fold", "0"]
    else:
        environment |= {
            "BENCH_NETWORK": args.network, "BENCH_SIDE_PX": str(args.image_size), "BENCH_CORES": str(CORES),
            "BENCH_WEIGHTS": str(root / "model" / "fold_0.safetensors"), "BENCH_MEAN": " ".join(map(str, MEAN)),
            "BENCH_STD": " ".join(map(str, STD)), "PYTHONPATH": str(HERE / "peers"),
            "BENTOML_DO_NOT_TRACK": "1", "BENTOML_HOME": str(BUILD / "bentoml"), "LIT_SERVER_TELEMETRY": "0",
        }  # fmt: skip
        command = [str(args.peers_python), PEERS[side], str(PORT)]
    log = (BUILD / f"{side}.log").open("w")
    started = time.monotonic()
    server = subprocess.Popen(command, cwd=HERE / "peers", env=environment, stdout=log, stderr=log)
    try:
        yield server.pid, started
    finally:
        processes = tree(server.pid)
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(40)
        for pid in processes:  # what a peer leaves behind of its own
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        server.wait()
        time.sleep(1)


def wait_for(path: str, started: float) -> None:
    while time.monotonic() - started < 180:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=2):
            return
        time.sleep(0.02)
    raise SystemExit(f"no {path} after 180 s: see the logs in {BUILD}")


def ask(body: bytes, content_type: str, started: float) -> float:
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/invocations", body, {"Content-Type": content_type}, method="POST"
    )
    while time.monotonic() - started < 180:
        with suppress(OSError), urllib.request.urlopen(request, timeout=60) as response:
            told = json.load(response)
            return float(told["predictions"][0]["probability"] if "predictions" in told else told["probability"])
        time.sleep(0.02)
    raise SystemExit(f"no answer after 180 s: see the logs in {BUILD}")


def load(script: Path, clients: int, seconds: int) -> dict[str, float]:
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "-s",
        script,
        f"http://127.0.0.1:{PORT}",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(said.partition("JSON ")[2]))


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    with suppress(FileNotFoundError):
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
        return [pid, *(found for child in children for found in tree(child))]
    return []


def cpu_s(pid: int) -> float:
    """CPU seconds that a tree of processes has taken."""
    fields = [Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split() for process in tree(pid)]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def ratios(runs: dict[str, list[dict[str, Any]]], limits: list[dict[str, Any]], most: int) -> dict[str, Any]:
    """Medians over the rounds, each ratio taken within its round."""
    if "lesion" not in runs:
        return {}
    at = f"{most} clients"
    ours = [run[at]["rps"] for run in runs["lesion"]]
    told = {"lesion_to_limit": spread([rps / one["limit_rps"] for rps, one in zip(ours, limits, strict=True)])}
    if peers := [side for side in runs if side != "lesion"]:
        best = [max(runs[side][number][at]["rps"] for side in peers) for number in range(len(ours))]
        told["lesion_to_best_peer"] = spread([rps / peer for rps, peer in zip(ours, best, strict=True)])
    if "1 clients" in runs["lesion"][0]:
        alone = [run["1 clients"]["p50_ms"] for run in runs["lesion"]]
        told["p50_alone_to_decode_and_forward"] = spread(
            [ms / one["alone_ms"] for ms, one in zip(alone, limits, strict=True)]
        )
    answers = [run["answer"] for of_side in runs.values() for run in of_side]
    told["largest_difference_between_answers"] = [max(answers) - min(answers)]
    return told


def spread(values: list[float]) -> list[float]:
    """Median, smallest, largest."""
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def condensed(run: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: round(number, 2) for key, number in value.items() if key != "us"}
        if isinstance(value, dict)
        else value
        for name, value in (
            (name, round(value, 3) if isinstance(value, float) else value) for name, value in run.items()
        )
    }


def shown(result: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(condensed(result)), file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    main()
