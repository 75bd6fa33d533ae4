"""Device: a GPU where there is one, bf16 where the device computes in it, and the largest batch that fits."""

from __future__ import annotations

import copy

import pytest
import timm
import torch

from lesion.engine.device import (
    autocast,
    keep_slow_convolutions_in_fp32,
    largest_batch,
    limit_threads,
    pick_device,
    pick_precision,
)
from lesion.environment import cpu_is_faster_in_bf16
from lesion.errors import UserError

CPU = torch.device("cpu")
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


@WITHOUT_GPU
def test_auto_takes_the_cpu_where_no_gpu_is_found_and_says_so(caplog):
    assert pick_device("auto") == CPU
    [record] = caplog.records
    assert record.levelname == "WARNING" and "no GPU found: using the CPU" in record.message


@WITHOUT_GPU
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"device=cuda, but no GPU.*device=auto"):
        pick_device("cuda")


def test_torch_is_held_to_the_cores_given():
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


# Precision


def test_auto_is_bf16_where_the_processor_is_faster_in_it():
    assert pick_precision("auto", CPU) == ("bf16" if cpu_is_faster_in_bf16() else "fp32")


def test_bf16_that_a_processor_does_not_gain_from_is_computed_with_a_warning(caplog):
    assert pick_precision("bf16", CPU) == "bf16"
    warned = [record.message for record in caplog.records]
    assert warned == ([] if cpu_is_faster_in_bf16() else ["precision=bf16 is slower than fp32 on this cpu"])


def test_a_prepared_network_answers_as_before_and_so_does_its_copy():
    """An average of weights is a copy: its convolutions must be its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("efficientnet_b0", num_classes=1).eval()
    plain = copy.deepcopy(network)
    keep_slow_convolutions_in_fp32(network, "bf16", CPU)
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
    keep_slow_convolutions_in_fp32(network, "bf16", CPU)
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


# The largest batch


@pytest.mark.parametrize(("room", "size"), [(0, 8), (19, 8), (20, 16), (100, 64), (159, 64), (160, 128), (10**9, 1024)])
def test_the_batch_fits_with_a_quarter_to_spare(room, size):
    tried = []

    def try_step(num_pictures: int) -> None:
        tried.append(num_pictures)
        if num_pictures > room:
            raise torch.OutOfMemoryError

    assert largest_batch(try_step) == size
    assert tried == sorted(tried)  # the first that fails is the last


def test_another_error_is_not_taken_for_a_want_of_memory():
    def try_step(_: int) -> None:
        raise RuntimeError("a network that does not take pictures of this size")

    with pytest.raises(RuntimeError, match="does not take"):
        largest_batch(try_step)
