"""Calibrators: probabilities to calibrated probabilities, as records that an artifact holds.

Chosen in calibrator_choice.py, fitted in calibrator_fits.py. A server applies them, so this file needs NumPy alone.
"""

# K outputs · J knots of a piecewise-linear function · … any dimensions before them

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError
from lesion.evaluation.links import constant, log_odds, log_probs, ordered, sigmoid, softmax, where

if TYPE_CHECKING:
    from torch import Tensor

Method = Literal["none", "temperature", "platt", "isotonic"]
METHODS: tuple[Method, ...] = ("none", "temperature", "platt", "isotonic")  # the simplest first
MOST_KNOTS = 64
BLOCK_ROWS = 64  # whose pieces are computed together
LEAST_SLOPE, MOST_SLOPE = 0.01, 20.0  # of log-odds to log-odds: ranking is kept, and no answer becomes infinite
Array = TypeVar("Array", bound="NDArray[np.floating] | Tensor")


@dataclass(frozen=True)
class OutputMap:
    """What calibration does to one output's log-odds z: a strictly increasing function of z.

    none: z. temperature: slope · z, where slope is 1 ÷ T. platt: slope · z + offset (Platt 1999). isotonic:
    piecewise linear through the knots, with `slope` before the first and after the last. In a softmax z is the log
    probability for temperature and platt, which is vector scaling then (Guo et al. 2017, section 4.2).

    Raises ValueError where the numbers are not such a function: the record may come from a stranger's file.
    """

    method: Method
    slope: float = 1.0
    offset: float = 0.0
    knots_x: tuple[float, ...] = ()
    knots_y: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and LEAST_SLOPE <= self.slope <= MOST_SLOPE):
            raise ValueError(f"a calibrator has slope {self.slope} and offset {self.offset}")
        if len(self.knots_x) != len(self.knots_y) or len(self.knots_x) > MOST_KNOTS:
            raise ValueError(f"a calibrator has {len(self.knots_x)} and {len(self.knots_y)} knots of {MOST_KNOTS}")
        if (self.method == "isotonic") != (len(self.knots_x) > 0):
            raise ValueError(f"a calibrator of method {self.method} has {len(self.knots_x)} knots")
        for knots in (self.knots_x, self.knots_y):
            if not (np.isfinite(knots).all() and (np.diff(knots) > 0).all()):
                raise ValueError("a calibrator's knots do not increase")


