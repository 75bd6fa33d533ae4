"""Survey: what a picture looks like from afar, and that one broken picture does not end the look at the others."""

from __future__ import annotations

import numpy as np
import pytest
from tqdm import tqdm

from factories import sample_frame, write_channel
from lesion.check.survey import ImageStats, image_stats, plain_features, survey
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.table import Columns
from lesion.errors import UserError


def test_border_and_mean_are_those_of_the_picture():
    image_HWC = np.zeros((160, 320, 3), np.uint8)
    image_HWC[10:-10, 20:-20] = (250, 100, 0)  # all but the outermost of 16 cells on a side
    found = image_stats(image_HWC)
    assert (found.width_px, found.height_px) == (320, 160)
    np.testing.assert_allclose(found.border_C, 0)
    np.testing.assert_allclose(found.mean_C, np.array([250, 100, 0]) * (14 / 16) ** 2, atol=0.5)
    assert not found.is_blank


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_picture_of_one_colour_is_blank_also_with_a_little_noise(level):
    noise_HWC = np.random.default_rng(0).integers(-3, 4, (100, 100, 3))
    assert image_stats(np.clip(noise_HWC + level, 0, 255).astype(np.uint8)).is_blank


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_broken_and_missing_pictures_are_told_in_their_places(tmp_path, num_workers):
    csv_path = write_channel(tmp_path, sample_frame(3, 2))
    pictures = sorted((tmp_path / "train_jpg").iterdir())
    pictures[1].unlink()
    pictures[4].write_bytes(pictures[4].read_bytes()[:300])
    source = CsvFolder(csv_path, Columns("image_name", ("sex",), targets=("target",), group="patient_id"))
    kept: dict[int, np.ndarray] = {}
    with tqdm(disable=True) as bar:
        stats_S = survey(source, num_workers=num_workers, bar=bar, keep=kept.__setitem__)
    assert [index for index, found in enumerate(stats_S) if isinstance(found, UserError)] == [1, 4]
    whole = [found for found in stats_S if isinstance(found, ImageStats)]
    assert [found.width_px for found in whole] == [80] * 4
    assert {name: values.shape for name, values in plain_features(whole).items()} == {
        "size": (4, 2),
        "border": (4, 3),
        "mean colour": (4, 3),
    }
    assert sorted(kept) == [0, 2, 3, 5]
    assert all((image_HWC == source.read(index)).all() for index, image_HWC in kept.items())
