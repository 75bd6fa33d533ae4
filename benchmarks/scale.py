"""Scale: a whole job on as many tiles as PatchCamelyon has, or a part of them: time of each step, and memory.

    python benchmarks/scale.py --num-tiles 20480 81920                 # or 327680: an hour of two cores, 18 GB of disk
    python benchmarks/scale.py --form files --num-tiles 400000         # JPEGs in one folder, and a table of them

96 px tiles, each a mixture of three real ones, turned, of 400 slides: an HDF5 file as PatchCamelyon's, or a JPEG each
(of two, each would be half the same as hundreds of others, as tiles of no real set are). A
very small network from noise, so that what is measured is all that lies around it: check with the search for copies,
cache, an epoch, results and report; then `lesion predict` of the same rows. Memory is the largest resident set of a
process. Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from ham10000 import PROJECT, SHARED, where_and_when
from numpy.typing import NDArray
from train import machine

SETTINGS = {
    **{"model": "test_resnet", "pretrained": False, "image_size": 96, "epochs": 1, "folds": 2, "tta": 1},
    **{"processes": 1, "on_leak": "warn", "find_copies": True},
}
NUM_SLIDES = 400
BLOCK = 1024  # tiles that are written at once
STEPS = {  # what a line of the log says has ended
    "check and cache": "cache=on",
    "two folds, an epoch each": "step=decide",
    "evaluation": "step=evaluate",
    "graph": "graph: largest",
    "familiarity, comparison, reference": "step=reference",
    "report": "step=report",
    "maps and the end": "artifact=",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--form", choices=("hdf5", "files"), default="hdf5", help="one HDF5 file, or a JPEG each")
    parser.add_argument("--num-tiles", type=int, nargs="+", default=[20_480, 81_920])
    args = parser.parse_args()
    write = {"hdf5": write_hdf5, "files": write_files}[args.form]
    rows = []
    for num_tiles in args.num_tiles:
        root = PROJECT / "build" / "scale" / f"{args.form}_{num_tiles}"
        shutil.rmtree(root, ignore_errors=True)
        folder = root / "input" / "data" / "training"
        folder.mkdir(parents=True)
        write(folder, num_tiles)
        rows.append({"form": args.form, "num_tiles": num_tiles, **train(root), "predict": predict(root)})
        shutil.rmtree(root)
        print(rows[-1], file=sys.stderr, flush=True)
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({"benchmark": "scale", **where_and_when(), "machine": machine(), "load": load, "jobs": rows}))


def tiles(num_tiles: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Blocks of pictures and their labels."""
    with h5py.File(SHARED / "ucsb_breast" / "tiles96" / "pcam_like_x.h5") as file:
        real = file["x"][:]
    mean = real.mean(axis=(0, 1, 2))
    rng = np.random.default_rng(0)
    for start in range(0, num_tiles, BLOCK):
        num = min(BLOCK, num_tiles - start)
        shares = rng.uniform(0.5, 1, (3, num, 1, 1, 1))
        shares /= np.linalg.norm(shares, axis=0)  # so that the contrast stays
        mixed = mean + sum(
            share * (np.rot90(real[rng.integers(0, len(real), num)], rng.integers(0, 4), (1, 2)) - mean)
            for share in shares
        )
        yield mixed.round().clip(0, 255).astype(np.uint8), rng.integers(0, 2, num).astype(np.uint8)


def write_hdf5(folder: Path, num_tiles: int) -> None:
    """x, y and meta in PatchCamelyon's form."""
    name = "camelyonpatch_level_2_split_train"
    labels = []
    with h5py.File(folder / f"{name}_x.h5", "w") as file:
        written = file.create_dataset("x", (num_tiles, 96, 96, 3), "uint8", chunks=(1, 96, 96, 3))
        for start, (pictures, block_labels) in zip(range(0, num_tiles, BLOCK), tiles(num_tiles), strict=True):
            written[start : start + len(pictures)] = pictures
            labels.append(block_labels)
    with h5py.File(folder / f"{name}_y.h5", "w") as file:
        file["y"] = np.concatenate(labels).reshape(-1, 1, 1, 1)
    slides = "\n".join(f"{row},slide_{row % NUM_SLIDES}" for row in range(num_tiles))
    (folder / f"{name}_meta.csv").write_text(f",wsi\n{slides}\n")


def write_files(folder: Path, num_tiles: int) -> None:
    """A JPEG of each tile, all in one folder, and a table with its slide and label."""
    with (folder / "train.csv").open("w") as table:
        table.write("image_name,patient_id,target\n")
        row = 0
        for pictures, labels in tiles(num_tiles):
            for picture, label in zip(pictures, labels, strict=True):
                cv2.imwrite(str(folder / f"tile_{row}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
                table.write(f"tile_{row},slide_{row % NUM_SLIDES},{label}\n")
                row += 1


def train(root: Path) -> dict[str, Any]:
    """Seconds of each step by the log, and the largest resident set."""
    config = root / "input" / "config" / "hyperparameters.json"
    config.parent.mkdir(parents=True)
    config.write_text(
        json.dumps({name: json.dumps(value) if name != "model" else value for name, value in SETTINGS.items()})
    )
    clock = datetime.now().astimezone().timestamp()
    spent, log = command(root, "train", "--root", str(root), "--no-progress")
    seconds, last = {}, clock
    for step, words in STEPS.items():
        if (found := re.search(rf"^(\S+Z) .*{re.escape(words)}", log, re.MULTILINE)) is not None:
            ended = datetime.fromisoformat(found[1]).timestamp()
            seconds[step], last = round(ended - last), ended
    copies = re.search(r"copies=\d+ pictures=\d+ seconds=([0-9.]+)", log)
    return {
        **spent,
        "seconds_of_steps": seconds,
        "seconds_of_the_search_for_copies": None if copies is None else float(copies[1]),
    }


def predict(root: Path) -> dict[str, Any]:
    """The training set once more, by the artifact."""
    output = root / "predictions.csv"
    data, model = root / "input" / "data" / "training", root / "model"
    spent, _ = command(root, "predict", str(data), "--model", str(model), "--output", str(output), "--no-progress")
    return spent


def command(root: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """Seconds, CPU seconds and the largest resident set of a command, and its log. Raises SystemExit if it fails."""
    started = time.monotonic()
    with (root / "log").open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "lesion.cli", *arguments], stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)
    log = (root / "log").read_text()
    if status:
        raise SystemExit(f"lesion {' '.join(arguments)} failed:\n{log[-2000:]}")
    return {
        "seconds": round(time.monotonic() - started),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime),
        "peak_mib": usage.ru_maxrss >> 10,
    }, log


if __name__ == "__main__":
    main()
