"""Memory: the patches of normal tissue that are kept, and a picture's distance from the nearest of them."""

# N batch · H, W pixels · h, w places · P = h × w · D features of a place · M patches in memory · n candidates

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lesion.algorithms.anomaly.patch_features import PatchFeatures
from lesion.errors import UserError

MAX_BYTES = 25 * 2**20  # of the memory; the CPU graph holds it once more, so the artifact at most twice as much
MAX_CANDIDATES = 100_000  # from which the coreset chooses: more makes it slow and was not better
PROJECTED = 64  # dimensions in which the coreset is chosen (Johnson & Lindenstrauss 1984)
SMALLEST_STD = 1e-6  # below it a feature is constant, and left out


class MemoryScorer(nn.Module):
    """Pictures as uint8 RGB [N, H, W, 3] to the distance of each place from normal, float32 [N, h, w], 0 or more.

    The distance is Euclidean, to the nearest of the memory's patches, of features that were standardised on normal
    tissue, so that its unit is about one standard deviation of a feature: PatchCore's (Roth et al. 2022, eq. 6) without
    its weight for rare neighbours.
    """

    def __init__(self, features: PatchFeatures, mean_D: Tensor, scale_D: Tensor, memory_MD: Tensor) -> None:
        super().__init__()
        self.features = features
        self.mean_D: Tensor
        self.scale_D: Tensor
        self.memory_MD: Tensor
        for name, tensor in (("mean_D", mean_D), ("scale_D", scale_D), ("memory_MD", memory_MD)):
            self.register_buffer(name, tensor)

    def forward(self, images_NHWC: Tensor) -> Tensor:
        """The distances [N, h, w]. Picture by picture, since P × M numbers are needed for each."""
        features_NhwD = standardised(self.features(images_NHWC), self.mean_D, self.scale_D)
        return torch.stack([self._nearest(features_NhwD[n]) for n in range(features_NhwD.shape[0])])

    def _nearest(self, features_hwD: Tensor) -> Tensor:
        places_PD = features_hwD.flatten(0, 1)
        # |x − m|² = |x|² + |m|² − 2 x·m; rounding may bring it below 0
        from_memory_PM = self.memory_MD.square().sum(dim=1) - 2 * places_PD @ self.memory_MD.T
        squared_P = places_PD.square().sum(dim=1) + from_memory_PM.min(dim=1).values
        return squared_P.clamp(min=0).sqrt().view(features_hwD.shape[:2])


def standardised(features_D: Tensor, mean_D: Tensor, scale_D: Tensor) -> Tensor:
    """Features [..., D] with mean 0 and deviation 1 ∕ √D each, so that a vector's length is about 1."""
    return (features_D - mean_D) * scale_D


def statistics(candidates_nD: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the factor [D] that standardise the features of normal patches. A constant feature's factor is 0."""
    std_D, mean_D = torch.std_mean(candidates_nD.double(), dim=0, correction=0)
    scale_D = torch.where(std_D > SMALLEST_STD, 1 / std_D.clamp(min=SMALLEST_STD), 0.0) / math.sqrt(len(mean_D))
    return mean_D.float(), scale_D.float()


class GreedyCoreset:
    """Chooses candidates that cover all others best: each next one is the farthest from those chosen before (k-centre
    greedy, Sener & Savarese 2018, algorithm 1), in a random projection. The first is drawn by `seed`.

    `chosen` are their numbers, in the order of choice; with `nearest_n` they are the state to go on from.
    """

    def __init__(self, candidates_nD: Tensor, *, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        num_candidates, width = candidates_nD.shape
        self.chosen = [int(torch.randint(num_candidates, (1,), generator=generator))]
        if width > PROJECTED:
            projection_DQ = torch.randn(width, PROJECTED, generator=generator) / math.sqrt(PROJECTED)
            candidates_nD = candidates_nD @ projection_DQ.to(candidates_nD.device)
        self._candidates_nQ, self._squared_n = candidates_nD, candidates_nD.square().sum(dim=1)
        self.nearest_n = self._squared_distances(self.chosen[0])

    def choose(self) -> None:
        """Chooses one more."""
        self.chosen.append(int(self.nearest_n.argmax()))
        self.nearest_n = torch.minimum(self.nearest_n, self._squared_distances(self.chosen[-1]))

    def _squared_distances(self, number: int) -> Tensor:
        """Of all candidates from one; by |x|² + |y|² − 2 x·y, which reads them once: three times as fast as x − y."""
        products_n = self._candidates_nQ @ self._candidates_nQ[number]
        return (self._squared_n + self._squared_n[number] - 2 * products_n).clamp(min=0)


def refuse_large_memory(num_patches: int, num_features: int) -> None:
    """Raises UserError for a memory beyond MAX_BYTES, with the largest that fits."""
    num_bytes = 4 * num_patches * num_features
    if num_bytes > MAX_BYTES:
        raise UserError(
            f"memory_patches={num_patches} of {num_features} features each would take {num_bytes / 2**20:.0f} MiB, and "
            f"{MAX_BYTES // 2**20} are allowed",
            where="hyperparameter memory_patches",
            do=f"Set it to at most {MAX_BYTES // (4 * num_features)}, or choose fewer strides or a smaller network.",
            kind="hyperparameters",
        )
