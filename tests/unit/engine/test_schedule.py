"""Schedule: rates rise over the warm-up, and fall on plateaus or along a cosine."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lesion.engine.optim import Schedule


def schedule_of(kind: str = "plateau", *, warmup: float = 0.0, better: str = "higher", epochs: int = 4) -> Schedule:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 10.0)]
    return Schedule(
        torch.optim.SGD(groups),
        kind=kind,
        num_epochs=epochs,
        warmup_epochs=warmup,
        better=better,
        factor=0.4,
        patience=1,
    )


def rates(schedule: Schedule, epochs_done: float) -> list[float]:
    schedule.before_step(epochs_done)
    return [group["lr"] for group in schedule._optimizer.param_groups]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_rate_falls_after_more_than_patience_epochs_without_better(better):
    """Patience 1, factor 0.4: the second epoch in a row that is no better brings it down, of every group alike."""
    schedule = schedule_of(better=better, epochs=9)
    seen = []
    for epoch, value in enumerate([0.5, 0.6, 0.6, 0.55, 0.61, 0.5, 0.5]):
        schedule.after_epoch(value if better == "higher" else -value)
        seen.append(rates(schedule, epoch + 1.5))
    assert [rate for rate, _ in seen] == pytest.approx([1, 1, 1, 0.4, 0.4, 0.4, 0.16])
    assert all(fast == pytest.approx(10 * slow) for slow, fast in seen)


def test_a_cosine_goes_from_the_peak_to_nothing_and_does_not_look_at_the_metric():
    """Loshchilov & Hutter 2017, equation 5, without restarts."""
    schedule = schedule_of("cosine")
    for epochs_done in (0, 1, 2, 3, 3.9):
        assert rates(schedule, epochs_done)[0] == pytest.approx(0.5 * (1 + math.cos(math.pi * epochs_done / 4)))
        schedule.after_epoch(0.1)
    assert rates(schedule, 4)[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", ["plateau", "cosine"])
def test_the_warm_up_is_a_straight_line_to_the_peak(kind):
    schedule = schedule_of(kind, warmup=0.5)
    seen = [rates(schedule, epochs_done)[1] for epochs_done in (0, 0.125, 0.25, 0.375, 0.5)]
    assert seen == pytest.approx([0, 2.5, 5, 7.5, 10], abs=0.05) and seen[0] > 0


def test_plateaus_lower_the_peak_that_a_warm_up_rises_to():
    schedule = schedule_of(warmup=3)
    for value in (0.5, 0.5, 0.5):
        schedule.before_step(1)
        schedule.after_epoch(value)
    assert rates(schedule, 3)[0] == pytest.approx(0.4)


def test_what_was_learnt_of_the_metric_is_kept():
    first, second = schedule_of(), schedule_of()
    first.after_epoch(0.6)
    first.after_epoch(0.5)
    second.load_state_dict(first.state_dict())
    second.after_epoch(0.55)
    assert rates(second, 3)[0] == pytest.approx(0.4)
