"""Channels: which folders, tables and channels are which set, and what is said of the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from layouts import draw_mask, draw_noise, draw_tree, write_table
from lesion.data.channels import Opened, open_channels
from lesion.data.remark import Remark
from lesion.data.table import Columns
from sources import write_lst, write_pcam_hdf5, write_webdataset

WANTED = Columns(targets=("target",), are_targets_needed=True, group="patient_id")


def opened(folder: Path, **others: Path) -> Opened:
    return open_channels({"training": folder, **others}, WANTED)


def counts(sets: Opened) -> tuple[int, int, int]:
    """How many rows are trained on, held out and tested."""
    assert not sets.problems, sets.problems
    assert sets.training is not None
    table = sets.training.table()
    num_valid = 0 if table.is_valid_S is None else int(table.is_valid_S.sum())
    return len(table) - num_valid, num_valid, 0 if sets.test is None else len(sets.test.table())


def classes(sets: Opened) -> list[str]:
    assert not sets.problems, sets.problems
    assert sets.training is not None
    return sorted(set(sets.training.table().targets["target"]))


def remarks(sets: Opened) -> dict[str, Remark]:
    tables = [source.table() for source in (sets.training, sets.test) if source is not None]
    return {one.name: one for one in (*sets.remarks, *(one for table in tables for one in table.remarks))}


def refusal(sets: Opened) -> str:
    assert sets.problems, "nothing was refused"
    return " ".join(map(str, sets.problems))


# Folders of classes

USUAL = [
    ("train", "val", "test"),
    ("Train", "Valid", "Test"),
    ("TRAIN", "VALIDATION", "TEST"),
    ("Training", "Validation", "Testing"),
    ("training_set", "val_set", "test_set"),
    ("TrainSet", "ValSet", "TestSet"),
    ("train_images", "val_images", "test_images"),
    ("train-224", "dev-224", "test-224"),
    ("trainset", "valset", "testset"),
    ("archive/Skin data/Train", "archive/Skin data/Val", "archive/Skin data/Test"),
    ("ISIC_Train", "ISIC_Val", "ISIC_Test"),  # only certain as all of them hold the same classes
    ("train/images", "val/images", "test/images"),
    ("train/train", "val/val", "test/test"),
]


@pytest.mark.parametrize(("train", "validation", "test"), USUAL)
def test_sets_are_found_by_any_usual_name_and_held_out(tmp_path, train, validation, test):
    folders = {train: 4, validation: 3, test: 2}
    for folder, num in folders.items():
        draw_tree(tmp_path, [f"{folder}/benign", f"{folder}/malignant"], num=num)
    sets = opened(tmp_path)
    assert counts(sets) == (8, 6, 4) and classes(sets) == ["benign", "malignant"]
    assert "no cross-validation" in remarks(sets)["validation_set"].what
    assert "files_not_read" not in remarks(sets)


def test_class_folders_beside_a_test_folder_are_the_training_set(tmp_path):
    draw_tree(tmp_path, ["benign", "malignant", "Test/benign", "Test/malignant"])
    sets = opened(tmp_path)
    assert counts(sets) == (4, 0, 4) and classes(sets) == ["benign", "malignant"]


REFUSED = {
    "folds": (["fold1/a", "fold1/b", "fold2/a", "fold2/b"], r"look like sets.*fold1/, fold2/ with a/, b/"),
    "sites": (["siteA/x", "siteA/y", "siteB/x", "siteB/y", "siteC/x"], r"3 folders hold the same sub-folders"),
    "magnifications": (["40X/benign", "40X/malignant", "100X/benign", "100X/malignant"], r"100X/, 40X/"),
    "on top": (["data/set one/a", "data/set one/b", "data/set two/a", "data/set two/b"], r"set one/, set two/"),
    "an unknown set beside a known": (["data/a", "data/b", "test/a", "test/b"], r"1 folder holds the same .*data/"),
    "two of one set": (["Train/a", "Train/b", "training_set/a", "training_set/b"], "two folders are the train set"),
    "sets inside of classes": (["a/train", "a/test", "b/train", "b/test"], r"2 folders hold sets each: a/, b/ with"),
    "the set twice": (["yes", "no", "all/yes", "all/no"], r"all/ holds the folders no, yes that lie beside it"),
    "parts": (["images_001", "images_002"], r"images_001/, images_002/ are called as parts"),
    "folds of sets": (["fold1/train", "fold1/val", "fold2/train", "fold2/val"], r"If they are folds, give one"),
    "one class and a test set": (["control", "test"], r"only, control/; beside it lie test/ \(the test"),
    "eval": (["a", "b", "eval/x"], r"eval/ may be a validation or a test set"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_folders_that_look_like_sets_of_unknown_names_are_refused(tmp_path, case):
    folders, message = REFUSED[case]
    draw_tree(tmp_path, folders)
    words = refusal(opened(tmp_path))
    assert re.search(message, words), words
    assert len(opened(tmp_path).problems) == 1


KEPT = {
    "patients in classes": (["a/P1", "a/P2", "a/P3", "b/P3", "b/P4", "b/P5"], ["a", "b"]),
    "kinds in classes": (["benign/SOB/adenosis/40X", "malignant/SOB/ductal/40X"], ["benign", "malignant"]),
    "classes that hold images and folders": (["a", "a/left", "a/right", "b", "b/left", "b/right"], ["a", "b"]),
    "grades": (["grade_1", "grade_2", "3"], ["3", "grade_1", "grade_2"]),
    "words of sets in other words": (["pregnancy_test", "vitest"], ["pregnancy_test", "vitest"]),
    "an archive": (["archive/DDI/benign", "archive/DDI/malignant"], ["benign", "malignant"]),
    "a folder called images": (["images/a", "images/b"], ["a", "b"]),
}


@pytest.mark.parametrize("case", KEPT)
def test_folders_of_classes_stay_classes(tmp_path, case):
    folders, expected = KEPT[case]
    draw_tree(tmp_path, folders)
    sets = opened(tmp_path)
    assert classes(sets) == expected and counts(sets) == (2 * len(folders), 0, 0)


def test_how_deep_the_class_is_and_which_folder_is_looked_through_is_said(tmp_path):
    draw_tree(tmp_path, ["BreaKHis/breast/benign/SOB/adenosis", "BreaKHis/breast/malignant/SOB/ductal"])
    said = remarks(opened(tmp_path))
    assert "the first folder is the class, and 4 images lie deeper: benign/SOB/adenosis/" in said["deep_classes"].what
    assert "BreaKHis/breast/ is read as the train set, with 2 classes" in said["set_folder"].what


def test_folders_without_images_are_named(tmp_path):
    draw_tree(tmp_path, ["train/a", "train/b"])
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "train" / "d").mkdir()
    (tmp_path / "train" / "d" / "notes.txt").write_text("none")
    assert remarks(opened(tmp_path))["empty_class_folder"].what.startswith("the folders c/, d/ hold no images")


def test_class_folders_beside_a_table_that_is_none_can_be_taken(tmp_path):
    draw_tree(tmp_path, ["a", "b"])
    (tmp_path / "notes.lst.csv").write_text("x\n1\n")
    assert "The folders a, b are not taken as classes, because of notes.lst.csv: set source=class_folder" in refusal(
        opened(tmp_path)
    )
    assert classes(open_channels({"training": tmp_path}, WANTED, source="class_folder")) == ["a", "b"]


def test_a_class_without_images_is_named_where_one_is_left(tmp_path):
    draw_tree(tmp_path, ["benign"])
    (tmp_path / "malignant").mkdir()
    assert "one class only, benign/; beside it lie malignant/ (no images)" in refusal(opened(tmp_path))


def test_images_beside_class_folders_of_a_test_set_are_refused(tmp_path):
    draw_tree(tmp_path, ["train/a", "train/b", "test/a", "test/b"])
    draw_noise(tmp_path / "test" / "loose.png")
    assert "1 image is in no class folder, loose.png" in refusal(opened(tmp_path))


@pytest.mark.parametrize("folder", ["test", "test/images", "Test/test", "test/unknown"])
def test_a_test_folder_of_images_alone_has_no_targets(tmp_path, folder):
    draw_tree(tmp_path, ["train/a", "train/b", folder])
    sets = opened(tmp_path)
    assert counts(sets) == (4, 0, 2)
    assert sets.test.table().targets is None and sets.test.table().name_S.tolist() == ["0.png", "1.png"]


def test_a_further_folder_beside_the_sets_is_counted(tmp_path):
    draw_tree(tmp_path, ["train/a", "train/b", "evaluation/a", "evaluation/b"])
    sets = opened(tmp_path)
    assert counts(sets) == (4, 0, 0)
    said = remarks(sets)["files_not_read"]
    assert said.level == "warning" and said.what.startswith("4 files are not read: 4 .png, such as evaluation/a/0.png")
    assert said.do == "Call evaluation/ validation/ or test/, if it is meant to be one."


# Masks


MASKS = {
    "folders": ("{0}/images/{1}.png", "{0}/masks/{1}.png"),
    "JPEG": ("{0}/images/{1}.jpg", "{0}/masks/{1}.jpg"),
    "other names": ("{0}/images/img_{1}.png", "{0}/segmentation/seg_{1}.png"),
    "namesakes": ("{0}/{1}.png", "{0}/{1}_mask.png"),
    "several of one": ("{0}/{0} ({1}).png", "{0}/{0} ({1})_mask_1.png"),
    "beside the classes": ("images/{0}/{1}.png", "masks/{0}/{1}.png"),
    "ground truth": ("Input/{0}/I{1}.jpg", "GroundTruth/{0}/I{1}_segmentation.png"),
    "in the sets": ("train/{0}/{1}.png", "train/{0}/{1}_segmentation.png"),
}


@pytest.mark.parametrize("case", MASKS)
def test_masks_are_no_images_and_are_counted(tmp_path, case):
    image, mask = MASKS[case]
    for place, word in enumerate(("covid", "normal")):
        for number in range(3):
            draw_noise(tmp_path / image.format(word, number), seed=10 * place + number)
            draw_mask(tmp_path / mask.format(word, number), seed=number)
    sets = opened(tmp_path)
    assert counts(sets) == (6, 0, 0) and classes(sets) == ["covid", "normal"]
    assert remarks(sets)["masks_not_read"].what.startswith("6 masks are not read, such as")
    assert "files_not_read" not in remarks(sets)


def test_what_is_called_a_mask_and_looks_like_an_image_is_refused(tmp_path):
    draw_tree(tmp_path, ["a/images", "a/masks", "b/images", "b/masks"])
    words = refusal(opened(tmp_path))
    assert "2 files are called like masks" in words and "Remove the masks" in words


def test_a_class_may_be_called_mask(tmp_path):
    draw_tree(tmp_path, ["with_mask", "without_mask"])
    assert classes(opened(tmp_path)) == ["with_mask", "without_mask"]
    draw_tree(tmp_path / "other", ["mask", "no_mask"])
    assert classes(opened(tmp_path / "other")) == ["mask", "no_mask"]


def test_masks_beside_a_table_are_no_images_without_a_row(tmp_path):
    write_table(tmp_path, "train.csv", {f"i{number}": number % 2 for number in range(4)}, images="train_jpg")
    for number in range(4):
        draw_mask(tmp_path / "train_jpg" / "masks" / f"i{number}_mask.png", seed=number)
    draw_noise(tmp_path / "train_jpg" / "stray.png")
    sets = opened(tmp_path)
    assert [Path(stray).name for stray in sets.training.table().strays] == ["stray.png"]
    assert remarks(sets)["masks_not_read"].what.startswith("4 masks are not read")


# Tables, shards and arrays


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train.csv", "validation.csv", "test.csv"),
        ("Train.csv", "Val.csv", "Test.CSV"),
        ("training_set.csv", "valid.csv", "testing.csv"),
        ("train_labels.csv", "val_labels.csv", "test_labels.csv"),
    ],
)
def test_tables_are_found_by_any_usual_name(tmp_path, train, validation, test):
    for table, num in ((train, 6), (validation, 4), (test, 2)):
        rows = {f"{table[:2]}{number}": number % 2 for number in range(num)}
        write_table(tmp_path, table, rows, images=Path(table).stem)
    sets = opened(tmp_path)
    assert counts(sets) == (6, 4, 2)
    said = remarks(sets)
    assert "4 rows are the validation set" in said["validation_set"].what and "files_not_read" not in said
    assert not sets.training.table().strays


def test_the_plain_name_wins_and_the_other_table_is_counted(tmp_path):
    write_table(tmp_path, "train.csv", {"a": 0, "b": 1}, images="train")
    write_table(tmp_path, "train_labels.csv", {"a": 1, "b": 0}, images="train")
    sets = opened(tmp_path)
    assert sets.training.table().targets["target"].tolist() == ["0", "1"]
    assert remarks(sets)["files_not_read"].what.startswith("1 file is not read: 1 .csv, such as train_labels.csv")


def test_two_tables_of_one_set_are_refused(tmp_path):
    write_table(tmp_path, "Training.csv", {"a": 0}, images="train")
    write_table(tmp_path, "train_set.csv", {"a": 0}, images="train")
    assert "2 tables may be that of the train set: Training.csv, train_set.csv" in refusal(opened(tmp_path))


def test_the_three_sets_of_patchcamelyon_are_used_and_its_masks_counted(tmp_path):
    for split, num_rows in (("train", 12), ("valid", 6), ("test", 4)):
        write_pcam_hdf5(tmp_path, num_rows, split)
    (tmp_path / "camelyonpatch_level_2_split_train_mask.h5").write_bytes(b"x")
    sets = opened(tmp_path)
    assert counts(sets) == (12, 6, 4)
    assert remarks(sets)["files_not_read"].what.startswith("1 file is not read: 1 .h5, such as camelyonpatch")


@pytest.mark.parametrize("name", ["{0}/000000.tar", "{0}-000000.tar", "pcam_{0}.tar"])
@pytest.mark.parametrize("valid", ["val", "valid", "Validation"])
def test_shards_are_of_the_set_that_they_or_their_folders_are_called_after(tmp_path, name, valid):
    write_webdataset(tmp_path / "drawn", 12)
    for number, split in enumerate(("train", valid)):
        target = tmp_path / "channel" / name.format(split)
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "drawn" / f"train-{number:06d}.tar").rename(target)
    assert counts(opened(tmp_path / "channel")) == (6, 6, 0)


def test_lists_of_the_three_sets_lie_side_by_side(tmp_path):
    for split, num in (("train", 12), ("val", 6), ("test", 3)):
        write_lst(tmp_path, num, split)
    assert counts(opened(tmp_path)) == (12, 6, 3)


# Channels


@pytest.mark.parametrize(("name", "known"), [("val", 1), ("Validation", 1), ("valid", 1), ("testing", 2), ("Test", 2)])
def test_a_channel_in_another_form_is_read_and_said(tmp_path, name, known):
    draw_tree(tmp_path / "a", ["x", "y"])
    draw_tree(tmp_path / "b", ["x", "y"], num=3)
    sets = opened(tmp_path / "a", **{name: tmp_path / "b"})
    assert counts(sets)[known] == 6
    assert f"channel '{name}' is read as {['', 'validation', 'test'][known]}" in remarks(sets)["channel_name"].what


@pytest.mark.parametrize("name", ["eval", "metadata", "code"])
def test_a_channel_that_nothing_reads_is_warned_of(tmp_path, name):
    draw_tree(tmp_path, ["x", "y"])
    said = remarks(opened(tmp_path, **{name: tmp_path}))["channel_not_read"]
    assert said.level == "warning" and said.what == f"channel '{name}' is not read" and "validation" in said.do


@pytest.mark.parametrize(
    ("name", "meant"), [("validaton", "validation"), ("tests", "test"), ("pretraind", "pretrained")]
)
def test_a_misspelt_channel_is_refused_with_the_one_that_is_meant(tmp_path, name, meant):
    draw_tree(tmp_path, ["x", "y"])
    assert f"channel '{name}' is not known; did you mean '{meant}'?" in refusal(opened(tmp_path, **{name: tmp_path}))


def test_two_channels_of_one_set_are_refused(tmp_path):
    draw_tree(tmp_path, ["x", "y"])
    assert "channels 'training' and 'train' are both training" in refusal(opened(tmp_path, train=tmp_path))
    assert "are both validation" in refusal(opened(tmp_path, val=tmp_path, validation=tmp_path))


def test_a_set_in_the_training_channel_that_has_a_channel_too_is_named(tmp_path):
    draw_tree(tmp_path / "a", ["train/x", "train/y", "val/x", "val/y", "test/x", "test/y"])
    draw_tree(tmp_path / "b", ["x", "y"], num=1)
    sets = opened(tmp_path / "a", test=tmp_path / "b")
    assert counts(sets) == (4, 4, 2)
    assert "the test set in channel training is not read" in remarks(sets)["set_not_read"].what


# Files


def test_files_that_nothing_reads_are_counted_by_their_endings(tmp_path):
    draw_tree(tmp_path, ["a", "b"])
    for name in ("README.md", "LICENSE", "a/1.txt", "b/2.txt"):
        (tmp_path / name).write_text("x")
    said = remarks(opened(tmp_path))["files_not_read"]
    assert (
        said.what == "4 files are not read: 2 .txt, 1 without ending, 1 .md, such as LICENSE" and said.level == "note"
    )


def test_a_link_to_a_file_that_is_used_is_not_unread(tmp_path):
    write_table(tmp_path / "channel", "train.csv", {"a": 0, "b": 1}, images="train_jpg")
    (tmp_path / "channel" / "copy.csv").symlink_to(tmp_path / "channel" / "train.csv")
    assert "files_not_read" not in remarks(opened(tmp_path / "channel"))


def test_a_whole_set_leaves_nothing_to_say(tmp_path):
    write_table(tmp_path, "train.csv", {"a": 0, "b": 1}, images="train_jpg")
    assert remarks(opened(tmp_path)) == {}
