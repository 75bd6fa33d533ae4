"""Training log: what is said of an epoch, by a clock that only the test moves; and how pictures are laid out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.data.decode.images import Pixels
from lesion.engine import throughput, training_log
from lesion.engine.training_log import Curves, FoldLog, Machine, TrainingLog, grid


class Clock:
    """Stands in for the time module."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return 0.0  # no core is ever busy


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    monkeypatch.setattr(training_log, "time", clock)
    return clock


@pytest.fixture
def log(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="lesion")
    return caplog


def log_of(
    folder: Path | None, *, folds: tuple[int, ...] = (0, 1, 2), num_epochs: int = 5, num_workers: int = 2
) -> TrainingLog:
    def machine() -> Machine:
        return Machine(torch.device("cpu"), num_workers, num_cores=4)

    return TrainingLog(folder, folds=folds, num_epochs=num_epochs, metric_lines=METRIC_LINES, machine=machine)


def one_epoch(of: FoldLog, clock: Clock, epoch: int, *, wait_s: float, is_last: bool = False) -> None:
    """Ten batches of four pictures, each worked on for a second; the twenty pictures held out take ten more."""

    def batches():
        for number in range(10):
            clock.now_s += wait_s
            yield np.full((4, 8, 8, 3), 10 * number + epoch, np.uint8)

    epoch_log = of.epoch(epoch)
    for images_NHWC in epoch_log.input_wait.over(batches()):
        clock.now_s += 1
        epoch_log.show(images_NHWC)
    clock.now_s += 10
    row = {"fold": of.fold, "epoch": epoch, "lr": 2e-7, "train_loss": 0.5, **epoch_log.speed(60)}
    epoch_log.end(row, num_pictures=60, is_last=is_last)


def curves(draw_roc: Callable[[], Pixels | None]) -> Curves:
    """Four rows of two outputs, the second of which is never true."""
    is_SQ = np.array([[True, False], [False, False], [True, False], [False, False]])
    return Curves(["nevus", "melanoma"], is_SQ, np.full((4, 2), 0.5, np.float32), draw_roc)


def test_the_time_left_is_that_of_all_epochs_to_come_on_this_host(tmp_path, clock, log):
    """20 s an epoch. After one of the first fold 4 and 10 are left; after its early stop 10; after the last none."""
    of_job = log_of(tmp_path, folds=(1, 4, 7))
    with of_job.fold(1, []) as of_fold:
        one_epoch(of_fold, clock, 0, wait_s=0)
        one_epoch(of_fold, clock, 1, wait_s=0, is_last=True)
    with of_job.fold(7, []) as of_fold:
        one_epoch(of_fold, clock, 4, wait_s=0)
    minutes = [float(value) for text in log.messages for value in re.findall(r"eta_min=(\S+)", text)]
    assert minutes == pytest.approx([280 / 60, 200 / 60, 0], abs=0.05)


def test_an_epochs_lines_are_one_for_people_and_one_a_metric(tmp_path, clock, log):
    with log_of(tmp_path).fold(0, []) as of_fold:
        one_epoch(of_fold, clock, 0, wait_s=0)
    assert log.messages == [
        "fold=0 epoch=0 lr=2.0e-07 images_per_s=3 wait_share=0.00 eta_min=4.7",
        "metric epoch:lr=0.000000200",
        "metric epoch:train_loss=0.500000",
        "metric epoch:images_per_s=3.000000",
        "metric epoch:wait_share=0.000000",
    ]


def test_what_is_slow_is_said_once_a_fold(tmp_path, clock, log):
    """Three seconds of four are waiting, from the second epoch on."""
    of_job = log_of(tmp_path)
    for fold in (0, 1):
        with of_job.fold(fold, []) as of_fold:
            for epoch, wait_s in enumerate([0, 3, 3]):
                one_epoch(of_fold, clock, epoch, wait_s=wait_s)
    said = log.messages
    slow = [(number, text) for number, text in enumerate(said) if "input-bound" in text]
    assert [text.partition(" of each step")[0] for _, text in slow] == [f"fold={f} input-bound: 75%" for f in (0, 1)]
    assert "num_workers is 2, but 4 cores are available" in slow[0][1]
    assert all("epoch=1" in "".join(said[number - 5 : number]) for number, _ in slow)


def test_a_folds_first_pictures_are_shown_also_where_it_resumes(tmp_path, clock):
    history = [{"fold": 0, "epoch": 0, "lr": 0.1}, {"fold": 0, "epoch": 1, "lr": 0.2}]
    with log_of(tmp_path).fold(0, history) as of_fold:
        one_epoch(of_fold, clock, 2, wait_s=0)
        one_epoch(of_fold, clock, 3, wait_s=0)
    events = EventAccumulator(str(tmp_path / "fold_0")).Reload()
    assert [(event.step, event.width, event.height) for event in events.Images("training pictures")] == [(2, 16, 16)]
    assert [event.step for event in events.Scalars("epoch/lr")] == [0, 1, 2, 3]


def test_a_run_ends_with_its_scores_and_the_curves_of_outputs_that_have_both_answers(tmp_path, log):
    of_job, scores = log_of(tmp_path), {"roc_auc": 0.75, "not a metric": 1.0}
    with of_job.fold(0, []) as of_fold:
        of_fold.end(scores, curves(lambda: np.zeros((6, 8, 3), np.uint8)))
    of_job.out_of_fold(scores, curves(lambda: None))  # no picture, as where matplotlib fails
    assert log.messages == ["metric fold:roc_auc=0.750000", "metric validation:roc_auc=0.750000"]
    fold, whole = (EventAccumulator(str(tmp_path / name)).Reload() for name in ("fold_0", "out_of_fold"))
    assert fold.Tags()["tensors"] == whole.Tags()["tensors"] == ["precision and recall/nevus"]
    assert fold.Tags()["scalars"] == ["fold/roc_auc"] and whole.Tags()["scalars"] == ["validation/roc_auc"]
    assert [(event.width, event.height) for event in fold.Images("ROC")] == [(8, 6)] and not whole.Tags()["images"]


def test_nothing_is_drawn_where_nothing_is_written_for_tensorboard():
    def draw() -> Pixels:
        raise AssertionError("drawn")

    with log_of(None).fold(0, []) as of_fold:
        of_fold.end({}, curves(draw))


def test_a_disk_that_refuses_a_fold_is_not_asked_for_the_next(tmp_path, caplog):
    (tmp_path / "fold_0").write_text("in the way")
    of_job = log_of(tmp_path)
    for fold in (0, 1):
        with of_job.fold(fold, []) as of_fold:
            of_fold.end({}, curves(lambda: None))
    assert len(caplog.messages) == 1 and not (tmp_path / "fold_1").exists()


@pytest.mark.parametrize("num_pictures, height, width", [(1, 32, 32), (2, 32, 64), (5, 64, 96), (16, 128, 128)])
def test_pictures_are_laid_out_in_a_grid(num_pictures, height, width):
    values = 100 + np.arange(num_pictures, dtype=np.uint8)
    shown_HWC = grid(np.broadcast_to(values[:, None, None, None], (num_pictures, 32, 32, 3)))
    assert shown_HWC.shape == (height, width, 3)
    corners = shown_HWC[::32, ::32, 0].ravel().tolist()
    assert corners == values.tolist() + [0] * (len(corners) - num_pictures)


def test_large_pictures_are_made_smaller_for_the_grid():
    assert grid(np.zeros((4, 600, 600, 3), np.uint8)).shape == (512, 512, 3)
