"""Training log: reports the training while it runs: lines in the log, and scalars and images for TensorBoard.

Each fold is a TensorBoard run of its own, with the epoch as its step, and all out-of-fold predictions are one more. A
fold that resumes is written again from its first epoch; a finished one is not. A `TrainingLog` opens a `FoldLog`, and
that an `EpochLog`, so that calls cannot come in the wrong order.
"""

# C channels · H, W pixels · N batch · Q outputs that are judged · S samples

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.data.transforms import resize
from lesion.engine.tensorboard import EventFile
from lesion.engine.throughput import InputWait, minutes_left, slowness
from lesion.logs import scoped_logger
from lesion.metric_lines import MetricLine

log = scoped_logger(__name__, "fold")

OUT_OF_FOLD = "out_of_fold"  # the run beside fold_0, fold_1 …
NUM_PICTURES = 16
PICTURE_PX = 256  # a picture's side in the grid, at most
MAX_CURVES = 24  # precision and recall of so many classes; the picture of ROC curves has all


@dataclass(frozen=True)
class Curves:
    """The data of ROC and PR curves: names of the judged outputs, targets, and probabilities in 0 to 1.

    `draw_roc` draws the ROC curves of all outputs as one picture, uint8 RGB; None where they can't be drawn.
    """

    names: Sequence[str]
    is_SQ: NDArray[np.bool_]
    prob_SQ: NDArray[np.float32]
    draw_roc: Callable[[], Pixels | None]


@dataclass(frozen=True)
class Machine:
    """What the speed of training depends on."""

    device: torch.device
    num_workers: int
    num_cores: int


class TrainingLog:
    """The log of one process. `folds` are those it trains, in order, `num_epochs` the most of each.

    Without a `folder` nothing is written for TensorBoard. Numbers that have a line in `metric_lines` are logged so.
    Each fold asks for the `machine` that it begins on: the cores that this process has may change between two.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        folds: Sequence[int],
        num_epochs: int,
        metric_lines: Mapping[str, MetricLine],
        machine: Callable[[], Machine],
    ) -> None:
        self._folder, self._folds, self._num_epochs = folder, list(folds), num_epochs
        self._metric_lines, self._machine = metric_lines, machine

    @contextmanager
    def fold(self, fold: int, history: Sequence[Mapping[str, Any]]) -> Iterator[FoldLog]:
        """The log of a fold that starts, or resumes after the epochs of `history`."""
        with self._open(f"fold_{fold}") as run:
            for row in history:
                run.numbers("epoch", row, row["epoch"])
            epochs_after = (len(self._folds) - 1 - self._folds.index(fold)) * self._num_epochs
            yield FoldLog(fold, run, self._machine(), self._num_epochs, epochs_after)

    def out_of_fold(self, scores: Mapping[str, float], curves: Curves) -> None:
        """All folds are finished: logs `scores` and curves of all out-of-fold rows."""
        with self._open(OUT_OF_FOLD) as run:
            run.end("validation", scores, curves)

    @contextmanager
    def _open(self, name: str) -> Iterator[_Run]:
        """A run's file; none any more once the disk has refused one, so that it is said once."""
        events = EventFile(self._folder and self._folder / name)
        try:
            yield _Run(events, self._metric_lines)
        finally:
            events.close()
            if events.is_refused:
                self._folder = None


@dataclass
class FoldLog:
    """The log of one fold. `epochs_after`: the most epochs that this process trains after it."""

    fold: int
    run: _Run
    machine: Machine
    num_epochs: int
    epochs_after: int
    has_pictures: bool = False
    has_said_slow: bool = False

    def epoch(self, epoch: int) -> EpochLog:
        """The log of an epoch that starts or resumes now."""
        return EpochLog(self, epoch)

    def end(self, scores: Mapping[str, float], curves: Curves) -> None:
        """The fold is finished: logs `scores` and curves of its validation rows."""
        self.run.end("fold", scores, curves)


