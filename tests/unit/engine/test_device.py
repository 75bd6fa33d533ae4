"""Device: what was asked for, or words."""

from __future__ import annotations

import pytest
import torch

from lesion.engine.device import limit_threads, pick_device
from lesion.errors import UserError


def test_the_cpu_can_always_be_asked_for():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_what_there_is():
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(UserError, match=r"device=cuda, and no GPU.*device=auto"):
        pick_device("cuda")


def test_torch_is_held_to_the_cores_given():
    before = torch.get_num_threads()
    try:
        limit_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
