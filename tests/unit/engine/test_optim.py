"""Optim: Adam as its paper writes it, and each part of a network at its own rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lesion.data.transforms import Preprocess
from lesion.engine.optim import Schedule, create_optimizer
from lesion.models.fusion import create_network


def optimizer_of(weight: nn.Parameter, kind: str = "adam", **changes: float) -> torch.optim.Optimizer:
    """Of a network that is nothing but its last layer."""
    options = {"learning_rate": 0.1, "weight_decay": 0.0, "rest_factor": 1.0, "layer_decay": 1.0, **changes}
    return create_optimizer(kind, nn.Identity(), [weight], **options)


@pytest.mark.parametrize(("kind", "penalty", "decay"), [("adam", 0.0, 0.0), ("adam", 0.3, 0.0), ("adamw", 0.0, 0.3)])
def test_steps_are_as_the_papers_write_them(kind, penalty, decay):
    """Kingma & Ba 2015, algorithm 1, and Loshchilov & Hutter 2019, algorithm 2, in float64 by hand.

    Adam's decay is a part of the gradient, AdamW's is none.
    """
    weight = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.float64))
    optimizer = optimizer_of(weight, kind, weight_decay=penalty + decay)
    theta, m, v = weight.detach().numpy().copy(), np.zeros(2), np.zeros(2)
    for t in range(1, 5):
        optimizer.zero_grad()
        (weight**3).sum().backward()
        optimizer.step()
        g = 3 * theta**2 + penalty * theta
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.1 * decay * theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(weight.detach().numpy(), theta, rtol=1e-9)


def network_with_optimizer(**changes: float) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A small network with metadata."""
    network = create_network(
        "test_resnet", {}, Preprocess(32, (0.5,) * 3, (0.5,) * 3), num_metadata=2, num_outputs=1, seed=0
    )
    rest = [parameter for name, parameter in network.named_parameters() if not name.startswith("backbone.")]
    options = {"learning_rate": 0.01, "weight_decay": 0.0, "rest_factor": 1.0, "layer_decay": 1.0, **changes}
    return network, create_optimizer("adam", network.backbone, rest, **options)


def rates_of(**changes: float) -> dict[str, float]:
    """The learning rate of each parameter."""
    network, optimizer = network_with_optimizer(**changes)
    rate_of = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    return {name: rate_of[id(parameter)] for name, parameter in network.named_parameters()}


def test_each_parameter_has_a_rate_and_by_default_the_same():
    assert set(rates_of().values()) == {0.01}


def test_all_that_lies_behind_the_backbone_learns_so_many_times_as_fast():
    rates = rates_of(rest_factor=10.0)
    assert all(rate == pytest.approx(0.01 if name.startswith("backbone.") else 0.1) for name, rate in rates.items())
    assert "metadata.0.weight" in rates and "head.weight" in rates


def test_layers_learn_slower_the_earlier_they_stand():
    rates = rates_of(layer_decay=0.5)
    stem, early, late = (rates[f"backbone.{name}.weight"] for name in ("conv1.0", "layer1.0.conv1", "layer4.0.conv1"))
    assert stem < early < late <= 0.01 == rates["head.weight"]


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_the_rate_that_is_reported_is_that_of_the_backbones_last_layer(layer_decay):
    changes = {"layer_decay": layer_decay, "rest_factor": 10.0}
    schedule = Schedule(
        network_with_optimizer(**changes)[1],
        kind="cosine",
        num_epochs=4,
        warmup_epochs=0,
        better="higher",
        factor=0.4,
        patience=1,
    )
    schedule.before_step(2)  # half of the way: a cosine's half
    assert schedule.learning_rate == pytest.approx(rates_of(**changes)["backbone.layer4.0.conv1.weight"] / 2)
