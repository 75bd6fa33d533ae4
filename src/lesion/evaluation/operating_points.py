"""Operating points: what was asked for (sensitivity=0.95) to a threshold, the probability from which the answer is yes.

A server resolves it on the stored curve, so this file needs NumPy alone. Judged in point_summary.py.
"""

# S samples · P points of a ROC curve

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError
from lesion.evaluation.metrics import Array
from lesion.words import nearest, shortened

Kind = Literal["youden", "sensitivity", "specificity", "cost", "f_beta", "threshold"]
KINDS: tuple[Kind, ...] = ("youden", "sensitivity", "specificity", "cost", "f_beta", "threshold")
WAYS = "youden, sensitivity=0.95, specificity=0.9, cost=10, f_beta=0.5 or threshold=0.3"
MOST_POINTS = 500
NO_CURVE = 0.5  # the threshold where no rows of both classes could choose one


@dataclass(frozen=True)
class Spec:
    """What is asked of an operating point. `value` is the least sensitivity or specificity, the cost of a missed
    positive in false alarms, β, or the threshold; None for youden.
    """

    kind: Kind
    value: float | None = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind}={self.value:.12g}"


@dataclass(frozen=True)
class RocCurve:
    """The points of a ROC curve that an operating point may choose: no other has both rates at least as good.

    Thresholds [P] fall; both rates rise, in [0, 1]. A row is positive where its probability is at or above a threshold,
    which lies between two rows (`halfway_below`).
    Raises ValueError where the numbers are no such curve: the record may come from a stranger's file.
    """

    thresholds: tuple[float, ...]
    true_positive_rates: tuple[float, ...]
    false_positive_rates: tuple[float, ...]
    num_positives: int
    num_negatives: int

    def __post_init__(self) -> None:
        columns = (self.thresholds, self.true_positive_rates, self.false_positive_rates)
        if len({len(column) for column in columns}) > 1 or not 1 <= len(self.thresholds) <= MOST_POINTS:
            raise ValueError(f"a ROC curve has {[len(column) for column in columns]} numbers")
        if not all(0 <= value <= 1 for column in columns for value in column):
            raise ValueError("a ROC curve has a number outside 0 to 1")
        falling, *rising = (np.diff(column) for column in columns)
        if (falling >= 0).any() or any((steps < 0).any() for steps in rising):
            raise ValueError("a ROC curve's thresholds do not fall, or its rates do not rise")
        if min(self.num_positives, self.num_negatives) < 1:
            raise ValueError("a ROC curve needs positives and negatives")

    @property
    def prevalence(self) -> float:
        """The share of positives among the rows that made the curve."""
        return self.num_positives / (self.num_positives + self.num_negatives)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, what it was chosen by, and both rates on the rows that chose it (so too high; None without a curve).
    `why` says where the request could not be met.
    """

    spec: str
    threshold: float
    sensitivity: float | None
    specificity: float | None
    why: str | None = None


def parse_spec(text: str, *, is_multiclass: bool = False, where: object = None) -> Spec:
    """The spec of a text such as `youden` or `sensitivity=0.95`; capitals and blanks do not count.

    Raises UserError for a word that is not known, a number that cannot be, and for several classes, of which the most
    probable is the answer.
    """
    if is_multiclass:
        raise UserError(
            f"the operating point {shortened(text, 40)} is a threshold for one probability, and the answer here is the "
            "most probable of several classes",
            where=where,
            do="Leave it out, or name the class of interest in positive_class.",
        )
    name, equals, number = (part.strip() for part in text.strip().lower().partition("="))
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is None:
        hint = nearest(name, KINDS)
        raise UserError(
            f"'{shortened(text, 40)}' is no operating point" + (f"; did you mean {hint}?" if hint else ""),
            where=where,
            do=f"Say {WAYS}.",
        )
    if kind == "youden":
        if equals:
            raise UserError("youden takes no number", where=where, do="Say youden alone.")
        return Spec("youden")
    return Spec(kind, _value(kind, number, where))


def roc_curve(target_S: Array, prob_S: Array) -> RocCurve | None:
    """The curve of targets [S], 0 or 1, and probabilities [S] in [0, 1]; None where a class is absent.

    Of more than MOST_POINTS choices those are kept that lie evenly along the curve, and Youden's. Rows with NaN are
    left out.
    """
    is_known_S = ~(np.isnan(target_S) | np.isnan(prob_S))
    target_S, prob_S = target_S[is_known_S], prob_S[is_known_S].astype(np.float64)
    num_positives = int((target_S == 1).sum())
    num_negatives = len(target_S) - num_positives
    if not (num_positives and num_negatives):
        return None
    order_S = np.argsort(-prob_S, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(prob_S[order_S])), len(prob_S) - 1)  # the last row of each probability
    threshold_P = halfway_below(prob_S[order_S][ends])
    true_P = np.cumsum(target_S[order_S] == 1)[ends]
    false_P = ends + 1 - true_P
    if prob_S.max() < 1:  # nobody is positive
        threshold_P, true_P, false_P = (
            np.concatenate([[first], rest]) for first, rest in ((1.0, threshold_P), (0, true_P), (0, false_P))
        )
    is_choice_P = (np.diff(false_P, append=len(target_S) + 1) > 0) & (np.diff(true_P, prepend=-1) > 0)
    threshold_P, true_P, false_P = threshold_P[is_choice_P], true_P[is_choice_P], false_P[is_choice_P]
    true_P, false_P = true_P / num_positives, false_P / num_negatives
    kept = _kept(true_P, false_P)
    return RocCurve(
        tuple(threshold_P[kept].tolist()),
        tuple(true_P[kept].tolist()),
        tuple(false_P[kept].tolist()),
        num_positives,
        num_negatives,
    )


def halfway_below(falling_P: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of these falling numbers, 0 or more, the threshold [P] that it reaches and the next one does not:
    halfway between the two, and between the last one and 0.

    A threshold that is a row's own number would leave that row to rounding: torch and OpenVINO differ by up to 1e-6.
    """
    next_P = np.append(falling_P[1:], 0.0)
    halfway_P = (falling_P + next_P) / 2
    return np.where(halfway_P > next_P, halfway_P, falling_P)  # of neighbouring floats it is one of the two


