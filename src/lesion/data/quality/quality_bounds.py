"""Quality bounds: what is unusual among the training pictures, and the warnings for a picture beyond it."""

# S training pictures

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.data.quality.image_quality import ImageQuality

MIN_PICTURES = 100  # fewer say nothing of what is rare
RARE = 0.002  # share of the training pictures beyond each bound


@dataclass(frozen=True)
class Rule:
    """One warning: which measure, on which side, and how far beyond the training pictures it must lie to matter."""

    warning: str
    measure: str
    is_high: bool
    margin: float  # in the measure's unit


RULES = (
    Rule("too_small", "short_side_px", False, 0.0),
    Rule("blurred", "blur", True, 0.03),
    Rule("dark", "brightness", False, 10.0),
    Rule("dark", "clipped_dark", True, 0.05),
    Rule("bright", "brightness", True, 10.0),
    Rule("bright", "clipped_bright", True, 0.05),
    Rule("low_contrast", "contrast", False, 1.0),
    Rule("dark_corners", "dark_corners", True, 0.05),
    Rule("ink", "ink", True, 0.02),
    Rule("hair", "hair", True, 0.02),
)
WARNINGS = tuple(dict.fromkeys(rule.warning for rule in RULES))

Bounds = Mapping[str, tuple[float | None, float | None]]  # by measure the lowest and the highest that are usual


def fit_bounds(
    measures: Mapping[str, NDArray[np.floating]], *, image_size: int
) -> dict[str, tuple[float | None, float | None]]:
    """The bounds of each measure, of its values in the training pictures [S].

    A bound lies a margin beyond the quantile that RARE of the pictures exceed. A picture is too small only if it also
    has fewer pixels than the network sees (`image_size`).
    """
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for rule in RULES:
        low, high = bounds.get(rule.measure, (None, None))
        if rule.is_high:
            high = float(np.quantile(measures[rule.measure], 1 - RARE, method="higher")) + rule.margin
        else:
            low = float(np.quantile(measures[rule.measure], RARE, method="lower")) - rule.margin
            if rule.warning == "too_small":
                low = min(low, float(image_size))
        bounds[rule.measure] = (low, high)
    return bounds


def warnings_of(quality: ImageQuality, bounds: Bounds) -> tuple[str, ...]:
    """The warnings for a picture, each once, in the order of RULES; none for a measure without a bound."""
    # As the training pictures' measures are kept, in float32; plain floats, since arrays of one number take long.
    found = []
    for rule in RULES:
        low, high = bounds.get(rule.measure, (None, None))
        value = _float32(getattr(quality, rule.measure))
        if (high is not None and value > high) if rule.is_high else (low is not None and value < low):
            found.append(rule.warning)
    return tuple(dict.fromkeys(found))


def _float32(value: float) -> float:
    return float(np.float32(value))


def share_warned(measures: Mapping[str, NDArray[np.floating]], bounds: Bounds) -> dict[str, float]:
    """By warning the share of the pictures [S] that get it, and as `any` that of those with one or more."""
    num = len(measures[RULES[0].measure])
    warned = {name: np.zeros(num, dtype=bool) for name in WARNINGS}
    for rule in RULES:
        warned[rule.warning] |= _is_beyond(measures[rule.measure], rule, bounds)
    warned["any"] = np.any(list(warned.values()), axis=0)
    return {name: float(is_warned_S.mean()) for name, is_warned_S in warned.items()}


def in_words(warnings: Sequence[str]) -> str:
    """The warnings as people read them."""
    return ", ".join(warning.replace("_", " ") for warning in warnings)


def _is_beyond(value: NDArray[np.floating], rule: Rule, bounds: Bounds) -> NDArray[np.bool_]:
    """Whether each value lies beyond the bound of a rule; never where there is none."""
    low, high = bounds.get(rule.measure, (None, None))
    if rule.is_high:
        return np.asarray(value > (np.inf if high is None else high))
    return np.asarray(value < (-np.inf if low is None else low))
