"""Independent: how the values of two sets of other patients differ, of each of which an interval is known."""

from __future__ import annotations

import math

Interval = tuple[float, float]


def difference_of_independent(
    a: float, b: float, interval_a: Interval | None = None, interval_b: Interval | None = None
) -> tuple[float, Interval | None]:
    """a − b, and its interval of the level that both intervals have; None unless both are known.

    Each interval may be askew, as near the end of a scale: with l and u the ends of each,
    L = a − b − √((a − l_a)² + (u_b − b)²), U = a − b + √((u_a − a)² + (b − l_b)²) (method of variance estimates
    recovery, Zou & Donner 2008, Statistics in Medicine 27:1693). It assumes that the two sets share no patient.
    """
    difference = a - b
    if interval_a is None or interval_b is None:
        return difference, None
    (low_a, high_a), (low_b, high_b) = interval_a, interval_b
    return difference, (
        difference - math.hypot(a - low_a, high_b - b),
        difference + math.hypot(high_a - a, b - low_b),
    )