def resolve(curve: RocCurve | None, spec: Spec, *, prevalence: float | None = None) -> OperatingPoint:
    """The operating point of a curve that a spec asks for.

    youden: the largest sensitivity + specificity − 1 (Youden 1950). sensitivity: the highest threshold that reaches it.
    specificity: the lowest. cost: the least cost · missed positives + false alarms, and f_beta: the largest F_β (van
    Rijsbergen 1979; β < 1 weighs precision more), both at `prevalence` (default: the rows'). threshold: itself. Of
    equal points the highest threshold. Without a curve 0.5, or the threshold asked for.
    """
    if spec.kind == "threshold":
        assert spec.value is not None
        return OperatingPoint(str(spec), spec.value, *_rates_at(curve, spec.value))
    if curve is None:
        return OperatingPoint(
            str(spec), NO_CURVE, None, None, "no rows of both classes could choose a threshold: it is 0.5"
        )
    true_P, false_P = np.array(curve.true_positive_rates), np.array(curve.false_positive_rates)
    index, why = 0, None
    if spec.kind == "youden":
        index = _youden(true_P, false_P)
    elif spec.kind == "sensitivity":
        index = int(np.argmax(true_P >= _number(spec) - 1e-12))
    elif spec.kind == "specificity":
        (reached,) = np.nonzero(1 - false_P >= _number(spec) - 1e-12)
        index = int(reached[-1]) if len(reached) else 0
        if not len(reached):
            why = f"no threshold reaches a specificity of {spec.value:g}: this is the highest that there is"
    else:
        share = curve.prevalence if prevalence is None else prevalence
        if spec.kind == "f_beta":
            index = _largest_f_beta(share * true_P, (1 - share) * false_P, share, _number(spec))
        else:
            index = _first_best(-(_number(spec) * share * (1 - true_P) + (1 - share) * false_P))
    if true_P[index] == 0:
        why = "only if nobody is positive" + (
            f" is the specificity {spec.value:g}" if spec.kind == "specificity" else ""
        )
    return OperatingPoint(str(spec), curve.thresholds[index], float(true_P[index]), float(1 - false_P[index]), why)


def _value(kind: Kind, text: str, where: object) -> float:
    """A spec's number. Raises UserError where there is none or it is out of range."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    is_any = kind in ("cost", "f_beta")
    is_fine = 0 < value < math.inf if is_any else 0 <= value <= 1 if kind == "threshold" else 0 < value <= 1
    if not is_fine:
        needed = dict.fromkeys(("cost", "f_beta"), "a number above 0") | {"threshold": "a probability from 0 to 1"}
        raise UserError(
            f"{kind} needs {needed.get(kind, 'a share above 0, at most 1')}, not '{shortened(text, 40)}'",
            where=where,
            do=f"Say {WAYS}.",
        )
    return value


def _number(spec: Spec) -> float:
    assert spec.value is not None
    return spec.value


def _youden(true_P: NDArray[np.float64], false_P: NDArray[np.float64]) -> int:
    """Nobody is never the answer: a threshold that says nothing but no is none."""
    return _first_best(np.where(true_P > 0, true_P - false_P, -2.0))


def _largest_f_beta(true_P: NDArray[np.float64], false_P: NDArray[np.float64], share: float, beta: float) -> int:
    """Of shares of all rows: found positives, false alarms [P], and the positives. Nobody has an F of 0."""
    weight = beta**2
    return _first_best((1 + weight) * true_P / (true_P + false_P + weight * share))


def _first_best(value_P: NDArray[np.float64]) -> int:
    """The place of the largest value; of those that only rounding tells apart the first, which is the highest
    threshold."""
    most = float(value_P.max())
    return int(np.argmax(value_P >= most - 1e-12 * max(abs(most), 1.0)))


def _kept(true_P: NDArray[np.float64], false_P: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which points are kept: all, or those that lie evenly along the curve, its ends, and Youden's."""
    if len(true_P) <= MOST_POINTS:
        return np.arange(len(true_P))
    way_P = true_P + false_P
    even = np.searchsorted(way_P, np.linspace(way_P[0], way_P[-1], MOST_POINTS - 1)).clip(max=len(way_P) - 1)
    return np.union1d(even, [_youden(true_P, false_P)])


def _rates_at(curve: RocCurve | None, threshold: float) -> tuple[float | None, float | None]:
    """Sensitivity and specificity at a threshold; between two points of the curve in between, so about."""
    if curve is None:
        return None, None
    rising = curve.thresholds[::-1]
    true_rate, false_rate = (
        float(np.interp(threshold, rising, rates[::-1]))
        for rates in (curve.true_positive_rates, curve.false_positive_rates)
    )
    return true_rate, 1 - false_rate
