"""Precision: bf16 where it is asked for or the machine has it, and the convolutions that it slows down left out."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch

from lesion.engine.precision import autocast, has_bf16, pick_precision, prepare_network

CPU = torch.device("cpu")


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_what_is_wanted_is_taken(wanted):
    assert pick_precision(wanted, CPU) == wanted


def test_auto_asks_the_processor():
    """Linux's own word for the instructions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    assert has_bf16(CPU) == ("avx512_bf16" in flags or "amx_tile" in flags)
    assert pick_precision("auto", CPU) == ("bf16" if has_bf16(CPU) else "fp32")


def test_a_prepared_network_answers_as_before_and_so_does_its_copy():
    """An average of weights is a copy: its convolutions must be its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("efficientnet_b0", num_classes=1).eval()
    plain = copy.deepcopy(network)
    prepare_network(network, "bf16", CPU)
    twin = copy.deepcopy(network)
    pictures_NCHW = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(pictures_NCHW), plain(pictures_NCHW))
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
        assert twin(pictures_NCHW).abs().max() == 0 and torch.equal(network(pictures_NCHW), plain(pictures_NCHW))
    assert network.state_dict().keys() == plain.state_dict().keys()


def test_slow_convolutions_are_computed_in_fp32_and_the_others_are_not(monkeypatch):
    network = timm.create_model("efficientnet_b0", num_classes=1).eval()
    prepare_network(network, "bf16", CPU)
    seen = {}
    original = torch.nn.functional.conv2d

    def watched(images, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        strides = stride if isinstance(stride, tuple) else (stride, stride)
        kind = (groups > 1, weight.shape[-1], strides[0])
        seen[kind] = torch.is_autocast_enabled("cpu")
        return original(images, weight, bias, stride, padding, dilation, groups)

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched)
    with torch.inference_mode(), autocast("bf16", CPU):
        network(torch.rand(1, 3, 64, 64))
    assert seen[(False, 1, 1)] and seen[(True, 3, 1)]  # pointwise, and depthwise 3×3
    assert not seen[(True, 3, 2)] and not seen[(True, 5, 1)] and not seen[(True, 5, 2)]
