"""The drawn data set, through its one door: what lies in the directory afterwards."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from lesion.data.sample_data import draw_dataset
from lesion.errors import UserError

COLUMNS = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"]
TARGETS = ["diagnosis", "benign_malignant", "target"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("drawn")
    draw_dataset(directory, num_images=90)
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.*")}


def pictures(directory: Path, split: str) -> list[np.ndarray]:
    names = pd.read_csv(directory / f"{split}.csv")["image_name"]
    return [cv2.imread(str(directory / f"{split}_jpg" / f"{name}.jpg")) for name in names]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture_for_every_row(tmp_path):
    for name, seed in [("first", 3), ("again", 3), ("other", 4)]:
        draw_dataset(tmp_path / name, num_images=24, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert first.keys() == other.keys() and len(first) == 24 + 4 + 2
    assert len(set(first.values()) | set(other.values())) == 2 * len(first)


def test_the_number_of_cores_changes_no_byte(tmp_path, monkeypatch):
    num_cv2_threads = cv2.getNumThreads()
    for num_cores in (1, 32):
        monkeypatch.setattr("os.cpu_count", lambda num_cores=num_cores: num_cores)  # what a thread pool goes by
        cv2.setNumThreads(num_cores)
        draw_dataset(tmp_path / str(num_cores), num_images=24)
    cv2.setNumThreads(num_cv2_threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "32")


def test_the_tables_have_the_columns_of_siim_isic_and_the_test_table_hides_the_targets(drawn):
    train, test = pd.read_csv(drawn / "train.csv"), pd.read_csv(drawn / "test.csv")
    assert list(train) == COLUMNS + TARGETS and len(train) == 90
    assert list(test) == COLUMNS and len(test) == 15
    assert (train["target"] == (train["benign_malignant"] == "malignant")).all()
    assert (train["target"] == (train["diagnosis"] == "melanoma")).all()
    assert 0.25 <= train["target"].mean() <= 0.3


def test_sex_age_and_site_have_a_few_gaps_and_nothing_else_has(drawn):
    gaps = pd.read_csv(drawn / "train.csv").isna().mean()
    assert gaps[["sex", "age_approx", "anatom_site_general_challenge"]].between(0.005, 0.2).all()
    assert (gaps[["image_name", "patient_id", *TARGETS]] == 0).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_row_has_a_colour_picture_of_600_pixels_or_more_and_no_picture_lacks_a_row(drawn, split):
    images = pictures(drawn, split)
    assert all(image is not None and max(image.shape) >= 600 and image.std() > 5 for image in images)
    assert len({image.shape for image in images}) > 1
    assert len(list((drawn / f"{split}_jpg").iterdir())) == len(images)


def test_a_patient_has_up_to_six_pictures_all_in_train_or_all_in_test(drawn):
    train, test = pd.read_csv(drawn / "train.csv"), pd.read_csv(drawn / "test.csv")
    assert set(train["patient_id"]).isdisjoint(test["patient_id"])
    assert set(train["patient_id"].value_counts()) == {1, 2, 3, 4, 5, 6}
    assert (train.groupby("patient_id")["sex"].nunique() <= 1).all()


@pytest.mark.parametrize("num_folds", [3, 4, 5, 6])
def test_folds_by_patient_hold_both_classes(drawn, num_folds):
    train = pd.read_csv(drawn / "train.csv")
    splits = StratifiedGroupKFold(num_folds).split(train, train["target"], train["patient_id"])
    assert all(train["target"].iloc[held_out].nunique() == 2 for _, held_out in splits)


def test_neither_brightness_nor_size_nor_the_skin_at_the_border_gives_the_target_away(drawn):
    """Of 26 malignant and 64 benign, AUC scatters by 0.068 around chance (Hanley and McNeil 1982): three of those."""
    images, target_S = pictures(drawn, "train"), pd.read_csv(drawn / "train.csv")["target"]
    for measure in (np.mean, np.size, lambda image: image[:, :40].mean()):
        assert abs(roc_auc_score(target_S, [measure(image) for image in images]) - 0.5) < 0.2


def test_a_ragged_outline_tells_more_than_chance_and_less_than_everything(drawn):
    """The share of its convex hull that the darker part of a picture fills, by Otsu's threshold."""
    images, target_S = pictures(drawn, "train"), pd.read_csv(drawn / "train.csv")["target"]
    assert 0.7 < roc_auc_score(target_S, [-solidity(image) for image in images]) < 1


def solidity(image_HWC: np.ndarray) -> float:
    small_HWC = cv2.resize(image_HWC, (160, 120), interpolation=cv2.INTER_AREA)
    green_HW = cv2.GaussianBlur(cv2.medianBlur(small_HWC, 5)[10:110, 25:135, 1], (0, 0), 1.5)  # hairs go, so do corners
    dark_HW = cv2.threshold(green_HW, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    contours, _ = cv2.findContours(dark_HW, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lesion = max(contours, key=cv2.contourArea)
    return cv2.contourArea(lesion) / cv2.contourArea(cv2.convexHull(lesion))


@pytest.mark.parametrize("num_images", [-1, 0, 23])
def test_fewer_than_24_pictures_are_refused_and_nothing_is_written(tmp_path, num_images):
    with pytest.raises(UserError, match=f"num_images={num_images}"):
        draw_dataset(tmp_path / "new", num_images=num_images)
    assert not (tmp_path / "new").exists()


def test_a_data_set_that_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "train.csv").write_text("mine")
    with pytest.raises(UserError, match=r"train\.csv"):
        draw_dataset(tmp_path, num_images=24)
    assert contents(tmp_path) == {"train.csv": b"mine"}
