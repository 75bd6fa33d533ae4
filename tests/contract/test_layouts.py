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
