"""Job: what every tool in the comparison is told, and how it answers; knows neither Lesion nor any tool.

    python TOOL.py --csv table.csv --model resnet18 --oof oof.csv   # cross-validates and prints one JSON line
    python TOOL.py --csv table.csv --model resnet18 --rounds        # measures for each line on stdin, a JSON line each

The table has the columns `path`, `target` (0 or 1) and `fold`. Whatever a tool prints goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Indices = NDArray[np.intp]
OnBatch = Callable[[int], None]  # called after each batch with its number of pictures
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # mean and deviation that most of timm's weights expect

STARTED = time.monotonic()  # this is imported first: what follows includes the import of a tool's libraries


@dataclass(frozen=True)
class Job:
    """One comparison's terms, the same for all."""

    csv: Path
    num_folds: int
    epochs: int
    image_size: int
    batch_size: int
    learning_rate: float
    model: str
    model_args: dict[str, Any]
    weights: Path | None  # safetensors; None starts from noise
    mean: list[float]
    std: list[float]
    bf16: bool
    seed: int
    num_timed: int  # steps a measurement counts, after NUM_WARM that it does not

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.csv)

    def splits(self) -> Iterator[tuple[int, Indices, Indices]]:
        """Each fold with the rows that are trained on and those held out, as positions in the table."""
        fold_S = self.table()["fold"].to_numpy()
        for fold in range(self.num_folds):
            yield fold, np.flatnonzero(fold_S != fold), np.flatnonzero(fold_S == fold)

    def timm_args(self) -> dict[str, Any]:
        """What `timm.create_model` is given beside the name: the starting weights, and what they expect."""
        if self.weights is None:
            return {"pretrained": False, **self.model_args}
        overlay = {"file": str(self.weights), "mean": tuple(self.mean), "std": tuple(self.std)}
        return {"pretrained": True, "pretrained_cfg_overlay": overlay, **self.model_args}


@dataclass
class Phases:
    """Minutes by what they were spent on."""

    minutes: dict[str, float] = field(default_factory=dict)
    num_pictures: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str, num_pictures: int = 0) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.minutes[name] = self.minutes.get(name, 0.0) + (time.monotonic() - started) / 60
            self.num_pictures[name] = self.num_pictures.get(name, 0) + num_pictures

    def images_per_s(self) -> dict[str, float]:
        return {name: number / self.minutes[name] / 60 for name, number in self.num_pictures.items() if number}


class Tool(Protocol):
    """A way to train. A tool that only answers some of the questions raises for the others."""

    def cross_validate(self, phases: Phases) -> NDArray[np.float64]:
        """The probability of a yes for each row of the table [S], by the network that had not seen it."""
        ...

    def measurements(self) -> dict[str, Callable[[], float]]:
        """Images/s by what they are of, each measured anew when it is called."""
        ...


def read_job(doc: str | None) -> tuple[Job, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, required=True, help="table with path, target and fold")
    parser.add_argument("--folds", type=int, default=5, dest="num_folds")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--model", required=True, help="one of timm's names")
    parser.add_argument("--model-args", type=json.loads, default={}, metavar="JSON", help="handed to timm beside it")
    parser.add_argument("--weights", type=Path, help="safetensors file to start from; else from noise")
    parser.add_argument("--mean", type=float, nargs=3, default=IMAGENET[0])
    parser.add_argument("--std", type=float, nargs=3, default=IMAGENET[1])
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast in channels-last, where the tool can")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-timed", type=int, default=8, help="training steps of a measurement")
    parser.add_argument("--rounds", action="store_true", help="measure once for each line on stdin")
    parser.add_argument("--oof", type=Path, help="where the table with its out-of-fold probabilities goes")
    args = parser.parse_args()
    fields = {name: value for name, value in vars(args).items() if name in Job.__dataclass_fields__}
    return Job(**fields), args


def run(tool: Tool, job: Job, args: argparse.Namespace) -> None:
    if args.rounds:
        measure_on_demand(tool.measurements())
        return
    phases = Phases({"start": (time.monotonic() - STARTED) / 60})
    with answers() as answer:
        prob_S = tool.cross_validate(phases)
        table = job.table().assign(prob=prob_S)
        if args.oof is not None:
            table.to_csv(args.oof, index=False)
        answer(
            {
                "roc_auc": roc_auc(table),
                "minutes": (time.monotonic() - STARTED) / 60,
                "minutes_of": phases.minutes,
                "images_per_s": phases.images_per_s(),
            }
        )


def measure_on_demand(measurements: dict[str, Callable[[], float]]) -> None:
    """One line that says ready, then for each line on stdin all the measurements."""
    names = list(measurements)
    with answers() as answer:
        answer({"ready": True})
        for _ in sys.stdin:
            answer({name: measurements[name]() for name in names})
            names.reverse()  # a machine that slows down does not slow the same one each time


@contextmanager
def answers() -> Iterator[Callable[[dict[str, Any]], None]]:
    """Inside, stdout is for what is answered with alone; whatever else is printed goes to stderr."""
    own, sys.stdout = sys.stdout, sys.stderr
    try:
        yield lambda values: print(json.dumps(values), file=own, flush=True)
    finally:
        sys.stdout = own


def roc_auc(table: pd.DataFrame) -> float:
    """Of all out-of-fold probabilities together."""
    from sklearn.metrics import roc_auc_score

    held = table[table["prob"].notna()]
    return float(roc_auc_score(held["target"], held["prob"]))


NUM_WARM = 3  # steps not counted: buffers are laid out, and batches read ahead are used up
NUM_AHEAD = 5  # batches that an epoch must hold beyond the steps that are counted, so that reading ahead goes on


class Meter:
    """Images/s of a stream of batches from the end of the last warm one to the last of all."""

    def __init__(self, *, num_warm: int, num_timed: int | None = None) -> None:
        self._num_warm, self._num_timed = num_warm, num_timed
        self._num_batches = self._num_pictures = 0
        self._started = self._ended = time.perf_counter()

    def __call__(self, num_pictures: int) -> None:
        self._num_batches += 1
        if self._num_timed is not None and self._num_batches in {self._num_warm, self._num_warm + self._num_timed}:
            wait_for_device()
        self._ended = time.perf_counter()
        if self._num_batches == self._num_warm:
            self._started = self._ended
        elif self._num_batches > self._num_warm:
            self._num_pictures += num_pictures

    @property
    def images_per_s(self) -> float:
        return self._num_pictures / (self._ended - self._started)


def rate_of_pass(stream: Callable[[OnBatch], None]) -> float:
    """Images/s of a function that calls back once with 0 before it begins, then after each of its batches."""
    meter = Meter(num_warm=1)
    stream(meter)
    return meter.images_per_s


def rate_of_steps(stream: Callable[[OnBatch], None], num_timed: int) -> float:
    """Images/s of a function that calls back after each of its NUM_WARM + `num_timed` steps."""
    meter = Meter(num_warm=NUM_WARM, num_timed=num_timed)
    stream(meter)
    return meter.images_per_s


def wait_for_device() -> None:
    """A GPU's steps are only queued when they return."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
