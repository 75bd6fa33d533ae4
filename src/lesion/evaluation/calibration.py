"""Calibration: the networks' probabilities to the one that is served: pooled, calibrated, shifted to a prevalence.

The record that an artifact holds. A server applies it, so this file needs NumPy alone.
"""

# F networks · K outputs · … any dimensions before them

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.calibrators import Calibrator, shift_prior
from lesion.evaluation.pooling import Pooling

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", bound="NDArray[np.floating] | Tensor")


@dataclass(frozen=True)
class Calibration:
    """How probabilities [..., F, K] of F networks become one [..., K].

    `trained_prevalence` [K] is how frequent each class is in the rows that it was learnt on, `deployment_prevalence`
    how frequent it is where it is used; None where that is the same. Raises ValueError where the parts do not fit.
    """

    pooling: Pooling
    calibrator: Calibrator
    trained_prevalence: tuple[float, ...]
    deployment_prevalence: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        num_outputs = len(self.trained_prevalence)
        if len(self.pooling.centres) != num_outputs or not self.calibrator.fits(num_outputs):
            raise ValueError(f"calibration of {num_outputs} outputs has parts of other numbers")
        if self.pooling.is_multiclass != self.calibrator.is_multiclass:
            raise ValueError("pooling and calibrator are not both of several classes")
        if self.deployment_prevalence is not None:
            for prevalence in (self.trained_prevalence, self.deployment_prevalence):
                if len(prevalence) != num_outputs or not all(0 < share < 1 for share in prevalence):
                    raise ValueError("a prevalence is a share between 0 and 1 for each output")

    def apply(self, probs_FK: Array) -> Array:
        """The probabilities [..., K], in [0, 1], of the networks' [..., F, K]; a tensor's as a tensor."""
        return self.for_deployment(self.calibrator.apply(self.pooling.apply(probs_FK)))

    def for_deployment(self, probs: Array) -> Array:
        """Calibrated probabilities [..., K] where the classes are as frequent as at the deployment."""
        if self.deployment_prevalence is None:
            return probs
        return shift_prior(
            probs, self.trained_prevalence, self.deployment_prevalence, is_multiclass=self.pooling.is_multiclass
        )
