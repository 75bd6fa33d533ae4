"""Growth: what a job's memory and time do when there are more pictures, folds or epochs.

    python benchmarks/growth.py

Drawn pictures (`lesion sample-data`), a small network from noise. Memory is the training process's highest resident
set. Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ham10000 import PROJECT, where_and_when

LESION = [sys.executable, "-m", "lesion.cli"]
SETTINGS = {
    **{"model": "resnet10t", "pretrained": "false", "image_size": "96", "folds": "2", "epochs": "1", "tta": "1"},
    **{"batch_size_train": "32", "patience": "99", "precision": "fp32"},
    "on_leak": "warn",  # of many drawn pictures some are alike
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-pictures", type=int, default=300)
    parser.add_argument("--times", type=int, default=20, help="how many times as many pictures the large set has")
    parser.add_argument("--root", type=Path, default=PROJECT / "build" / "growth")
    args = parser.parse_args()
    once, twice = (args.num_pictures * times for times in (1, 2))
    jobs: list[tuple[int, dict[str, str]]] = [
        (once, {}),
        (once, {"folds": "4"}),
        (once, {"folds": "6"}),
        (once, {"epochs": "2"}),
        (once, {"epochs": "3"}),
        (twice, {}),
        (args.num_pictures * args.times, {}),
    ]
    rows = [run(args.root / f"job_{num}", args.root / f"pictures_{pictures}", pictures, settings)
            for num, (pictures, settings) in enumerate(jobs)]  # fmt: skip
    small, large = rows[0]["peak_mib"], rows[-1]["peak_mib"]
    result = {
        "benchmark": "growth",
        **where_and_when(),
        "settings": SETTINGS,
        "jobs": rows,
        "memory_ratio": round(large / small, 3),
        "mib_per_thousand_pictures": round((large - small) / (rows[-1]["num_pictures"] - once) * 1000, 1),
    }
    print(json.dumps(result))


def run(root: Path, pictures: Path, num_pictures: int, settings: dict[str, str]) -> dict[str, Any]:
    if not pictures.is_dir():
        command = [*LESION, "sample-data", str(pictures), "--num-images", str(num_pictures)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    channel = root / "input" / "data" / "training"
    channel.parent.mkdir(parents=True, exist_ok=True)
    channel.unlink(missing_ok=True)
    channel.symlink_to(pictures)
    config = root / "input" / "config" / "hyperparameters.json"
    config.parent.mkdir(exist_ok=True)
    config.write_text(json.dumps(SETTINGS | settings))
    started = time.monotonic()
    command = [*LESION, "train", "--root", str(root), "--no-progress"]
    with (root / "log").open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)  # of this job's processes, the largest
    seconds, log = time.monotonic() - started, (root / "log").read_text()
    if status:
        raise SystemExit(f"the job under {root} failed:\n{log[-2000:]}")
    training = [float(line.split("minutes=")[1]) * 60 for line in log.splitlines() if "artifact=" in line]
    row = {
        "num_pictures": num_pictures,
        **{name: int((SETTINGS | settings)[name]) for name in ("folds", "epochs")},
        "seconds": round(seconds, 1),
        "seconds_but_start": round(training[0], 1),
        "peak_mib": usage.ru_maxrss >> 10,
    }
    print(row, file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
