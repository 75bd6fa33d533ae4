"""Other layouts: COCO, YOLO, Pascal VOC, LabelMe and plain lists are named as what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layouts import draw_noise, draw_tree
from lesion.data.channels import open_channels
from lesion.data.table import Columns

WANTED = Columns(targets=("target",), are_targets_needed=True, metadata=())
COCO = {
    "info": {},
    "images": [{"id": number, "file_name": f"{number}.png"} for number in range(3000)],
    "annotations": [{"id": number, "image_id": number, "category_id": 1, "bbox": [1, 2, 3]} for number in range(3000)],
    "categories": [{"id": 1, "name": "nevus"}],
}
VOC = "<annotation><filename>0.png</filename><object><name>nevus</name><bndbox></bndbox></object></annotation>"

# Image folders, a file and its text, what it is, and what to do.
LAYOUTS = {
    "COCO": (["train2017", "val2017"], "annotations/instances.json", json.dumps(COCO), "COCO", "file_name of `images`"),
    "YOLO": (
        ["images/train", "images/val"],
        "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: nevus\n",
        "YOLO data set",
        "labels/",
    ),
    "YOLO of Roboflow": (
        ["train/images", "valid/images"],
        "data.yaml",
        "train: ../train/images\nnc: 1\nnames: ['a']\n",
        "YOLO data set",
        "the class",
    ),
    "boxes": (["images"], "labels/0.txt", "0 0.5 0.5 0.1 0.2\n1 .4 .4 1e-2 0.1\n", "boxes of an image", "data.yaml"),
    "VOC": (["JPEGImages"], "Annotations/0.xml", VOC, "Pascal VOC", "an object's name"),
    "LabelMe": (["all"], "all/0.json", '{"shapes": [], "imagePath": "0.png"}', "LabelMe", "imagePath"),
    "list": (["images"], "train.txt", "images/0.png 0\nimages/1.png 1\n", "a plain list of images", "train.csv"),
    "list by commas": (["images"], "labels.txt", "0.png,nevus\n1.png,melanoma\n", "a plain list of images", "header"),
    "list without endings": (["jpg"], "meta/train.txt", "jpg/0\njpg/1\n", "a plain list of images", "train/"),
}


def laid_out(folder: Path, name: str) -> None:
    folders, file, text, _, _ = LAYOUTS[name]
    draw_tree(folder, folders)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text)


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_is_the_cause_where_no_set_is_found(tmp_path, name):
    laid_out(tmp_path, name)
    _, file, _, what, do = LAYOUTS[name]
    (problem, *_) = open_channels({"training": tmp_path}, WANTED).problems
    assert f"{Path(file).name} is " in problem.what and what in problem.what
    assert "no train set found" in problem.what or "there is one class only, JPEGImages/" in problem.what
    assert do in problem.do and "source-ref" not in str(problem)


@pytest.mark.parametrize("name", ["COCO", "list", "VOC"])
def test_beside_classes_it_is_said(tmp_path, name):
    draw_tree(tmp_path, ["benign", "malignant"])
    _, file, text, what, _ = LAYOUTS[name]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    found = open_channels({"training": tmp_path}, WANTED)
    assert found.problems == () and len(found.training.table()) == 4
    (said,) = [remark for remark in found.remarks if remark.name == "other_layout"]
    assert said.level == "warning" and what in said.what


@pytest.mark.parametrize("text", ["Free, for all.\n", "", "image quality is good\n1 2 3\n", '{"a": 1}'])
def test_other_texts_are_not_named(tmp_path, text):
    draw_tree(tmp_path, ["benign", "malignant"])
    for name in ("readme.txt", "notes.json", "a.yaml", "b.xml"):
        (tmp_path / name).write_text(text)
    assert "other_layout" not in {remark.name for remark in open_channels({"training": tmp_path}, WANTED).remarks}


def test_hidden_images_alone_are_the_cause(tmp_path):
    draw_noise(tmp_path / ".cache" / "benign" / "a.png")
    (problem, *_) = open_channels({"training": tmp_path}, WANTED).problems
    assert "1 hidden images, such as .cache/benign/a.png, are not looked at" in problem.do
