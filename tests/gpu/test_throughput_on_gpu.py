"""Pace on a GPU: it is waited for a batch only while the device has nothing to do."""

from __future__ import annotations

import time

import pytest
import torch

from lesion.engine.throughput import InputWait


@pytest.mark.parametrize("cycles, is_waited_for", [(500_000_000, False), (0, True)])  # a quarter of a second at 2 GHz
def test_a_batch_that_comes_while_the_gpu_is_at_work_was_not_waited_for(gpu, cycles, is_waited_for):
    def batches():
        for number in range(10):
            time.sleep(0.05)
            yield number

    input_wait = InputWait(gpu, num_cores=1)
    for _ in input_wait.over(batches()):
        if cycles:
            torch.cuda._sleep(cycles)  # comes back at once; the device is busy
    assert (input_wait.share > 0.5) == is_waited_for
