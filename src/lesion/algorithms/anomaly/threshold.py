"""Threshold: from which score on an answer is anomalous: the artifact's, the deployment's or a request's.

Resolved on stored curves, so it can be changed without training again. Needs NumPy alone.
"""

# S samples · P points of a curve

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError
from lesion.evaluation.operating_points import MOST_POINTS, RocCurve, Spec, halfway_below, parse_spec, resolve
from lesion.words import shortened

USUAL = 0.95  # the specificity at whose threshold a score is 0.5
SMALLEST_DISTANCE = 1e-6
ROUNDING = (
    1e-5  # how far a threshold stays above scores that must not reach it: the graph's differ from torch's by less
)
MOST_KEPT = 256  # thresholds of requests: each client asks for the same few
KEPT_RATES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2)  # false-positive rates whose thresholds are kept exactly


@dataclass(frozen=True)
class Sigma:
    """Asks for the threshold m + k · √v, where m and v are mean and variance of the distances of the places of held-out
    normal images, and k is `value`."""

    value: float

    def __str__(self) -> str:
        return f"sigma={self.value:.12g}"


@dataclass(frozen=True)
class Places:
    """Of the places of each image [S]: the mean of their distances in units of the scale, and that of their squares."""

    mean_S: NDArray[np.float64]
    square_S: NDArray[np.float64]

    @classmethod
    def of(cls, distance_SP: Iterable[NDArray[np.floating]], scale: float) -> Places:
        """Of each image's distances [P]. Image by image: in float64 all maps of a set would be large."""
        relative = (distance_P.astype(np.float64) / scale for distance_P in distance_SP)
        mean_S, square_S = np.array([(one.mean(), (one**2).mean()) for one in relative]).T
        return cls(mean_S, square_S)

    def __getitem__(self, chosen_S: NDArray[np.bool_]) -> Places:
        return Places(self.mean_S[chosen_S], self.square_S[chosen_S])

    def in_units_of(self, unit: float) -> Places:
        """The same in a unit of so many scales."""
        return Places(self.mean_S / unit, self.square_S / unit**2)

    def mean_and_deviation(self) -> tuple[float, float]:
        """m and √v of all images' places together."""
        mean = float(self.mean_S.mean())
        return mean, max(float(self.square_S.mean()) - mean**2, 0.0) ** 0.5


@dataclass(frozen=True)
class NormalCurve:
    """How often held-out normal images reach a threshold. Thresholds [P] fall, false-positive rates [P] rise, both in
    [0, 1]; an image is anomalous where its score is at or above a threshold. No image reaches the first, and the others
    lie between two images; in older artifacts each is an image's own score, the first that of the oddest. `place_mean`
    and `place_deviation` are those of the distances of all places of these images, in units of the scale; None in older
    artifacts. Raises ValueError for other numbers."""

    thresholds: tuple[float, ...]
    false_positive_rates: tuple[float, ...]
    num_rows: int
    place_mean: float | None = None
    place_deviation: float | None = None

    def __post_init__(self) -> None:
        columns = (self.thresholds, self.false_positive_rates)
        if len(columns[0]) != len(columns[1]) or not 1 <= len(columns[0]) <= MOST_POINTS or self.num_rows < 1:
            raise ValueError(f"a curve of normal images has {[len(column) for column in columns]} numbers")
        if not all(0 <= value <= 1 for column in columns for value in column):
            raise ValueError("a curve of normal images has a number outside 0 to 1")
        if (np.diff(columns[0]) >= 0).any() or (np.diff(columns[1]) <= 0).any():
            raise ValueError("a curve's thresholds do not fall, or its rates do not rise")
        if not all(value is None or 0 <= value < np.inf for value in (self.place_mean, self.place_deviation)):
            raise ValueError("a curve's mean or deviation of places is no number of 0 or more")

    @classmethod
    def of(cls, score_S: NDArray[np.float64], places: Places | None = None) -> NormalCurve:
        """The curve of the scores [S] of held-out normal images; of many its points lie denser at the rare end."""
        falling_S, num = -np.sort(-score_S), len(score_S)
        even = np.round(np.geomspace(1, num, MOST_POINTS - 1 - len(KEPT_RATES)))
        ranks = np.unique(np.concatenate([even, [max(int(rate * num + 1e-9), 1) for rate in KEPT_RATES]])).astype(int)
        falling_D = np.unique(score_S)[::-1]
        threshold_P = halfway_below(falling_D)[np.isin(falling_D, falling_S[ranks - 1])]
        nobodys = min(float(falling_S[0]) + ROUNDING, 1.0)
        thresholds = [*([nobodys] if nobodys > threshold_P[0] else []), *threshold_P.tolist()]
        rates = [float((score_S >= threshold).mean()) for threshold in thresholds]
        known = () if places is None else places.mean_and_deviation()
        return cls(tuple(thresholds), tuple(rates), num, *known)

    def threshold_of(self, specificity: float) -> float:
        """The lowest threshold with at least this specificity; above all normal images where none has it."""
        fitting = np.flatnonzero(1 - np.array(self.false_positive_rates) >= specificity - 1e-12)
        return self.thresholds[fitting[-1]] if len(fitting) else float(np.nextafter(self.thresholds[0], 2.0))

    def rate_of(self, threshold: float) -> dict[str, Any]:
        """The share of these images that reach a threshold, in the form of a stated rate. Between two kept thresholds
        it is that of the lower one, so it is never told too small."""
        below = np.flatnonzero(np.array(self.thresholds) <= threshold)
        share = self.false_positive_rates[below[0]] if len(below) else 1.0
        if threshold > self.thresholds[0]:
            share = 0.0  # in an older artifact that is the oddest image's own score
        why = f"of the {self.num_rows:,} held-out normal images: no others judged it"
        return {"value": share, "why": why}

    def threshold_of_sigma(self, sigma: Sigma, *, where: object) -> float:
        """The score of the distance m + k · √v. Raises UserError where the artifact does not hold m and v."""
        if self.place_mean is None or self.place_deviation is None:
            what = f"the operating point {sigma} needs an artifact of a newer version, and this one lacks its numbers"
            raise UserError(what, where=where, do="Say specificity=0.95, or train again.", kind="custom_attributes")
        return float(score_of(np.array(self.place_mean + sigma.value * self.place_deviation), 1.0))


