"""Memory: the coreset covers what it was chosen from, and distances are those to the nearest patch."""

from __future__ import annotations

import pytest
import torch

from lesion.algorithms.anomaly.memory import (
    GreedyCoreset,
    MemoryScorer,
    refuse_large_memory,
    standardised,
    statistics,
)
from lesion.algorithms.anomaly.patch_features import create_patch_features, grid_of
from lesion.data.transforms import Preprocess
from lesion.errors import UserError

PREPROCESS = Preprocess(48, (0.5,) * 3, (0.5,) * 3)


def images(num: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, 48, 48, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def scorer() -> MemoryScorer:
    features = create_patch_features("test_resnet", {}, PREPROCESS, (8, 16), seed=0)
    candidates_nD = features(images(2)).flatten(0, 2)
    mean_D, scale_D = statistics(candidates_nD)
    memory_MD = standardised(candidates_nD, mean_D, scale_D)[::3]
    return MemoryScorer(features, mean_D, scale_D, memory_MD).eval()


def test_the_coreset_takes_the_farthest_first():
    """On a line, from wherever it starts: an end, the other end, then about the middle of the largest gap."""
    line_n1 = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    coreset = GreedyCoreset(line_n1, seed=0)
    coreset.chosen, coreset.nearest_n = [0], (line_n1[:, 0] - 0).square()
    for _ in range(2):
        coreset.choose()
    assert coreset.chosen == [0, 4, 3]


def test_the_coreset_covers_better_than_chance():
    generator = torch.Generator().manual_seed(1)
    candidates_nD = torch.cat([torch.randn(500, 8, generator=generator), 9 + torch.randn(3, 8, generator=generator)])
    coreset = GreedyCoreset(candidates_nD, seed=0)
    while len(coreset.chosen) < 20:
        coreset.choose()
    radius = torch.cdist(candidates_nD, candidates_nD[coreset.chosen]).min(dim=1).values.max()
    by_chance = torch.cdist(candidates_nD, candidates_nD[:20]).min(dim=1).values.max()
    assert radius < 0.5 * by_chance
    assert torch.allclose(
        coreset.nearest_n, torch.cdist(candidates_nD, candidates_nD[coreset.chosen]).min(1).values ** 2, atol=1e-4
    )


def test_a_distance_is_that_to_the_nearest_patch(scorer):
    found_hw = scorer(images(1, seed=5))[0]
    features_PD = standardised(scorer.features(images(1, seed=5)).flatten(0, 2), scorer.mean_D, scorer.scale_D)
    wanted_P = torch.cdist(features_PD.double(), scorer.memory_MD.double()).min(dim=1).values
    assert torch.allclose(found_hw.flatten().double(), wanted_P, atol=1e-3)
    assert scorer(images(2))[0].flatten()[::3].max() < 1e-2  # these are in the memory


def test_a_picture_has_the_same_distances_in_any_batch(scorer):
    alone = scorer(images(1, seed=7))[0]
    among = scorer(torch.cat([images(3, seed=8), images(1, seed=7)]))[3]
    assert torch.allclose(alone, among, atol=1e-4)


def test_features_are_standardised_and_constant_ones_left_out():
    candidates_nD = torch.stack([torch.arange(5.0), torch.full((5,), 3.0)], dim=1)
    mean_D, scale_D = statistics(candidates_nD)
    found_nD = standardised(candidates_nD, mean_D, scale_D)
    assert found_nD[:, 0].std(correction=0).item() == pytest.approx(2**-0.5)
    assert (found_nD[:, 1] == 0).all()


def test_a_map_has_a_place_for_each_stride_of_the_finest_level():
    features = create_patch_features("test_resnet", {}, PREPROCESS, (16, 8), seed=0)
    height, width, num_features = grid_of(features, 48)
    of_one = grid_of(create_patch_features("test_resnet", {}, PREPROCESS, (8,), seed=0), 48)
    assert (height, width) == (6, 6) == of_one[:2]
    assert num_features > of_one[2]


def test_what_lies_beyond_an_edge_counts_as_zero():
    """A corner is the mean of its four places times 4/9, an edge that of six times 6/9, and the middle stays."""
    zero, left_out = (
        create_patch_features("test_resnet", {}, PREPROCESS, (8,), seed=0, edge_is_zero=edge_is_zero)
        for edge_is_zero in (True, False)
    )
    share_hw = torch.ones(6, 6)
    share_hw[[0, -1]] *= 2 / 3
    share_hw[:, [0, -1]] *= 2 / 3
    assert torch.allclose(zero(images(2)), left_out(images(2)) * share_hw[..., None], atol=1e-5)


def test_a_stride_that_the_network_has_not_is_refused_with_those_that_it_has():
    with pytest.raises(UserError, match=r"no level of stride 5 for images of 48 px; it has 2, 4, 8, 16, 24"):
        create_patch_features("test_resnet", {}, PREPROCESS, (5,), seed=0)


def test_a_memory_that_is_too_large_is_refused_with_the_largest_that_fits():
    with pytest.raises(UserError, match=r"would take 100 MiB, and 25 are allowed.*at most 25600") as refused:
        refuse_large_memory(102_400, 256)
    assert refused.value.kind == "hyperparameters"
    refuse_large_memory(25_600, 256)
