"""Watch: what can be seen of a training while it runs: lines in the log, and TensorBoard's numbers and pictures.

Each fold is a run of its own, with the epoch as its step, and all out-of-fold predictions are one more. A fold that
goes on after a stop is told again from its first epoch; one that was finished is not.
"""

# N batch · C channels · H, W pixels · K outputs · Q outputs that are judged · S samples

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lesion.data.images import Pixels
from lesion.data.loader import Batch
from lesion.data.transforms import resize
from lesion.engine.pace import Waiting, minutes_left, slowness
from lesion.metric_lines import MetricLine
from lesion.report.events import EventFile
from lesion.report.figure import draw_roc, try_to_draw
from lesion.targets import Target

log = logging.getLogger(__name__)

OUT_OF_FOLD = "out_of_fold"  # the run beside fold_0, fold_1 …
NUM_PICTURES = 16
PICTURE_PX = 256  # a picture's side in the grid, at most
MAX_CURVES = 24  # precision and recall of so many classes; the picture of ROC curves has all


class Watch:
    """One process's training, watched. `folds` are those it trains, in their order, `num_epochs` the most of each.

    Without a `folder` only the log is told.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        folds: Sequence[int],
        num_epochs: int,
        num_workers: int,
        num_cores: int,
        device: torch.device,
        metric_lines: Mapping[str, MetricLine],
    ) -> None:
        self._folder, self._folds, self._num_epochs = folder, list(folds), num_epochs
        self._num_workers, self._num_cores, self._device = num_workers, num_cores, device
        self._metric_lines = metric_lines
        self._events = EventFile(None)  # of the fold in work

    def begin(self, fold: int, history: Sequence[Mapping[str, Any]]) -> None:
        """A fold starts, or goes on after the epochs of `history`."""
        self._events = self._open(f"fold_{fold}")
        self._has_pictures = self._has_said_slow = False
        for row in history:
            self._events.numbers(self._reported("epoch", row), row["epoch"])

    def training(self, batches: Iterable[Batch], epoch: int) -> Iterator[Batch]:
        """The same batches, an epoch's. The fold's first are shown as pictures, and the clock starts."""
        self._started = time.monotonic()
        self._waiting = Waiting(self._device, self._num_cores)
        for batch in self._waiting.over(batches):
            if not self._has_pictures:
                self._events.picture("training pictures", grid(batch.images_NHWC[:NUM_PICTURES]), epoch)
                self._has_pictures = True
            yield batch

    def speed(self, num_pictures: int) -> dict[str, float]:
        """Since the clock started, for an epoch's row: so many pictures were trained on or judged."""
        seconds = time.monotonic() - self._started
        return {"images_per_s": num_pictures / seconds, "wait_share": self._waiting.share}

    def epoch(self, row: Mapping[str, Any], *, num_pictures: int, is_last: bool) -> None:
        """A line for people, one a metric for SageMaker, and one where it is slow; the same numbers as points.

        `num_pictures` of a whole epoch, and `is_last` of its fold. The time left supposes that no fold stops early.
        """
        num_after = len(self._folds) - 1 - self._folds.index(row["fold"])
        num_left = num_after * self._num_epochs + (0 if is_last else self._num_epochs - 1 - row["epoch"])
        log.info(
            "fold=%d epoch=%d lr=%.1e images_per_s=%.0f wait_share=%.2f eta_min=%.1f",
            *(row[name] for name in ("fold", "epoch", "lr", "images_per_s", "wait_share")),
            minutes_left(num_left, num_pictures=num_pictures, images_per_s=row["images_per_s"]),
        )
        self._log("epoch", row)
        self._events.numbers(self._reported("epoch", row), row["epoch"])
        slow = slowness(
            row["wait_share"], self._waiting.busy_share, num_workers=self._num_workers, num_cores=self._num_cores
        )
        if slow and not self._has_said_slow:
            log.info("fold=%d %s", row["fold"], slow)
            self._has_said_slow = True

    def end(
        self,
        target: Target,
        targets_SK: NDArray[np.float32],
        probs_SK: NDArray[np.float32],
        scores: Mapping[str, float],
    ) -> None:
        """A fold is finished: `scores` and curves of the rows that it held out."""
        self._tell_end(self._events, "fold", target=target, targets_SK=targets_SK, probs_SK=probs_SK, scores=scores)

    def whole(
        self,
        target: Target,
        targets_SK: NDArray[np.float32],
        probs_SK: NDArray[np.float32],
        scores: Mapping[str, float],
    ) -> None:
        """All folds of all hosts are finished: the same of every row that was held out."""
        events = self._open(OUT_OF_FOLD)
        self._tell_end(events, "validation", target=target, targets_SK=targets_SK, probs_SK=probs_SK, scores=scores)

    def _open(self, run: str) -> EventFile:
        """A run's events; of none any more once a disk has refused, so that it is said once."""
        if self._events.is_refused:
            self._folder = None
        return EventFile(self._folder and self._folder / run)

    def _tell_end(
        self,
        events: EventFile,
        word: str,
        *,
        target: Target,
        targets_SK: NDArray[np.float32],
        probs_SK: NDArray[np.float32],
        scores: Mapping[str, float],
    ) -> None:
        """The last of a run: its scores under `word`, which also go to the log, and its curves."""
        self._log(word, scores)
        events.numbers(self._reported(word, scores), 0)
        _show_curves(events, target, targets_SK, probs_SK)
        events.close()

    def _reported(self, of: str, values: Mapping[str, Any]) -> dict[str, float]:
        """The values that have a line in the log, under its name with a slash, by which TensorBoard sorts."""
        return {f"{of}/{name}": value for name, value in values.items() if f"{of}:{name}" in self._metric_lines}

    def _log(self, of: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            if f"{of}:{name}" in self._metric_lines:
                log.info(self._metric_lines[f"{of}:{name}"].line(value))


def grid(images_NHWC: NDArray[np.uint8]) -> Pixels:
    """Pictures of one size, side by side in rows, as one picture."""
    side_px = min(PICTURE_PX, images_NHWC.shape[1])
    images = [resize(image_HWC, side_px) for image_HWC in images_NHWC]
    num_columns = math.ceil(math.sqrt(len(images)))
    images += [np.zeros_like(images[0])] * (-len(images) % num_columns)
    rows = [np.hstack(images[start : start + num_columns]) for start in range(0, len(images), num_columns)]
    return np.vstack(rows)


def _show_curves(
    events: EventFile, target: Target, targets_SK: NDArray[np.float32], probs_SK: NDArray[np.float32]
) -> None:
    names = target.answer_names[1:] if target.is_yes_no else target.class_names
    is_SQ, prob_SQ = target.asked(targets_SK) == 1, target.asked(probs_SK)
    for q, name in enumerate(names[:MAX_CURVES]):
        if is_SQ[:, q].any() and not is_SQ[:, q].all():
            events.precision_recall(f"precision and recall/{name}", is_SQ[:, q], prob_SQ[:, q], 0)
    roc_HWC = try_to_draw("the ROC curves for TensorBoard", lambda: draw_roc(target, targets_SK, probs_SK))
    if roc_HWC is not None:
        events.picture("ROC", roc_HWC, 0)
