"""A small job killed at random instants, again and again, beside the same job that nobody killed: are they bit-equal?

    python benchmarks/kills.py                                   # 20 jobs, about 15 minutes on 2 cores
    python benchmarks/kills.py --jobs 3 --seed 1 --set epochs=2

Each job is killed one to three times, by SIGKILL (as when the machine goes: all processes at once) or by SIGTERM (as
when it is taken back), then runs to its end; the folds' weights and oof.csv are compared by sha256. Four of five
instants lie in the time of training, the others before. The pictures are drawn. Prints one JSON line; ends with 1 if
any job differs. Dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from ham10000 import PROJECT, where_and_when

LESION = [sys.executable, "-m", "lesion.cli"]
SETTINGS: dict[str, Any] = {
    "model": "resnet10t",
    "pretrained": False,
    "image_size": 64,
    "folds": 2,
    "epochs": 3,
    "patience": 10,
    "batch_size_train": 8,
    "tta": 1,
    "checkpoint_interval_s": 0,  # a state as often as the disk takes them, so that kills fall beside and into writing
}
BEGINS = "fold=0 rows="  # training does, with the log's next line
GOES_ON = re.compile(r"fold=\d+ (?:resumes in epoch=\d+ after step=\d+|is finished)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the instants and the signals")
    parser.add_argument("--num-images", type=int, default=60)
    parser.add_argument("--root", type=Path, default=PROJECT / "build" / "kills")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    args = parser.parse_args()
    settings = SETTINGS | dict(pair.split("=", 1) for pair in args.set)
    shutil.rmtree(args.root, ignore_errors=True)
    data = args.root / "data"
    subprocess.run(
        [*LESION, "sample-data", str(data), "--num-images", str(args.num_images)], stdout=sys.stderr, check=True
    )

    whole = lay_out(args.root / "whole", data, settings)
    seconds = [time.monotonic()]
    process = start(whole)
    wait_for_training(process, whole, 0)
    seconds.append(time.monotonic())
    end(process, whole)
    seconds.append(time.monotonic())
    spans = {"start": seconds[1] - seconds[0], "training": seconds[2] - seconds[1]}
    expected = digests(whole)
    rng, jobs = random.Random(args.seed), []
    for number in range(1, args.jobs + 1):
        kills: list[dict[str, Any]] = []
        while not kills:  # an instant may come after the end
            shutil.rmtree(args.root / "job", ignore_errors=True)
            root = lay_out(args.root / "job", data, settings)
            kills = kill_and_finish(root, rng, spans)
        went_on = GOES_ON.findall((root / "log").read_text())
        jobs.append({"kills": kills, "went_on": went_on, "is_equal": digests(root) == expected})
        print(number, json.dumps(jobs[-1]), file=sys.stderr, flush=True)
    num_equal = sum(job["is_equal"] for job in jobs)
    result = {
        "benchmark": "kills",
        **where_and_when(),
        "torch": torch.__version__,
        "settings": settings,
        "seed": args.seed,
        "unbroken_s": {name: round(span, 1) for name, span in spans.items()},
        "kills": sum(len(job["kills"]) for job in jobs),
        "states_gone_on_from": sum(len(job["went_on"]) for job in jobs),
        "jobs": len(jobs),
        "equal": num_equal,
        "of_each": jobs,
        "sha256": expected,
    }
    print(json.dumps(result))
    sys.exit(num_equal < len(jobs))


def lay_out(root: Path, data: Path, settings: dict[str, Any]) -> Path:
    """A job under `root`, its training channel a link to the drawn pictures."""
    (root / "input" / "config").mkdir(parents=True)
    (root / "input" / "data").mkdir()
    (root / "input" / "data" / "training").symlink_to(data.resolve())
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    (root / "input" / "config" / "hyperparameters.json").write_text(json.dumps(texts))
    return root


def kill_and_finish(root: Path, rng: random.Random, spans: dict[str, float]) -> list[dict[str, Any]]:
    """Starts the job until it has been killed often enough, then lets it end; how it was killed."""
    kills = []
    for _ in range(rng.choice([1, 1, 2, 3])):
        number = rng.choice([signal.SIGKILL, signal.SIGTERM])
        since = rng.choice(["start", *["training"] * 4])
        after_s = round(rng.uniform(0.0, spans[since]), 3)
        log_size = (root / "log").stat().st_size if (root / "log").exists() else 0
        process = start(root)
        if since == "training":
            wait_for_training(process, root, log_size)
        if not kill(process, number, after_s):
            end(process, root)
            return kills
        kills.append({"signal": number.name, "since": since, "after_s": after_s})
    end(start(root), root)
    return kills


def start(root: Path) -> subprocess.Popen[bytes]:
    """The job, in a session of its own."""
    with (root / "log").open("a") as log:
        command = [*LESION, "train", "--root", str(root), "--no-progress"]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def wait_for_training(process: subprocess.Popen[bytes], root: Path, log_size: int) -> None:
    """Returns when the job's log says, behind the first `log_size` bytes, that training begins."""
    while process.poll() is None and BEGINS not in (root / "log").read_bytes()[log_size:].decode():
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], number: signal.Signals, after_s: float) -> bool:
    """Whether the job was still there after so long, and ended by the signal."""
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)  # the parent and the training process at once
        else:
            process.send_signal(number)
    return process.wait() in {-number, 128 + number}  # the first before Python has its handlers


def end(process: subprocess.Popen[bytes], root: Path) -> None:
    if process.wait() != 0:
        sys.exit(f"the job under {root} ended with {process.returncode}:\n{(root / 'log').read_text()[-4000:]}")


def digests(root: Path) -> dict[str, str]:
    """sha256 of each fold's weights and of oof.csv, by name."""
    files = [*sorted((root / "model").glob("*.safetensors")), root / "output" / "data" / "oof.csv"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