class EpochLog:
    """Of one epoch of a fold; its clock starts when it is made. `input_wait` is to time the training batches."""

    def __init__(self, fold_log: FoldLog, epoch: int) -> None:
        self._fold_log, self._epoch = fold_log, epoch
        self._started = time.monotonic()
        self.input_wait = InputWait(fold_log.machine.device, fold_log.machine.num_cores)

    def show(self, images_NHWC: NDArray[np.uint8]) -> None:
        """A training batch; the first that the fold shows becomes a picture in TensorBoard."""
        if not self._fold_log.has_pictures:
            self._fold_log.run.picture("training pictures", grid(images_NHWC[:NUM_PICTURES]), self._epoch)
            self._fold_log.has_pictures = True

    def speed(self, num_pictures: int) -> dict[str, float]:
        """The epoch's speed since the clock started, for so many training and validation pictures."""
        seconds = time.monotonic() - self._started
        return {"images_per_s": num_pictures / seconds, "wait_share": self.input_wait.share}

    def end(self, row: Mapping[str, Any], *, num_pictures: int, is_last: bool) -> None:
        """A line for people, one a metric for SageMaker, and one where it is slow; the same numbers for TensorBoard.

        `num_pictures` of a whole epoch, and `is_last` of its fold. The time left supposes that no fold stops early.
        """
        of, machine = self._fold_log, self._fold_log.machine
        num_left = of.epochs_after + (0 if is_last else of.num_epochs - 1 - self._epoch)
        log.info(
            "fold=%d epoch=%d lr=%.1e images_per_s=%.0f wait_share=%.2f eta_min=%.1f",
            *(row[name] for name in ("fold", "epoch", "lr", "images_per_s", "wait_share")),
            minutes_left(num_left, num_pictures=num_pictures, images_per_s=row["images_per_s"]),
        )
        of.run.lines("epoch", row)
        of.run.numbers("epoch", row, self._epoch)
        busy_share = self.input_wait.busy_share
        slow = slowness(row["wait_share"], busy_share, num_workers=machine.num_workers, num_cores=machine.num_cores)
        if slow and not of.has_said_slow:
            log.info("fold=%d %s", of.fold, slow)
            of.has_said_slow = True


class _Run:
    """One run of TensorBoard, and the lines of the log that belong to it."""

    def __init__(self, events: EventFile, metric_lines: Mapping[str, MetricLine]) -> None:
        self._events, self._metric_lines = events, metric_lines

    def numbers(self, of: str, values: Mapping[str, Any], step: int) -> None:
        """The values that have a line in the log, under its name with a slash, by which TensorBoard sorts."""
        named = {f"{of}/{name}": value for name, value in values.items() if f"{of}:{name}" in self._metric_lines}
        self._events.numbers(named, step)

    def picture(self, name: str, image_HWC: Pixels, step: int) -> None:
        self._events.picture(name, image_HWC, step)

    def lines(self, of: str, values: Mapping[str, Any]) -> None:
        """A line in the log for each value that has one."""
        for name, value in values.items():
            if (line := self._metric_lines.get(f"{of}:{name}")) is not None:
                log.info("%s", line.line(value))

    def end(self, of: str, scores: Mapping[str, float], curves: Curves) -> None:
        """The last of a run: its scores, which also go to the log, and its curves."""
        self.lines(of, scores)
        self.numbers(of, scores, 0)
        if not self._events.is_open:
            return
        for q, name in enumerate(curves.names[:MAX_CURVES]):
            is_S = curves.is_SQ[:, q]
            if is_S.any() and not is_S.all():
                self._events.precision_recall(f"precision and recall/{name}", is_S, curves.prob_SQ[:, q], 0)
        if (roc_HWC := curves.draw_roc()) is not None:
            self._events.picture("ROC", roc_HWC, 0)


def grid(images_NHWC: NDArray[np.uint8]) -> Pixels:
    """Pictures of one size, side by side in rows, as one picture."""
    side_px = min(PICTURE_PX, images_NHWC.shape[1])
    images = [resize(image_HWC, side_px) for image_HWC in images_NHWC]
    num_columns = math.ceil(math.sqrt(len(images)))
    images += [np.zeros_like(images[0])] * (-len(images) % num_columns)
    rows = [np.hstack(images[start : start + num_columns]) for start in range(0, len(images), num_columns)]
    return np.vstack(rows)
