"""Sample tissue: the same seed the same bytes; masks that are exact; slides that are on one side only."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from lesion.data.sample_tissue import draw_tile, draw_tissue
from lesion.errors import UserError


def test_a_set_has_normal_and_anomalous_tiles_of_slides_with_a_mask_for_each_anomaly(tmp_path):
    draw_tissue(tmp_path, num_images=64, seed=3)
    train, test = (pd.read_csv(tmp_path / f"{split}.csv", keep_default_na=False) for split in ("train", "test"))
    assert len(train) == len(test) == 64 and not set(train["patient_id"]) & set(test["patient_id"])
    assert train["patient_id"].nunique() == 8 and 4 <= train["target"].sum() <= 16
    assert ((train["mask"] != "") == (train["target"] == 1)).all()
    for row in train[train["target"] == 1].itertuples():
        mask_HW = cv2.imread(str(tmp_path / str(row.mask)), cv2.IMREAD_UNCHANGED)
        tile_HWC = cv2.imread(str(tmp_path / "train_jpg" / f"{row.image_name}.jpg"))
        assert mask_HW.shape == tile_HWC.shape[:2] and set(np.unique(mask_HW)) == {0, 255}
        assert 0.03 < (mask_HW > 0).mean() < 0.3


def test_an_anomaly_looks_different_inside_its_mask_and_not_outside():
    """The same tile with and without: grain and focus are drawn after the anomaly, so they differ everywhere a bit."""
    for seed in range(4):
        without, _ = draw_tile(False, np.random.default_rng(9), np.random.default_rng(seed))
        with_it, mask_HW = draw_tile(True, np.random.default_rng(9), np.random.default_rng(seed))
        change_HW = cv2.blur(np.abs(with_it.astype(float) - without).mean(axis=2), (5, 5))
        inside, rim = mask_HW > 0, cv2.dilate(mask_HW, np.ones((15, 15))) > 0
        assert np.median(change_HW[inside]) > 2 * np.median(change_HW[~rim])


def test_some_anomalies_run_beyond_an_edge_of_their_tile_and_all_are_large_enough_to_count():
    masks = [draw_tile(True, np.random.default_rng(0), np.random.default_rng(seed))[1] > 0 for seed in range(40)]
    edges = [np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]) for mask in masks]
    assert 10 <= sum(edge.any() for edge in edges) <= 25
    assert min(mask.mean() for mask in masks) > 0.04  # of places the shipped anomalous_area wants 3 %


def test_the_same_seed_draws_the_same_tile_and_wrong_sizes_are_refused(tmp_path):
    first, second = (draw_tile(True, np.random.default_rng(1), np.random.default_rng(2))[0] for _ in range(2))
    assert (first == second).all()
    with pytest.raises(UserError, match="too few tiles"):
        draw_tissue(tmp_path, num_images=63)
    with pytest.raises(UserError, match="negative"):
        draw_tissue(tmp_path, seed=-1)
    (tmp_path / "train.csv").write_text("")
    with pytest.raises(UserError, match="already"):
        draw_tissue(tmp_path)
