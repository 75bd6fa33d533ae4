"""Mixing: pictures, metadata and targets of a batch are blended by one share, the same at the same key."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lesion.algorithms.classify.training.loop import Mixing


def mixed(mixing: Mixing, number: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Six pictures each of one colour, which their metadata and targets say again."""
    colour_N = torch.arange(6)
    images_NCHW = (40 * colour_N).to(torch.uint8)[:, None, None, None].expand(6, 3, 16, 20)
    return mixing(images_NCHW, colour_N[:, None].float(), colour_N[:, None].float(), np.random.SeedSequence([number]))


def test_nothing_is_mixed_unless_asked():
    images_NCHW, metadata_NM, targets_NK = mixed(Mixing())
    assert images_NCHW.dtype == torch.uint8
    assert images_NCHW[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160, 200]
    assert metadata_NM[:, 0].tolist() == targets_NK[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("mixing", [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(mixup=0.4, cutmix=1.0)])
def test_targets_and_metadata_are_what_the_pixels_are(mixing, number):
    """A picture's mean colour is linear in both blends, so it tells the share."""
    images_NCHW, metadata_NM, targets_NK = mixed(mixing, number)
    colour_N = images_NCHW.float().mean(dim=(1, 2, 3)) / 40
    torch.testing.assert_close(targets_NK[:, 0], colour_N, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(metadata_NM[:, 0], colour_N, rtol=1e-4, atol=1e-4)


def test_a_box_is_pasted_by_cutmix_and_all_pixels_are_blended_by_mixup():
    cut_NCHW, blended_NCHW = mixed(Mixing(cutmix=1.0), 3)[0], mixed(Mixing(mixup=0.4), 3)[0]
    assert {len(picture.unique()) for picture in cut_NCHW} <= {1, 2} and len(cut_NCHW[0].unique()) == 2
    assert {len(picture.unique()) for picture in blended_NCHW} == {1} and blended_NCHW.dtype == torch.float32


def test_the_same_key_mixes_alike_and_another_otherwise():
    mixing = Mixing(mixup=0.4, cutmix=1.0)
    assert torch.equal(mixed(mixing, 1)[2], mixed(mixing, 1)[2])
    assert len({tuple(mixed(mixing, number)[2][:, 0].tolist()) for number in range(10)}) > 5
