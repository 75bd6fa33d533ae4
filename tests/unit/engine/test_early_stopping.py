"""Early stopping: the best epoch is the first of the best, its weights are kept, and a NaN is never better."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lesion.engine.training import EarlyStopping


def run(values: list[float], *, better: str = "higher", patience: int = 3) -> EarlyStopping:
    """Feeds a layer whose weight is the epoch's number."""
    layer, stopping = nn.Linear(1, 1), EarlyStopping(better, patience)
    for epoch, value in enumerate(values):
        layer.weight.data.fill_(epoch)
        stopping.update(epoch, value, layer)
    return stopping


def test_a_start_that_no_epoch_betters_is_kept():
    layer, stopping = nn.Linear(1, 1), EarlyStopping("higher", 2)
    for epoch, value in [(-1, 0.9), (0, 0.5), (1, 0.6)]:
        layer.weight.data.fill_(epoch)
        stopping.update(epoch, value, layer)
    assert (stopping.best_epoch, stopping.best_value, stopping.should_stop) == (
        -1,
        0.9,
        True,
    ) and stopping.best_weights["weight"].item() == -1


@pytest.mark.parametrize(
    ("values", "better", "epoch"),
    [
        ([0.1, 0.3, 0.2], "higher", 1),
        ([0.5, 0.3, 0.4], "lower", 1),
        ([0.3, 0.3, 0.3], "higher", 0),  # a tie keeps the first
        ([0.1, math.nan, 0.2], "higher", 2),
        ([0.2, math.nan, 0.1], "higher", 0),
        ([math.nan, math.nan, 0.1, 0.3], "higher", 3),  # a NaN at first stands in nobody's way
        ([math.nan, 0.3, 0.1], "lower", 2),
        ([math.nan, 0.5, math.nan], "lower", 1),
    ],
)
def test_the_best_epoch_is_the_first_of_the_best(values, better, epoch):
    stopping = run(values, better=better)
    assert stopping.best_epoch == epoch and stopping.best_value == values[epoch]
    assert stopping.best_weights["weight"].item() == epoch


def test_nothing_but_nan_keeps_the_first():
    stopping = run([math.nan, math.nan])
    assert stopping.best_epoch == 0 and stopping.epochs_since_best == 1


@given(
    values=st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1),
    better=st.sampled_from(["higher", "lower"]),
)
def test_the_best_epoch_is_what_sorting_says(values, better):
    numbers = [value for value in values if not math.isnan(value)]
    if numbers:
        assert run(values, better=better).best_epoch == values.index(
            max(numbers) if better == "higher" else min(numbers)
        )


def test_patience_counts_epochs_without_better():
    stopping = EarlyStopping("higher", 2)
    stops = []
    for epoch, value in enumerate([0.5, 0.4, 0.6, 0.6, math.nan]):
        stopping.update(epoch, value, nn.Linear(1, 1))
        stops.append(stopping.should_stop)
    assert stops == [False, False, False, False, True]


def test_kept_weights_do_not_follow_the_network():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    stopping = EarlyStopping("higher", 3)
    stopping.update(0, 0.5, network)
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.rand(4, 2))  # moves the running statistics
    for parameter in network.parameters():
        parameter.data.add_(1)
    stopping.update(1, 0.4, network)
    network.load_state_dict(stopping.best_weights)
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