@dataclass(frozen=True)
class Threshold:
    """What was asked for, and the score from which on an answer is anomalous; of normal images so many are then false
    alarms: value, low and high as far as known, and why where they are not."""

    spec: str
    score: float
    false_positive_rate: Mapping[str, Any] = field(default_factory=dict)


def score_of(distance: NDArray[np.floating], scale: float) -> NDArray[np.float64]:
    """Scores in 0 to 1 of distances of any shape: d ∕ (d + scale), so 0.5 at the scale. The order stays."""
    distance = distance.astype(np.float64)
    return np.asarray(distance / (distance + scale))


def scale_of(distance_S: NDArray[np.floating]) -> float:
    """The distance of score 0.5, which at most 5 % of these held-out normal images reach. It lies so between two images
    that 0.5 is halfway between their scores, and with it the threshold of specificity=0.95 (`halfway_below`)."""
    falling_S = -np.sort(-distance_S.astype(np.float64))
    below = falling_S[int((1 - USUAL) * len(falling_S) + 1e-9)]  # the first that must not reach it
    above_N = falling_S[falling_S > below]
    # a ∕ (a + d) + b ∕ (b + d) = 1 where d = √(a b)
    distance = np.sqrt(above_N[-1] * below) if len(above_N) else below * (0.5 + ROUNDING) / (0.5 - ROUNDING)
    return max(float(distance), SMALLEST_DISTANCE)


def image_distance(distance_P: NDArray[np.floating], area: float) -> NDArray[np.floating]:
    """The distance [...] that the share `area` of an image's places [..., P] reaches, at least one place."""
    rank = max(int(np.ceil(area * distance_P.shape[-1])), 1)
    return np.partition(distance_P, -rank, axis=-1)[..., -rank]


def parse_point(text: str, *, where: object = None) -> Spec | Sigma:
    """What a text such as `sigma=3` or `specificity=0.95` asks for. Raises UserError for one that cannot be."""
    name, _, number = (part.strip() for part in text.strip().lower().partition("="))
    if name == "sigma":
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value < np.inf:
            what = f"sigma needs a number of 0 or more, not '{shortened(number, 40)}'"
            raise UserError(what, where=where, do="Say sigma=3.")
        return Sigma(value)
    try:
        return parse_spec(text, where=where)
    except UserError as error:
        raise UserError(error.what, where=error.where, do=f"{error.do} Or sigma=3.", kind=error.kind) from error


def needs_anomalous(spec: Spec | Sigma) -> bool:
    """Whether the threshold of a spec is chosen on anomalous rows, not on normal ones alone."""
    return isinstance(spec, Spec) and spec.kind not in ("specificity", "threshold")


def resolved(spec: Spec | Sigma, normal: NormalCurve, roc: RocCurve | None, *, where: object = None) -> Threshold:
    """The threshold of a spec. Raises UserError where it needs anomalous rows and there were none."""
    if isinstance(spec, Sigma):
        return Threshold(str(spec), normal.threshold_of_sigma(spec, where=where))
    if spec.kind == "threshold":
        assert spec.value is not None
        return Threshold(str(spec), spec.value)
    if spec.kind == "specificity":
        assert spec.value is not None
        return Threshold(str(spec), normal.threshold_of(spec.value))
    if roc is None:
        raise UserError(
            f"the operating point {spec} needs anomalous images among the held-out ones, and there were none",
            where=where,
            do="Say specificity=0.95 or threshold=0.6, or train with anomalous rows.",
            kind="custom_attributes",
        )
    return Threshold(str(spec), resolve(roc, spec).threshold)


class Thresholds:
    """The thresholds of an artifact, whose own is `default` until a deployment chooses another. Its own false-positive
    rate was judged on groups that did not choose it; of another one the share of the held-out normal images is told."""

    def __init__(self, default: Threshold, normal: NormalCurve, roc: RocCurve | None) -> None:
        self.default, self._normal, self._roc = default, normal, roc
        self._kept = {default.spec: default}

    def of(self, text: str | None, *, where: object = None) -> Threshold:
        """The threshold that a text such as `specificity=0.99` asks for; without one the default.

        Raises UserError of kind `custom_attributes` for one that cannot be.
        """
        if text is None:
            return self.default
        if (known := self._kept.get(text)) is not None:
            return known
        try:
            found = resolved(parse_point(text, where=where), self._normal, self._roc, where=where)
        except UserError as error:
            raise UserError(error.what, where=error.where, do=error.do, kind="custom_attributes") from error
        found = self._kept.get(found.spec) or replace(found, false_positive_rate=self._normal.rate_of(found.score))
        if len(self._kept) < MOST_KEPT:
            self._kept[text] = found
        return found

    def set_default(self, text: str | None, *, where: object) -> None:
        """Takes the deployment's operating point, where it has one. Raises UserError as `of` does."""
        self.default = self.of(text, where=where)
