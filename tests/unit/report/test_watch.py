"""Watch: what is said of an epoch, by a clock that only the test moves; and how pictures are laid out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lesion.algorithms.classify.algorithm import METRIC_LINES
from lesion.data.loader import Batch
from lesion.engine import pace
from lesion.report import watch as watch_module
from lesion.report.watch import Watch, grid


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
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(watch_module, "time", clock)
    return clock


@pytest.fixture
def log(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO", logger="lesion")
    return caplog


def make_watch(folder: Path, *, folds: tuple[int, ...] = (0, 1, 2), num_epochs: int = 5, num_workers: int = 2) -> Watch:
    return Watch(
        folder,
        folds=folds,
        num_epochs=num_epochs,
        num_workers=num_workers,
        num_cores=4,
        device=torch.device("cpu"),
        metric_lines=METRIC_LINES,
    )


def one_epoch(watch: Watch, clock: Clock, fold: int, epoch: int, *, wait_s: float, is_last: bool = False) -> None:
    """Ten batches of four pictures, each worked on for a second; the twenty pictures held out take ten more."""

    def batches():
        for number in range(10):
            clock.now_s += wait_s
            pictures = np.full((4, 8, 8, 3), 10 * number + epoch, np.uint8)
            yield Batch(np.arange(4), pictures, np.zeros((4, 1), np.float32), np.zeros((4, 1), np.float32))

    for _ in watch.training(batches(), epoch):
        clock.now_s += 1
    clock.now_s += 10
    row = {"fold": fold, "epoch": epoch, "lr": 2e-7, "train_loss": 0.5, **watch.speed(60)}
    watch.epoch(row, num_pictures=60, is_last=is_last)


def test_the_time_left_is_that_of_all_epochs_to_come_on_this_host(tmp_path, clock, log):
    """20 s an epoch. After one of the first fold 4 and 10 are left; after its early stop 10; after the last none."""
    watch = make_watch(tmp_path, folds=(1, 4, 7))
    watch.begin(1, [])
    one_epoch(watch, clock, 1, 0, wait_s=0)
    one_epoch(watch, clock, 1, 1, wait_s=0, is_last=True)
    watch.begin(7, [])
    one_epoch(watch, clock, 7, 4, wait_s=0)
    minutes = [float(value) for text in log.messages for value in re.findall(r"eta_min=(\S+)", text)]
    assert minutes == pytest.approx([280 / 60, 200 / 60, 0], abs=0.05)


def test_an_epochs_lines_are_one_for_people_and_one_a_metric(tmp_path, clock, log):
    watch = make_watch(tmp_path)
    watch.begin(0, [])
    one_epoch(watch, clock, 0, 0, wait_s=0)
    assert log.messages == [
        "fold=0 epoch=0 lr=2.0e-07 images_per_s=3 wait_share=0.00 eta_min=4.7",
        "metric epoch:lr=0.000000200",
        "metric epoch:train_loss=0.500000",
        "metric epoch:images_per_s=3.000000",
        "metric epoch:wait_share=0.000000",
    ]


def test_what_is_slow_is_said_once_a_fold(tmp_path, clock, log):
    """Three seconds of four are waiting, from the second epoch on."""
    watch = make_watch(tmp_path)
    for fold in (0, 1):
        watch.begin(fold, [])
        for epoch, wait_s in enumerate([0, 3, 3]):
            one_epoch(watch, clock, fold, epoch, wait_s=wait_s)
    said = log.messages
    slow = [(number, text) for number, text in enumerate(said) if "input-bound" in text]
    assert [text.partition(" of the step")[0] for _, text in slow] == [f"fold={f} input-bound: 75%" for f in (0, 1)]
    assert "num_workers is 2 and 4 cores can be used" in slow[0][1]
    assert all("epoch=1" in "".join(said[number - 5 : number]) for number, _ in slow)


def test_a_folds_first_pictures_are_shown_also_where_it_goes_on(tmp_path, clock):
    watch = make_watch(tmp_path)
    watch.begin(0, [{"fold": 0, "epoch": 0, "lr": 0.1}, {"fold": 0, "epoch": 1, "lr": 0.2}])
    one_epoch(watch, clock, 0, 2, wait_s=0)
    one_epoch(watch, clock, 0, 3, wait_s=0)
    events = EventAccumulator(str(tmp_path / "fold_0")).Reload()
    assert [(event.step, event.width, event.height) for event in events.Images("training pictures")] == [(2, 16, 16)]
    assert [event.step for event in events.Scalars("epoch/lr")] == [0, 1, 2, 3]


@pytest.mark.parametrize("num_pictures, height, width", [(1, 32, 32), (2, 32, 64), (5, 64, 96), (16, 128, 128)])
def test_pictures_are_laid_out_in_a_grid(num_pictures, height, width):
    values = 100 + np.arange(num_pictures, dtype=np.uint8)
    shown_HWC = grid(np.broadcast_to(values[:, None, None, None], (num_pictures, 32, 32, 3)))
    assert shown_HWC.shape == (height, width, 3)
    corners = shown_HWC[::32, ::32, 0].ravel().tolist()
    assert corners == values.tolist() + [0] * (len(corners) - num_pictures)


def test_large_pictures_are_made_smaller_for_the_grid():
    assert grid(np.zeros((4, 600, 600, 3), np.uint8)).shape == (512, 512, 3)
