"""Intervals: how far a number may be off, by patients (slides) and not by rows, and right for few of them.

One rule for all: a standard error by patients, Student's t with one degree of freedom fewer than patients, on a scale
that has no ends, so that no interval leaves a measure's range. It says how other patients would differ, not another
training run.
"""

# G groups · B draws

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import harmonic_mean
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.delong import Areas, jackknife_covariance
from lesion.evaluation.resampling import Weights

FEW_GROUPS = 20  # below it an interval is rough: it depends on who those few are
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval. What is None is not defined or not known, and `why` says so in words.

    With all three given, `why` is a caution, such as few patients.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    why: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For a report: without what there is nothing to say about."""
        said = {"value": self.value, "low": self.low, "high": self.high, "why": self.why}
        return {name: value for name, value in said.items() if value is not None or name == "value"}


class Measurable(Protocol):
    """What gives its measures [B] of any weights of the groups [G, B], such as a Ranking or Labels."""

    @property
    def num_groups(self) -> dict[str, int]: ...

    def measure(self, weights_GB: Weights) -> dict[str, NDArray[np.float64]]: ...


def t_interval(
    value: float,
    error: float,
    num_groups: int,
    *,
    freedom: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """The 95 % interval of a value by its standard error from the `num_groups` groups that bear on it.

    g(v) ± t · error · g′(v) with `freedom` degrees of freedom (G − 1 unless given), where g is the logit between two
    bounds, the logarithm above one, and nothing without. At a bound the error is zero and says nothing: there the other
    end is that of G trials that all came out so, (1 − level) ∕ 2 to the power 1 ∕ G (Clopper & Pearson 1934). Where
    there is no bound, an error of zero gives no interval.
    """
    from scipy.stats import t as student  # type: ignore[import-untyped]

    if num_groups < 2 or not math.isfinite(error):
        return Estimate(value, why="one group alone gives no interval")
    low, high = bounds
    freedom = num_groups - 1 if freedom is None else freedom
    caution = f"only {num_groups} groups bear on it: a rough interval" if num_groups < FEW_GROUPS else None
    reach = float(student.ppf((1 + LEVEL) / 2, max(freedom, 1))) * error
    if math.isfinite(low) and math.isfinite(high):
        share = (value - low) / (high - low)
        if min(share, 1 - share) < 1e-12:
            end = ((1 - LEVEL) / 2) ** (1 / num_groups)
            ends = (end, 1.0) if share > 0.5 else (0.0, 1 - end)
        else:
            middle, reach = math.log(share / (1 - share)), reach / (high - low) / (share * (1 - share))
            ends = (_logistic(middle - reach), _logistic(middle + reach))
        return Estimate(value, low + (high - low) * ends[0], low + (high - low) * ends[1], caution)
    if reach < 1e-12:
        return Estimate(value, why="the groups do not differ in it, so there is no interval")
    if math.isfinite(low) and value > low:
        factor = math.exp(min(reach / (value - low), 700))
        return Estimate(value, low + (value - low) / factor, low + (value - low) * factor, caution)
    return Estimate(value, value - reach, value + reach, caution)


def draws_interval(
    value: float, value_B: NDArray[np.float64], num_groups: int, *, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """The 95 % interval of a value by what it was in draws of its groups [B]; draws that do not define it are NaN.

    The draws' standard deviation times √(G ∕ (G − 1)), by which that of a bootstrap is too small (Davison & Hinkley
    1997, section 2.3). Undefined where fewer than half of the draws are.
    """
    found_B = value_B[np.isfinite(value_B)]
    if num_groups >= 2 and len(found_B) <= len(value_B) / 2:
        return Estimate(value, why="most draws of the groups lack a class: no interval")
    error = float(found_B.std(ddof=1)) * math.sqrt(num_groups / (num_groups - 1)) if num_groups >= 2 else math.nan
    return t_interval(value, error, num_groups, bounds=bounds)


def area_estimate(found: Areas) -> Estimate:
    """The area of one score, with its 95 % interval."""
    return jackknife_interval(
        float(found.value_M[0]), found.without_GM[:, 0], found.num_groups, freedom=float(found.freedom_M[0])
    )


def jackknife_interval(
    value: float,
    without_G: NDArray[np.float64],
    num_groups: int,
    *,
    freedom: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """The 95 % interval of a value by what it is without each group [G], of which `num_groups` bear on it."""
    if len(without_G) >= 2 and not np.isfinite(without_G).all():
        return Estimate(value, why="one group has all rows of a class: no interval")
    error = math.sqrt(jackknife_covariance(without_G[:, None])[0, 0]) if len(without_G) >= 2 else math.nan
    return t_interval(value, error, num_groups, freedom=freedom, bounds=bounds)


def groups_of_mean(num_groups_Q: Sequence[int]) -> int:
    """How many groups a mean over outputs is worth, on each of which so many bear: their harmonic mean, since an
    output's variance falls with their number."""
    return int(harmonic_mean(num_groups_Q) + 1e-9)


@dataclass
class MacroMean:
    """Each measure's mean over the outputs that define it [B], as a sum and how many these are."""

    sums: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, measures: dict[str, NDArray[np.float64]]) -> None:
        """Those of one more output; NaN where it does not define one."""
        for name, value_B in measures.items():
            is_defined_B = np.isfinite(value_B)
            sum_B, count_B = self.sums.get(name, (np.zeros(len(value_B)), np.zeros(len(value_B))))
            self.sums[name] = (sum_B + np.where(is_defined_B, value_B, 0), count_B + is_defined_B)

    def measures(self) -> dict[str, NDArray[np.float64]]:
        """The means; NaN where no output defines one."""
        return {
            name: np.where(count_B > 0, sum_B / np.maximum(count_B, 1), np.nan)
            for name, (sum_B, count_B) in self.sums.items()
        }


def mean_measures(outputs: Sequence[Measurable], weights_GB: Weights) -> dict[str, NDArray[np.float64]]:
    """Each measure's mean over the outputs that define it [B] (macro average); NaN where none does."""
    mean = MacroMean()
    for output in outputs:
        mean.add(output.measure(weights_GB))
    return mean.measures()


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
