"""Joined tables: labels and metadata in two files of one data set are one table, or it is said why they are not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from layouts import draw_noise
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.task import wanted_columns
from lesion.data.channels import Opened, open_channels

TRUTH, METADATA = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Metadata.csv"
CLASSES = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
NAMES = [f"ISIC_{number:07d}" for number in range(6)]


def truth() -> pd.DataFrame:
    """One-hot labels as ISIC 2019 has them (header of the published file), melanoma and nevus in turn."""
    frame = pd.DataFrame({"image": NAMES, **dict.fromkeys(CLASSES, 0.0)})
    frame.loc[::2, "MEL"], frame.loc[1::2, "NV"] = 1.0, 1.0
    return frame


def metadata() -> pd.DataFrame:
    """The other table of ISIC 2019, in another order."""
    rows = {"image": NAMES, "age_approx": range(30, 36), "anatom_site_general": "torso", "lesion_id": list("AABBCC")}
    return pd.DataFrame({**rows, "sex": "male"}).iloc[::-1]


def opened(folder: Path, tables: dict[str, pd.DataFrame], **settings: object) -> Opened:
    for name, frame in tables.items():
        frame.to_csv(folder / name, index=False)
    for number, name in enumerate(NAMES):
        draw_noise(folder / "images" / f"{name}.jpg", seed=number)
    return open_channels({"training": folder}, wanted_columns(ClassifyConfig.parse(settings)))


def test_the_two_tables_of_isic_2019_are_joined_by_the_image_and_that_is_said(tmp_path):
    found = opened(tmp_path, {TRUTH: truth(), METADATA: metadata()})
    assert found.problems == () and found.training is not None
    table = found.training.table()
    assert table.name_S.tolist() == NAMES and table.group_S.tolist() == list("AABBCC")
    assert table.metadata["age_approx"].tolist() == ["30", "31", "32", "33", "34", "35"]
    assert list(table.metadata.columns) == ["sex", "age_approx", "anatom_site_general"]
    assert table.target_names == ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    [said] = [remark.what for remark in table.remarks if remark.name == "joined_tables"]
    assert said == (
        f"{METADATA} is joined by the column 'image', whose 6 ids are in one row of each: it adds age_approx, "
        "anatom_site_general, lesion_id, sex"
    )
    assert not [remark for remark in found.remarks if "not read" in remark.what]


def test_the_lesions_of_isic_2018_are_joined_too(tmp_path):
    lesions = pd.DataFrame({"image": NAMES, "lesion_id": list("AABBCC"), "diagnosis_confirm_type": "histopathology"})
    frame = truth().drop(columns=["SCC", "UNK"]).rename(columns={"AK": "AKIEC"})
    tables = {
        "ISIC2018_Task3_Training_GroundTruth.csv": frame,
        "ISIC2018_Task3_Training_LesionGroupings.csv": lesions,
    }
    found = opened(tmp_path, tables)
    assert found.problems == () and found.training.table().group_S.tolist() == list("AABBCC")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows[rows["image"] != NAMES[2]], f"1 id of the first is not in the second, such as {NAMES[2]}"),
        (
            lambda rows: pd.concat([rows, rows.tail(1)]),
            f"column 'image' holds {NAMES[0]} in several rows of the second",
        ),
        (
            lambda rows: rows.assign(image="X" + rows["image"]),
            "6 ids of the first are not in the second, such as ISIC_",
        ),
        (lambda rows: rows.rename(columns={"image": "isic"}), "they have no column in common"),
        (lambda rows: rows.assign(UNK=1), "column 'UNK' differs between them in 6 rows"),
    ],
)
def test_tables_whose_ids_do_not_fit_are_refused_and_the_advice_can_be_followed(tmp_path, change, why):
    tables = {TRUTH: truth(), METADATA: change(metadata())}
    (problem,) = opened(tmp_path, tables).problems
    assert f"{TRUTH} holds the targets, and {METADATA} cannot be joined to it: " in problem.what and why in problem.what
    assert f"table_file={TRUTH} to use it alone" in problem.do
    alone = opened(tmp_path, tables, table_file=TRUTH)
    assert alone.problems == () and alone.training.table().group_S is None


def test_table_file_names_the_one_with_the_targets(tmp_path):
    """Both have a column of labels: which is meant is not guessed."""
    other = metadata().assign(target=[0, 1] * 3)
    tables = {"first_labels.csv": truth().assign(target=[1, 0] * 3)[["image", "target"]], "second_labels.csv": other}
    (problem,) = opened(tmp_path, tables).problems
    assert "2 tables may be that of the train set" in problem.what
    table = opened(tmp_path, tables, table_file="first_labels.csv").training.table()
    assert table.targets["target"].tolist() == ["1", "0"] * 3 and table.group_S is None  # the other has targets too
    joined = {TRUTH: truth(), METADATA: metadata()}
    (tmp_path / "first_labels.csv").unlink()
    (tmp_path / "second_labels.csv").unlink()
    assert opened(tmp_path, joined, table_file=TRUTH).training.table().group_S.tolist() == list("AABBCC")


def test_metadata_beside_train_csv_are_joined_only_where_all_ids_fit(tmp_path):
    labels = pd.DataFrame({"image_name": NAMES, "target": [0, 1] * 3})
    patients = pd.DataFrame({"image_name": NAMES, "patient_id": list("PPQQRR")})
    found = opened(tmp_path, {"train.csv": labels, "metadata.csv": patients})
    assert found.problems == () and found.training.table().group_S.tolist() == list("PPQQRR")
    found = opened(tmp_path, {"train.csv": labels, "metadata.csv": patients.head(5)})
    assert found.problems == () and found.training.table().group_S is None  # and it is named as not read
    assert any("metadata.csv" in remark.what for remark in found.remarks)


def test_the_two_images_of_each_lesion_have_its_row_of_labels(tmp_path):
    """MILK10k: a row of labels for each lesion, two images of each in the metadata, and a third table of images."""
    classes = ["AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"]
    labels = pd.DataFrame({"lesion_id": list("CBA"), **dict.fromkeys(classes, 0.0)})
    labels.loc[0, "MEL"], labels.loc[1, "NV"], labels.loc[2, "BCC"] = 1.0, 1.0, 1.0
    images = pd.DataFrame(
        {"lesion_id": list("AABBCC"), "image_type": ["clinical", "dermoscopic"] * 3, "isic_id": NAMES, "sex": "male"}
    )
    tables = {
        "MILK10k_Training_GroundTruth.csv": labels,
        "MILK10k_Training_Metadata.csv": images,
        "MILK10k_Training_Supplement.csv": pd.DataFrame({"isic_id": NAMES, "diagnosis_full": "x"}),
    }
    found = opened(tmp_path, tables)
    assert found.problems == ()
    table = found.training.table()
    assert table.name_S.tolist() == NAMES and table.group_S.tolist() == list("AABBCC")
    assert table.target_names == tuple(classes)
    assert [table.targets[name].tolist() for name in ("BCC", "NV", "MEL")] == [
        ["1.0", "1.0", "0.0", "0.0", "0.0", "0.0"],
        ["0.0", "0.0", "1.0", "1.0", "0.0", "0.0"],
        ["0.0", "0.0", "0.0", "0.0", "1.0", "1.0"],
    ]
    assert any("3 ids are in one row of it, and in 6 rows of images" in remark.what for remark in table.remarks)
    assert any("MILK10k_Training_Supplement.csv" in remark.what for remark in found.remarks)  # is not read
