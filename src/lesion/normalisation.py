"""Normalisation: which mean and deviation the colours of images can have. Hyperparameters and artifacts ask here."""

from __future__ import annotations

from collections.abc import Sequence

SMALLEST_STD = 1e-6  # below it colours become numbers that no network can use


def refuse_impossible_mean(mean: Sequence[float]) -> None:
    """Raises ValueError, with a sentence, unless it is three numbers from 0 to 1: black is 0, white is 1."""
    _refuse(mean, 0.0)


def refuse_impossible_std(std: Sequence[float]) -> None:
    """Raises ValueError, with a sentence, unless it is three numbers above 0, and to 1."""
    _refuse(std, SMALLEST_STD)


def _refuse(colours: Sequence[float], smallest: float) -> None:
    if len(colours) != 3:
        raise ValueError(f"three numbers are needed, for red, green and blue, not {len(colours)}")
    for number in colours:
        if not smallest <= number <= 1:  # NaN is not
            bounds = "0 to 1" if smallest == 0 else "greater than 0, to 1"
            remedy = ": divide all by 255" if 1 < number <= 255 else ""
            raise ValueError(f"{number:g} is not {bounds}, as black is 0 and white is 1{remedy}")
