"""Set names: which words are sets, and which only look like it."""

from __future__ import annotations

import pytest

from lesion.data.sources.folders.set_names import is_in_doubt, is_neutral, is_part, set_in, set_of

SETS = {
    "train": "train Train TRAIN training Training_Set trainSet train_images train2017 TrainingData ＴＲＡＩＮ",
    "validation": "val Val valid VALIDATION validation-set val_224 dev ValImages",
    "test": "test Test TESTING test_set testset test_png TestImages",
}
NO_SETS = "benign trainers contest vitest testis valgus pregnancy_test valid_lesion invalid trainA value 0 _ é"


@pytest.mark.parametrize(("split", "name"), [(split, name) for split, names in SETS.items() for name in names.split()])
def test_a_set_is_known_in_any_usual_form(split, name):
    assert set_of(name) == split


@pytest.mark.parametrize("name", NO_SETS.split())
def test_another_word_is_no_set(name):
    assert set_of(name) is None


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("camelyonpatch_level_2_split_valid_x", "validation"),
        ("pcamTrain-000001", "train"),
        ("ISIC_2019_Test_Input", "test"),
        ("trainval", None),
        ("train_and_test", None),
        ("attestation", None),
    ],
)
def test_a_files_name_may_hold_the_word_anywhere(name, split):
    assert set_in(name) == split


def test_words_of_tables_stand_beside_the_set_of_a_table_alone():
    assert set_of("train_labels", is_table=True) == "train" and set_of("train_labels") is None


def test_other_kinds_of_names():
    assert all(map(is_in_doubt, ["eval", "Evaluation_set", "holdout"])) and not is_in_doubt("evaluated_lesion")
    assert all(map(is_neutral, ["images", "jpg", "Image_Data", "images 2"])) and not is_neutral("nevus_images")
    assert all(map(is_part, ["fold1", "images_002", "part 3", "HAM10000_images_part_1"]))
    assert not any(map(is_part, ["grade_1", "7", "birads2"]))
