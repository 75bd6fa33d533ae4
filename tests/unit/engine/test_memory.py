"""Memory: the batch is as large as fits with room to spare, and never outside its bounds."""

from __future__ import annotations

import pytest
import torch

from lesion.engine.memory import largest_batch


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
