"""Task: which rows are normal, and which groups are held out; what cannot be learned from is said in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.masks import JUDGED_PX, mask_paths, read_mask, read_masks
from lesion.algorithms.anomaly.task import define_task
from lesion.config import describe
from lesion.data.table import SampleTable
from lesion.data.transforms import Preprocess
from lesion.errors import UserError


def table_of(words: list[str] | None, *, groups: list[str] | None = None, **more: object) -> SampleTable:
    num = len(words or groups or [])
    return SampleTable(
        np.array([f"image_{row}" for row in range(num)]),
        pd.DataFrame(index=range(num)),
        targets=None if words is None else pd.DataFrame({"target": words}),
        group_S=None if groups is None else np.array(groups),
        **more,  # type: ignore[arg-type]
    )


def task_of(table: SampleTable, **settings: object):
    return define_task(table, AnomalyConfig.parse(settings))


@pytest.mark.parametrize(
    ("words", "settings", "anomalous"),
    [
        (["0", "1"] * 4, {}, [1, 3, 5, 7]),
        (["malignant", "benign"] * 4, {}, [0, 2, 4, 6]),
        (["rose", "tulip"] * 4, {"normal_class": "rose"}, [1, 3, 5, 7]),
        (["rose", "tulip"] * 4, {"positive_class": "rose"}, [0, 2, 4, 6]),
        (["rose", "tulip", "daisy", "rose"] * 2, {"normal_class": "rose"}, [1, 2, 5, 6]),
        (["normal"] * 8, {}, []),
        (["0"] * 8, {}, []),
        (["tulip"] * 8, {"normal_class": "tulip"}, []),
        (["normal", "?"] * 4, {"on_uncertain": "negative"}, []),
        (["tulip", "u", "rose", "tulip"] * 2, {"normal_class": "tulip", "on_uncertain": "positive"}, [1, 2, 5, 6]),
    ],
)
def test_the_normal_class_is_known_or_named(words, settings, anomalous):
    task = task_of(table_of(words), **settings)
    assert np.flatnonzero(task.is_anomalous_S).tolist() == anomalous


@pytest.mark.parametrize(
    ("trained", "settings", "tested", "anomalous", "remark"),
    [
        (["0"] * 4, {}, ["0", "healthy", "1", "tumour"], [2, 3], "anomalous: 1, tumour; taken as normal: healthy"),
        (["normal"] * 4, {}, ["0", "no", "Normal", "1.0"], [3], "taken as anomalous: 1.0; taken as normal: 0, no"),
        (["nevus", "nevus", "nevus", "melanoma"], {"normal_class": "nevus"}, ["bcc", "nevus"], [0], "anomalous: bcc"),
        (["0", "0", "0", "1"], {}, ["0", "2", "1"], [1, 2], "1 word that no training row has, taken as anomalous: 2"),
        (["tulip"] * 4, {"normal_class": "tulip"}, ["tulip", "healthy"], [1], "taken as anomalous: healthy"),
        (None, {}, ["0", "1"], [1], "taken as anomalous: 1; taken as normal: 0"),
    ],
)
def test_a_word_of_another_set_is_normal_by_its_meaning_and_said(trained, settings, tested, anomalous, remark):
    labels = task_of(table_of(trained, groups=list("abcd")), **settings).labels
    table = table_of(tested)
    assert np.flatnonzero(labels.encode(table)[:, 0]).tolist() == anomalous
    [told] = [one for one in labels.remarks_of(table) if one.name == "new_words"]
    assert remark in told.what


@pytest.mark.parametrize("word", ["unknown", "?", "-1"])
@pytest.mark.parametrize("trained", [["0"] * 4, ["0", "0", "0", "1"]])
def test_an_uncertain_word_of_another_set_is_what_the_policy_says(trained, word):
    table = table_of(["0", word])
    with pytest.raises(UserError, match=r"uncertain labels in 1 of 2 rows.*positive or negative to count them so"):
        task_of(table_of(trained)).labels.encode(table)
    for policy, wanted in (("positive", 1), ("negative", 0)):
        labels = task_of(table_of(trained), on_uncertain=policy).labels
        assert labels.encode(table).tolist() == [[0], [wanted]]
        assert f"taken as {policy}: 1" in labels.remarks_of(table)[0].what


def test_without_a_target_column_all_rows_are_normal_and_it_is_said():
    task = task_of(table_of(None, groups=list("aabbccdd")))
    assert not task.is_anomalous_S.any()
    assert "all rows are taken as normal" in task.labels.remarks[0].what


@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        (["1"] * 4, {}, "holds one value only, 1: no row is normal"),
        (["rose"] * 4, {}, "normal_class=rose if they are"),
        (["rose", "tulip", "daisy", "rose"] * 2, {}, "which is normal is unclear.*Set normal_class"),
        (["rose", "tulip"] * 4, {"normal_class": "dasy"}, "normal_class=dasy is not one of the classes"),
        (["stroma", "tumour"] * 4, {}, "which of them is normal.*Set normal_class=stroma or normal_class=tumour"),
        (["0", "0", "1"], {}, "the normal rows are of 2 rows, and 3 are needed"),
    ],
)
def test_labels_that_name_no_normal_rows_are_refused(words, settings, message):
    with pytest.raises(UserError, match=message):
        task_of(table_of(words), **settings)


def test_a_single_slide_is_refused():
    with pytest.raises(UserError, match=r"of 1 group, and 3 are needed: one to learn from, and two held out"):
        task_of(table_of(["0"] * 6, groups=["slide"] * 6))


def test_whole_groups_are_held_out_and_those_without_normal_rows_always():
    groups = [f"G{row // 4}" for row in range(40)] + ["T"] * 4
    words = (["0", "0", "0", "1"] * 10) + ["1"] * 4
    task = task_of(table_of(words, groups=groups))
    held_S = task.valid_FS[0]
    sides = {group: set(held_S[np.array(groups) == group].tolist()) for group in set(groups)}
    assert all(len(side) == 1 for side in sides.values()) and sides["T"] == {True}
    assert sum(side == {True} for side in sides.values()) == 4  # three of ten, and T
    assert task.learned_S.sum() == 21 and not (task.learned_S & task.is_anomalous_S).any()


def test_groups_with_anomalous_rows_are_held_out_first_and_the_share_of_normal_rows_stays():
    groups = np.array([f"G{row // 8}" for row in range(80)])
    is_mixed_S = np.isin(groups, ["G2", "G7"])
    words = np.where(is_mixed_S & (np.arange(80) % 8 == 7), "1", "0").tolist()
    for seed in range(5):
        task = task_of(table_of(words, groups=groups.tolist()), seed=seed)
        held_S = task.valid_FS[0]
        assert held_S[is_mixed_S].all() and not task.unused_S.any()
        assert 0.3 <= (held_S & ~task.is_anomalous_S).sum() / 78 < 0.3 + 8 / 78  # the share, and less than a group more


def test_anomalous_rows_that_neither_teach_nor_judge_are_counted_and_said():
    groups = [f"G{row // 4}" for row in range(40)]
    task = task_of(table_of(["0", "0", "0", "1"] * 10, groups=groups))
    assert task.unused_S.sum() == 7 and task.is_anomalous_S[task.valid_FS[0]].sum() == 3
    [remark] = [one for one in task.labels.remarks if one.name == "unused_anomalous"]
    assert "7 anomalous rows of 10 neither teach nor judge" in remark.what and "held_out" in remark.do
    given = task_of(table_of(["0", "1", "0", "0"], is_valid_S=np.array([False, False, True, True])))
    assert given.labels.remarks[-1].do == "Move them to the validation set."


def test_an_operating_point_that_needs_anomalous_rows_is_refused_before_training():
    with pytest.raises(UserError, match=r"f_beta=0.05 needs anomalous images.*or add anomalous rows"):
        task_of(table_of(["0"] * 8), operating_point="f_beta=0.05")
    held_S = np.array([False, False, True, True])
    with pytest.raises(UserError, match="or move anomalous rows to the validation set"):
        task_of(table_of(["0", "1", "0", "0"], is_valid_S=held_S), operating_point="youden")
    for point in ("sigma=3", "threshold=0.6", "specificity=0.9"):
        assert not task_of(table_of(["0"] * 8), operating_point=point).is_anomalous_S.any()
    assert task_of(table_of(["0", "1"] * 4), operating_point="youden").is_anomalous_S.any()


def test_the_rows_order_changes_no_group_of_the_held_out():
    groups = np.array([f"G{row // 2}" for row in range(20)])
    order = np.random.default_rng(0).permutation(20)
    first, second = (task_of(table_of(["0"] * 20, groups=g.tolist())).valid_FS[0] for g in (groups, groups[order]))
    assert set(groups[first]) == set(groups[order][second])


def test_a_validation_set_is_what_is_held_out():
    held_S = np.array([False, False, True, True])
    assert (task_of(table_of(["0", "1", "0", "1"], is_valid_S=held_S)).valid_FS[0] == held_S).all()
    with pytest.raises(UserError, match="the training set has no normal row, and its normal tissue is learned from"):
        task_of(table_of(["1", "1", "0", "1"], is_valid_S=held_S))
    with pytest.raises(UserError, match="has 2 folds, and anomaly detection holds rows out once"):
        task_of(table_of(["0", "1", "0", "1"], fold_S=np.array(["0", "1", "0", "1"])), split="fold")


def test_settings_that_mean_nothing_here_are_refused():
    with pytest.raises(UserError, match=r"metadata_columns is not used by algorithm=anomaly \(only the image"):
        AnomalyConfig.parse({"metadata_columns": "sex"})
    with pytest.raises(UserError, match=r"dicom_frames=all is not for algorithm=anomaly.*Set first or middle"):
        AnomalyConfig.parse({"dicom_frames": "all"})
    with pytest.raises(UserError, match="describe hyperparameters --algorithm anomaly"):
        AnomalyConfig.parse({"folds": 2})
    with pytest.raises(UserError, match="f_beta needs a number above 0"):
        AnomalyConfig.parse({"operating_point": "f_beta=0"})


def test_settings_that_are_refused_are_not_listed():
    page = describe(AnomalyConfig)
    assert "| `held_out` |" in page and "| `explain` |" not in page and "| `metadata_columns` |" not in page


class Pictures:
    """Pictures of one size."""

    def __init__(self, height: int, width: int) -> None:
        self._shape = (height, width, 3)

    def read(self, index: int) -> np.ndarray:
        return np.zeros(self._shape, np.uint8)


def test_a_mask_is_read_as_its_image_is_fitted(tmp_path):
    mask = np.zeros((40, 60), np.uint8)
    mask[:, :30] = 1  # stored as 1, as tools do that number classes
    Image.fromarray(mask).save(tmp_path / "a.png")
    table = table_of(["1", "0"], others=pd.DataFrame({"mask": ["a.png", None]}))
    paths = mask_paths(table, AnomalyConfig.parse({}), {"training": tmp_path}, part="training")
    assert list(paths) == [0]
    found = read_masks(paths, [0, 1], Pictures(40, 60), Preprocess(32, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    assert found[0].shape == (JUDGED_PX, JUDGED_PX)
    assert found[0][:, : JUDGED_PX // 2].all() and not found[0][:, JUDGED_PX // 2 + 1 :].any()


HALF = np.where(np.arange(60) < 30, 1, 0)[None].repeat(40, axis=0)  # 1 in the left half
OPAQUE = np.full_like(HALF, 255)


@pytest.mark.parametrize(
    ("name", "channels", "mode"),
    [
        ("a.png", [255 * HALF, 0 * HALF, 0 * HALF, OPAQUE], "RGBA"),
        ("a.tif", [HALF, HALF, HALF, OPAQUE], "RGBA"),
        ("a.png", [HALF, OPAQUE], "LA"),
        ("a.tif", [HALF, OPAQUE], "PA"),
        ("a.png", [HALF, 0 * HALF, 0 * HALF], "RGB"),
    ],
)
def test_a_mask_is_what_is_above_0_in_any_channel_but_alpha(tmp_path, name, channels, mode):
    Image.merge(mode, [Image.fromarray(one.astype(np.uint8)) for one in channels]).save(tmp_path / name)
    assert (read_mask(tmp_path / name) == (HALF > 0)).all()


def test_a_mask_of_16_bits_or_a_palette_counts_from_1_on_and_one_that_is_drawn_in_alpha_alone_is_empty(tmp_path):
    Image.fromarray(HALF.astype(np.uint16)).save(tmp_path / "deep.png")
    palette = Image.fromarray(HALF.astype(np.uint8), "L").convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0])
    palette.save(tmp_path / "palette.png", transparency=0)
    assert all((read_mask(tmp_path / name) == (HALF > 0)).all() for name in ("deep.png", "palette.png"))
    bands = [Image.fromarray(one.astype(np.uint8)) for one in (0 * HALF, 0 * HALF, 0 * HALF, 255 * HALF)]
    Image.merge("RGBA", bands).save(tmp_path / "alpha.png")
    assert not read_mask(tmp_path / "alpha.png").any()


def test_a_mask_of_a_jpeg_that_was_decoded_at_a_half_is_of_its_size(tmp_path):
    Image.fromarray(np.ones((81, 120), np.uint8)).save(tmp_path / "a.png")
    found = read_masks({0: tmp_path / "a.png"}, [0], Pictures(41, 60), Preprocess(32, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    assert found[0].all()


def test_masks_that_are_broken_or_of_another_size_are_named(tmp_path):
    Image.fromarray(np.zeros((40, 60), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    others = pd.DataFrame({"mask": ["a.png", "b.png", ""]})
    channels = {"training": tmp_path}
    paths = mask_paths(table_of(["1"] * 3, others=others), AnomalyConfig.parse({}), channels, part="training")
    with pytest.raises(UserError, match="2 things are wrong") as refused:
        read_masks(paths, [0, 1], Pictures(60, 40), Preprocess(32, (0.5,) * 3, (0.5,) * 3))  # type: ignore[arg-type]
    assert "the mask has 60 × 40 pixels, and its image 40 × 60" in str(refused.value)
    assert "cannot be read as a picture" in str(refused.value)
    with pytest.raises(UserError, match="column 'outline' not found, which mask_column names"):
        mask_paths(table_of(["1"]), AnomalyConfig.parse({"mask_column": "outline"}), channels, part="training")


def test_masks_lie_below_the_channel_that_their_rows_are_of():
    others = pd.DataFrame({"mask": ["a.png", "b.png"]})
    table = table_of(["1", "1"], others=others, is_valid_S=np.array([False, True]))
    channels = {"training": Path("t"), "validation": Path("v"), "test": Path("s")}
    config = AnomalyConfig.parse({})
    assert mask_paths(table, config, channels, part="training") == {0: Path("t/a.png"), 1: Path("v/b.png")}
    test_table = table_of(["1"], others=others[:1])
    assert mask_paths(test_table, config, channels, part="test") == {0: Path("s/a.png")}
    assert mask_paths(test_table, config, {"training": Path("t")}, part="test") == {0: Path("t/a.png")}
