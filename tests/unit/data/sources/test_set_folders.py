"""Set folders: siblings that are called alike but for a set's word are sets, and so is the one beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from layouts import draw_tree
from lesion.data.channels import open_channels
from lesion.data.sources.folders.set_folders import set_folders
from lesion.data.table import Columns
from lesion.errors import UserError

WANTED = Columns(targets=("target",), are_targets_needed=True, metadata=())


def sets_of(*folders: str) -> dict[str, str]:
    """The folder of each set, with its sub-folders or images as these paths."""
    pictures = [(*folder.split("/"), f"{number}.png") for folder in folders for number in range(2)]
    found = set_folders(Path("/data"), pictures)
    return {split: "/".join(parts) for split, parts in found.sets.items()}


CLASSES = ("ADI", "BACK", "TUM")


def inside(*names: str) -> list[str]:
    return [f"{name}/{inner}" for name in names for inner in CLASSES]


SETS = [
    (inside("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"), {"train": "NCT-CRC-HE-100K", "validation": "CRC-VAL-HE-7K"}),
    (inside("colon", "colon_test"), {"train": "colon", "test": "colon_test"}),
    (inside("colon_train", "colon_test"), {"train": "colon_train", "test": "colon_test"}),
    (inside("train_100", "test_20"), {"train": "train_100", "test": "test_20"}),
    (
        ["ISIC2018_Task3_Training_Input", "ISIC2018_Task3_Validation_Input", "ISIC2018_Task3_Test_Input"],
        {
            "train": "ISIC2018_Task3_Training_Input",
            "validation": "ISIC2018_Task3_Validation_Input",
            "test": "ISIC2018_Task3_Test_Input",
        },
    ),
    (["lesions_train/a", "lesions_train/b", "lesions_val/b"], {"train": "lesions_train", "validation": "lesions_val"}),
    (["train_HE/a", "train_HE/b", "test_HE/b"], {"train": "train_HE", "test": "test_HE"}),
]


@pytest.mark.parametrize(("folders", "expected"), SETS, ids=lambda value: str(value)[:40])
def test_siblings_say_which_sets_they_are(folders, expected):
    assert sets_of(*folders) == expected


@pytest.mark.parametrize(
    "folders",
    [
        ["pregnancy_test", "control"],
        ["train_of_thought", "testament"],
        ["stress_test", "no_stress"],
    ],
)
def test_a_word_of_a_set_in_one_class_alone_makes_no_set(folders):
    assert sets_of(*folders) == {}


def test_folders_of_a_class_and_a_set_each_are_refused_with_what_to_do():
    with pytest.raises(UserError, match="after a class and a set each") as caught:
        sets_of("benign_train", "benign_test", "malignant_train", "malignant_test")
    assert "train/CLASS/" in caught.value.do


def test_two_unnamed_folders_beside_a_set_are_refused():
    with pytest.raises(UserError, match="look like sets"):
        sets_of(*inside("NCT-CRC-HE-100K", "NCT-CRC-HE-100K-NONORM", "CRC-VAL-HE-7K"))


def test_kathers_two_folders_are_the_training_and_the_validation_set(tmp_path):
    draw_tree(tmp_path, inside("NCT-CRC-HE-100K", "CRC-VAL-HE-7K"))
    found = open_channels({"training": tmp_path}, WANTED)
    assert found.problems == ()
    table = found.training.table()
    assert len(table) == 12 and table.is_valid_S.sum() == 6 and set(table.targets["target"]) == set(CLASSES)
    assert any("NCT-CRC-HE-100K/ is read as the train set" in remark.what for remark in table.remarks)


def test_flat_siblings_are_no_classes(tmp_path):
    draw_tree(tmp_path, ["ISIC2018_Task3_Training_Input", "ISIC2018_Task3_Validation_Input"])
    (problem, *_) = open_channels({"training": tmp_path}, WANTED).problems
    assert "no train set found" in problem.what
