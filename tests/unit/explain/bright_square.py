"""Bright square: pictures in which one corner holds all there is to see, and networks that have learnt to see it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from lesion.data.transforms import Preprocess
from lesion.models.fusion import FusionNet, create_network

SIDE = 64
SQUARE = 24


def draw(seed: int, *, is_positive: bool) -> tuple[NDArray[np.uint8], tuple[slice, slice]]:
    """Noise with a bright (positive) or dark square in one of the corners, and where that is."""
    rng = np.random.default_rng(seed)
    image_HWC = rng.normal(110, 25, (SIDE, SIDE, 3))
    top, left = (int(place) * (SIDE - SQUARE) for place in rng.integers(0, 2, 2))
    where = (slice(top, top + SQUARE), slice(left, left + SQUARE))
    image_HWC[where] += 100 if is_positive else -70
    return np.clip(image_HWC, 0, 255).astype(np.uint8), where


@cache
def trained(name: str, *, num_steps: int, learning_rate: float = 2e-3) -> FusionNet:
    """timm's network of that name after some steps on such pictures, in eval mode."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches this small are slower on several
    network = untrained(name, seed=0)
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate)
    targets_N1 = torch.tensor([[1.0], [0.0]]).repeat(8, 1)
    for step in range(num_steps):
        images = [draw(16 * step + number, is_positive=number % 2 == 0)[0] for number in range(16)]
        logits_N1 = network(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.zeros(16, 0))
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(logits_N1, targets_N1).backward()
        optimizer.step()
    torch.set_num_threads(num_threads)
    return network.eval()


def untrained(name: str, *, seed: int) -> FusionNet:
    """The same network with random weights, in eval mode."""
    args = {"img_size": SIDE} if "vit" in name else {}
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return create_network(name, args, preprocess, num_metadata=0, num_outputs=1, seed=seed).eval()
