"""Layouts: what `lesion check` says of sets, masks and files as people lay them out."""

from __future__ import annotations

import pytest
from checks import check, errors, one
from PIL import Image

from layouts import draw_noise, draw_tree


def test_a_validation_folder_is_the_one_fold_and_that_is_said(tmp_path):
    draw_tree(tmp_path / "data", ["Train/benign", "Train/malignant", "Val/benign", "Val/malignant"], num=6)
    report = check({"training": tmp_path / "data"}, tmp_path / "out")
    assert not errors(report)
    assert len(report.folds) == 1 and report.sets["training"]["num_rows"] == 24
    said = one(report, "validation_set")
    assert "12 rows are the validation set" in said.what and "For cross-validation, move" in said.do


def test_sets_of_unknown_names_are_an_error_of_the_check(tmp_path):
    draw_tree(tmp_path / "data", ["siteA/a", "siteA/b", "siteB/a", "siteB/b"])
    (error,) = errors(check({"training": tmp_path / "data"}, tmp_path / "out"))
    assert "siteA/, siteB/" in error.what and "call them train, validation and test" in error.do


def test_frames_after_the_first_are_counted(tmp_path):
    draw_tree(tmp_path / "data", ["a", "b"], num=6)
    with Image.open(tmp_path / "data" / "a" / "0.png") as first, Image.open(tmp_path / "data" / "b" / "1.png") as other:
        first.save(tmp_path / "data" / "a" / "several.tif", save_all=True, append_images=[other])
    (tmp_path / "data" / "a" / "0.png").unlink()
    found = one(check({"training": tmp_path / "data"}, tmp_path / "out"), "frames_not_read")
    assert found.level == "warning" and [row.name for row in found.rows] == ["a/several.tif"]


@pytest.mark.parametrize("on_bad_image", ["error", "drop"])
def test_a_class_whose_images_cannot_be_read_is_never_dropped_whole(tmp_path, on_bad_image):
    draw_tree(tmp_path / "data", ["benign", "malignant", "other"], num=6)
    for path in (tmp_path / "data" / "other").iterdir():
        path.write_bytes(b"broken")
    report = check({"training": tmp_path / "data"}, tmp_path / "out", on_bad_image=on_bad_image)
    assert {finding.name for finding in errors(report)} == {"error": {"unreadable_image"}, "drop": {"class_lost"}}[
        on_bad_image
    ]


def test_an_image_without_a_class_folder_does_not_hide_the_rest(tmp_path):
    draw_tree(tmp_path / "data", ["a", "b"], num=6)
    draw_noise(tmp_path / "data" / "loose.png", seed=999)
    (error,) = errors(check({"training": tmp_path / "data"}, tmp_path / "out"))
    assert "1 image is in no class folder" in error.what


SIDES = ["thumbnails", "preview", "overlays", "annotations", "Thumbnail_Images", "heatmaps"]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("place", ["{}", "train/{}", "benign/{}"])
@pytest.mark.parametrize("ending", ["", "_thumb"])
def test_a_side_folder_of_namesakes_is_no_class(tmp_path, side, place, ending):
    """Drawn images, so that they are no masks: 0 to 5 lie in benign/ too."""
    top = "train/" if place.startswith("train/") else ""
    root = draw_tree(tmp_path / "data", [f"{top}benign", f"{top}malignant"], num=6)
    folder = root / place.format(side)
    for number in range(6):
        draw_noise(folder / f"{number}{ending}.png", seed=500 + number)
    report = check({"training": root}, tmp_path / "out")
    assert not errors(report)
    assert report.sets["training"]["num_rows"] == 12
    said = one(report, "copies_not_read")
    assert said.level == "warning" and f"6 images in {place.format(side)}/ are not read" in said.what


@pytest.mark.parametrize("side", SIDES)
def test_a_side_folder_without_namesakes_is_a_class_and_that_is_said(tmp_path, side):
    root = draw_tree(tmp_path / "data", ["benign", "malignant"], num=6)
    for number in range(6):
        draw_noise(root / side / f"other{number}.png", seed=500 + number)
    report = check({"training": root}, tmp_path / "out")
    assert report.sets["training"]["num_rows"] == 18
    said = one(report, "side_folder_as_class")
    assert said.level == "warning" and f"{side}/ is taken as a class" in said.what


HIDDEN = {
    ".cache/x.png": ("warning", "1 in .cache/ (hidden)"),
    "benign/.hidden/deep/x.png": ("warning", "1 in .hidden/ (hidden)"),
    "benign/.x.png": ("warning", "1 hidden by a point"),
    ".labels.csv": ("warning", "1 hidden by a point"),
    "benign/._x.png": ("note", "1 called ._ and more (macOS leaves them)"),
    "__MACOSX/benign/x.png": ("note", "1 in __MACOSX/ (macOS leaves them)"),
    "@eaDir/x.jpg": ("note", "1 in @eaDir/ (a Synology server leaves them)"),
    ".ipynb_checkpoints/x.png": ("note", "1 in .ipynb_checkpoints/ (Jupyter leaves them)"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_images_and_tables_are_counted_with_the_reason(tmp_path, name):
    root = draw_tree(tmp_path / "data", ["benign", "malignant"], num=6)
    draw_noise(root / "seen.png")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "seen.png").rename(root / name)
    report = check({"training": root}, tmp_path / "out")
    assert not errors(report) and report.sets["training"]["num_rows"] == 12
    said = one(report, "hidden_files")
    level, words = HIDDEN[name]
    assert said.level == level and words in said.what and said.what.startswith("1 file called as")


def test_what_is_hidden_and_no_data_is_not_said(tmp_path):
    root = draw_tree(tmp_path / "data", ["benign", "malignant"], num=6)
    (root / ".DS_Store").write_bytes(b"\0")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("")
    report = check({"training": root}, tmp_path / "out")
    assert "hidden_files" not in {finding.name for finding in report.findings}
