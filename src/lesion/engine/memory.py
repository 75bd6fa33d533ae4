"""Memory: how many pictures a training step may hold on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import torch

SMALLEST, LARGEST = 8, 1024


def largest_batch(try_step: Callable[[int], object]) -> int:
    """The largest power of two, from SMALLEST to LARGEST, of which `try_step` bears a quarter more.

    `try_step` is one whole step of training with so many pictures, and raises torch.OutOfMemoryError where they are too
    many; the quarter is for what the allocator cannot use. If even the smallest is too many, it is what is returned,
    and training says so.
    """
    size = SMALLEST
    while size < LARGEST:
        try:
            try_step(2 * size * 5 // 4)
        except torch.OutOfMemoryError:
            break
        size *= 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size