@dataclass(frozen=True)
class Calibrator:
    """The calibration of all outputs: one map each. A softmax whose classes share a temperature has a single map.

    Raises ValueError where the maps do not fit together.
    """

    is_multiclass: bool
    maps: tuple[OutputMap, ...]

    def __post_init__(self) -> None:
        if not self.maps or (self.is_multiclass and len({one.method for one in self.maps}) > 1):
            raise ValueError("a calibrator needs a map, and a softmax's have the same method")
        if self.is_multiclass and len(self.maps) == 1 and self.method == "isotonic":
            raise ValueError("an isotonic calibrator of several classes needs a map for each")

    @property
    def method(self) -> str:
        """The method, or for outputs of different methods each that occurs, joined by "+"."""
        return "+".join(name for name in METHODS if any(one.method == name for one in self.maps))

    def fits(self, num_outputs: int) -> bool:
        """Whether probabilities of so many outputs can be calibrated by it."""
        return len(self.maps) == num_outputs or (self.is_multiclass and len(self.maps) == 1)

    def apply(self, probs: Array) -> Array:
        """Calibrated probabilities [..., K] in [0, 1] of probabilities [..., K]; several classes sum to 1.

        NumPy's are computed in float64, and a row's do not depend on the rows beside it; a tensor keeps its type, so
        that the step can be exported. The method none returns its input itself.
        """
        if self.method == "none":
            return probs
        given = ordered(probs)
        calibrated: Array
        if self.is_multiclass and self.method != "isotonic":
            calibrated = softmax(self._line(log_probs(given), given))
            return calibrated
        scores = log_odds(given)
        each = sigmoid(self._curve(self._line(scores, given), scores, given))
        if self.is_multiclass:
            calibrated = each / each.sum(-1)[..., None]
        else:
            calibrated = where(self._is_none_K, given, each) if any(self._is_none_K) else each
        return calibrated

    @cached_property
    def _is_none_K(self) -> NDArray[np.bool_]:
        return np.array([one.method == "none" for one in self.maps])

    @cached_property
    def _line_K(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array([one.slope for one in self.maps]), np.array([one.offset for one in self.maps])

    @cached_property
    def _knots_JK(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Where each piece begins, how wide it is, and by how much the function rises over it; the rest is zero."""
        num_pieces = max(len(one.knots_x) for one in self.maps) - 1
        starts_JK, widths_JK, rises_JK = (np.zeros((max(num_pieces, 1), len(self.maps))) for _ in range(3))
        widths_JK += 1
        for k, one in enumerate(self.maps):
            if one.method == "isotonic":
                starts_JK[: len(one.knots_x) - 1, k] = one.knots_x[:-1]
                widths_JK[: len(one.knots_x) - 1, k] = np.diff(one.knots_x)
                rises_JK[: len(one.knots_x) - 1, k] = np.diff(one.knots_y)
        return starts_JK, widths_JK, rises_JK

    def _line(self, scores: Any, like: Any) -> Any:
        slope_K, offset_K = self._line_K
        return scores * constant(slope_K, like) + constant(offset_K, like)

    def _curve(self, line: Any, scores: Any, like: Any) -> Any:
        """The isotonic outputs' function; the others' is the `line`.

        A sum of clamped pieces, none of which falls: it increases in float32 too, and every graph can compute it.
        """
        is_curve_K = np.array([one.method == "isotonic" for one in self.maps])
        if not is_curve_K.any():
            return line
        ends = [(one.knots_x[0], one.knots_x[-1], one.knots_y[0]) if one.knots_x else (0, 0, 0) for one in self.maps]
        first_K, last_K, lowest_K = (
            constant(np.array(values, dtype=np.float64), like) for values in zip(*ends, strict=True)
        )
        slope_K = constant(self._line_K[0], like)
        total = lowest_K + slope_K * (scores - first_K).clip(max=0.0) + self._risen(scores, like)
        total = total + slope_K * (scores - last_K).clip(min=0.0)
        return total if is_curve_K.all() else where(is_curve_K, total, line)

    def _risen(self, scores: Any, like: Any) -> Any:
        """By how much each output's pieces have risen up to its score, [..., K].

        All pieces at once, since a server has one row and NumPy a microsecond for each step; added in their order, so
        that a row has the same bits by every door. Many rows go through in blocks that stay in the processor's cache.
        """
        starts_JK, widths_JK, rises_JK = (constant(array_JK, like) for array_JK in self._knots_JK)
        if not isinstance(scores, np.ndarray):
            pieces = ((scores[..., None, :] - starts_JK) / widths_JK).clip(0.0, 1.0) * rises_JK
            return pieces.cumsum(-2)[..., -1, :]
        scores_NK = scores.reshape(-1, scores.shape[-1])
        risen_NK = np.empty_like(scores_NK)
        for start in range(0, len(scores_NK), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            pieces_NJK = (scores_NK[rows, None] - starts_JK) / widths_JK
            np.multiply(pieces_NJK.clip(0.0, 1.0, out=pieces_NJK), rises_JK, out=pieces_NJK)
            risen_NK[rows] = pieces_NJK.cumsum(axis=1)[:, -1]
        return risen_NK.reshape(scores.shape)


def no_calibration(is_multiclass: bool, num_outputs: int) -> Calibrator:
    """The calibrator that returns its input."""
    return Calibrator(is_multiclass, (OutputMap("none"),) * (1 if is_multiclass else num_outputs))


def shift_prior(
    probs: Array, trained_K: Sequence[float], deployment_K: Sequence[float], *, is_multiclass: bool
) -> Array:
    """Probabilities [..., K] where the classes are as frequent as `deployment_K` says, of those that were learnt where
    they were as frequent as `trained_K`: p_k · π'_k ÷ π_k, normalised (Saerens et al. 2002, equation 4).

    Frequencies are in (0, 1): of the positive class for a sigmoid, and summing to 1 for several classes. Equal ones
    return the input itself. Holds where only frequencies differ and images of a class look the same.
    Raises UserError for a frequency that cannot be.
    """
    trained, deployment = np.asarray(trained_K, dtype=np.float64), np.asarray(deployment_K, dtype=np.float64)
    for name, values in (("trained", trained), ("deployment", deployment)):
        if not ((values > 0) & (values < 1)).all() or (is_multiclass and abs(values.sum() - 1) > 1e-6):
            raise UserError(
                f"the {name} prevalence is {', '.join(f'{value:g}' for value in values[:5])}",
                do="Give a share above 0 and below 1; several classes sum to 1.",
            )
    if (trained == deployment).all():
        return probs
    shifted: Array
    if is_multiclass:
        weighted: Any = probs * constant(deployment / trained, probs)
        shifted = weighted / weighted.sum(-1)[..., None]
        return shifted
    odds_ratio = constant(deployment / (1 - deployment) / (trained / (1 - trained)), probs)
    weighted = probs * odds_ratio
    shifted = weighted / (weighted + (1 - probs))
    return shifted


def deployment_of_one(trained_K: Sequence[float], index: int, prevalence: float) -> tuple[float, ...]:
    """The frequencies of several classes where that of one, `index`, is `prevalence`: the others keep their ratios."""
    others = 1 - trained_K[index]
    return tuple(prevalence if k == index else (1 - prevalence) * share / others for k, share in enumerate(trained_K))
