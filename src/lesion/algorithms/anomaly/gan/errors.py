"""Errors: mean and covariance of the reconstruction's errors on normal pictures, merged picture by picture."""

# C channels · n pixels

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

SHRINKAGE = 0.01  # share of the covariance that is replaced by the same variance in all directions
SMALLEST_VARIANCE = 1e-8  # of errors of pictures in −1 to 1


@dataclass(frozen=True)
class ErrorMoments:
    """The errors of some pixels: how many, their mean [C], and the sum of the outer products of their deviations from
    it [C, C]. In float64: a long sum of float32 numbers drifts."""

    num: int
    mean_C: Tensor
    scatter_CC: Tensor

    @classmethod
    def of(cls, errors_nC: Tensor) -> Self:
        """The moments of errors in any precision."""
        errors_nC = errors_nC.double()
        mean_C = errors_nC.mean(dim=0)
        return cls(len(errors_nC), mean_C, (errors_nC - mean_C).T @ (errors_nC - mean_C))

    def merged(self, other: Self) -> Self:
        """The moments of both parts' pixels together (Chan, Golub & LeVeque 1983, eq. 2.1)."""
        num, apart_C = self.num + other.num, other.mean_C - self.mean_C
        between_CC = torch.outer(apart_C, apart_C) * (self.num * other.num / num)
        mean_C = self.mean_C + apart_C * (other.num / num)
        return type(self)(num, mean_C, self.scatter_CC + other.scatter_CC + between_CC)

    def whitening(self) -> Tensor:
        """W [C, C] with |W (e − mean)|² the squared Mahalanobis distance of an error e. The covariance is shrunk
        towards a sphere by SHRINKAGE (Ledoit & Wolf 2004, eq. 4): it has an inverse where channels are copies."""
        covariance_CC = self.scatter_CC / max(self.num - 1, 1)
        unit_CC = torch.eye(len(covariance_CC), dtype=torch.float64)
        variance = covariance_CC.diagonal().mean().clamp(min=SMALLEST_VARIANCE)
        shrunk_CC = (1 - SHRINKAGE) * covariance_CC + SHRINKAGE * variance * unit_CC
        return torch.linalg.inv(torch.linalg.cholesky(shrunk_CC))  # type: ignore[no-any-return]

    def as_row(self) -> Tensor:
        """All numbers in one row [1 + C + C²]."""
        num = torch.tensor([float(self.num)], dtype=torch.float64, device=self.mean_C.device)
        return torch.cat([num, self.mean_C, self.scatter_CC.flatten()])

    @classmethod
    def from_row(cls, row: Tensor, num_channels: int) -> Self:
        """The moments that `as_row` gave."""
        scatter_CC = row[1 + num_channels :].view(num_channels, num_channels)
        return cls(int(row[0]), row[1 : 1 + num_channels], scatter_CC)
