"""Predict: a CSV or a folder of pictures to a CSV, in which a bad row costs itself only."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from jobs import SMALL, Trained, run

from factories import dicom_file, with_broken_header, write_hyperparameters
from lesion.algorithms.classify.algorithm import CLASSIFY
from lesion.errors import UserError
from lesion.predict_files import predict_files
from processes import lesion
from sources import WRITERS, write_csv_folder


def predict(place: Path, root: Path, output: Path, fold: int | None = None, **more: str) -> tuple[int, pd.DataFrame]:
    options = {"device": "cpu", "fold": fold, "precision": "fp32", "num_cores": 2, "show_progress": False, **more}
    num_failed = predict_files(place, model_dir=root / "model", output=output, **options)
    return num_failed, pd.read_csv(output, keep_default_na=False, dtype={"probability": str})


def probabilities(rows: pd.DataFrame) -> np.ndarray:
    return rows["probability"].to_numpy(dtype=float)


@pytest.fixture
def channel(trained_root, tmp_path) -> Path:
    """A copy of the training channel, to be written to."""
    return Path(shutil.copytree(trained_root / "input/data/training", tmp_path / "channel"))


def test_the_command_writes_every_row_and_ends_with_2_where_a_picture_could_not_be_read(
    channel, trained_root, tmp_path
):
    _, whole = predict(channel / "train.csv", trained_root, tmp_path / "whole.csv")
    (channel / "train_jpg/IMG_002_1.jpg").write_bytes(b"half a pic")
    (channel / "train_jpg/IMG_004_0.jpg").unlink()
    output = tmp_path / "made" / "out.csv"
    ended = lesion(
        *("predict", channel / "train.csv", "--model", trained_root / "model", "--output", output),
        *("--precision", "fp32"),  # as `whole` was: a processor with bf16 would take that
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr and "\r" not in ended.stderr
    rows = pd.read_csv(output, keep_default_na=False, dtype={"probability": str})
    assert list(rows.columns) == ["image_name", "probability", "positive_class", "label", "error"]
    assert rows["image_name"].tolist() == whole["image_name"].tolist()
    is_bad = rows["image_name"].isin(["IMG_002_1", "IMG_004_0"])
    assert rows.loc[is_bad, ["probability", "label"]].eq("").all(axis=None)
    errors = rows.loc[is_bad, "error"].tolist()
    assert "IMG_002_1.jpg" in errors[0] and "decoded" in errors[0]
    assert "IMG_004_0" in errors[1] and "not found" in errors[1]
    assert rows.loc[~is_bad, "error"].eq("").all()
    np.testing.assert_allclose(probabilities(rows[~is_bad]), probabilities(whole[~is_bad]), atol=1e-6)
    assert rows.loc[~is_bad, "label"].tolist() == whole.loc[~is_bad, "label"].tolist()


def test_a_dicom_file_whose_header_cannot_be_read_is_not_answered_without_it(trained_root, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    whole = dicom_file(PatientAge="045Y")
    (folder / "a.dcm").write_bytes(whole)
    (folder / "b.dcm").write_bytes(with_broken_header(whole))
    num_failed, rows = predict(folder, trained_root, tmp_path / "out.csv")
    assert num_failed == 1 and rows["error"].eq("").tolist() == [True, False]
    assert "b.dcm" in rows["error"][1] and "header" in rows["error"][1] and rows["probability"][1] == ""


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_a_fold_gives_its_held_out_rows_their_out_of_fold_probabilities(trained_root, tmp_path, fold):
    csv_path = trained_root / "input/data/training/train.csv"
    num_failed, rows = predict(csv_path, trained_root, tmp_path / "out.csv", fold)
    oof = Trained(trained_root).oof
    held = (oof["fold"] == fold).to_numpy()
    assert num_failed == 0 and held.any()
    np.testing.assert_allclose(probabilities(rows)[held], oof["probability"][held], atol=1e-6)


def test_the_test_set_gets_what_the_job_wrote_for_it(trained_root, tmp_path):
    _, rows = predict(trained_root / "input/data/training/test.csv", trained_root, tmp_path / "out.csv")
    submission = pd.read_csv(trained_root / "output/data/submission.csv")
    assert rows["image_name"].tolist() == submission["image_name"].tolist()
    np.testing.assert_allclose(probabilities(rows), submission["target"], atol=1e-6)


def test_the_label_is_that_of_the_artifacts_threshold(trained_root, tmp_path):
    _, rows = predict(trained_root / "input/data/training/train.csv", trained_root, tmp_path / "out.csv")
    threshold = Trained(trained_root).payload["target"]["thresholds"][0]
    expected = np.where(probabilities(rows) >= threshold, "malignant", "benign")
    assert rows["label"].tolist() == expected.tolist()


def test_a_folder_is_read_with_the_folders_in_it_and_without_metadata(channel, trained_root, tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name, place in (("IMG_000_0", "b.jpg"), ("IMG_001_0", "deep/a.JPG"), ("IMG_002_0", "a.jpg")):
        shutil.copy(channel / "train_jpg" / f"{name}.jpg", folder / place)
    for name in ("notes.txt", "._a.jpg", "notes.csv"):
        (folder / name).write_text("no picture")
    (folder / "broken.png").write_bytes(b"")
    num_failed, rows = predict(folder, trained_root, tmp_path / "out.csv")
    assert num_failed == 1
    assert rows["image_name"].tolist() == ["a.jpg", "b.jpg", "broken.png", "deep/a.JPG"]
    assert [bool(error) for error in rows["error"]] == [False, False, True, False]

    (folder / "notes.csv").rename(folder / "train.csv")
    with pytest.raises(UserError, match="the CSV has no rows"):
        predict(folder, trained_root, tmp_path / "out.csv")
    _, again = predict(folder, trained_root, tmp_path / "out.csv", source="class_folder")
    assert again["probability"].tolist() == rows["probability"].tolist()

    table = pd.DataFrame({"image_name": ["IMG_002_0", "IMG_000_0", "IMG_001_0"]})
    table.to_csv(channel / "bare.csv", index=False)
    (channel / "train_jpg").rename(channel / "bare_jpg")
    _, bare = predict(channel / "bare.csv", trained_root, tmp_path / "bare.csv")
    np.testing.assert_allclose(probabilities(rows[rows["error"] == ""]), probabilities(bare), atol=1e-6)


def test_columns_that_a_csv_lacks_are_missing_values(channel, trained_root, tmp_path):
    frame = pd.read_csv(channel / "train.csv", dtype=str, keep_default_na=False)
    answers = []
    for table in (frame.drop(columns=["age_approx", "target", "patient_id"]), frame.assign(age_approx=""), frame):
        table.to_csv(channel / "train.csv", index=False)
        num_failed, rows = predict(channel / "train.csv", trained_root, tmp_path / "out.csv")
        assert num_failed == 0
        answers.append(probabilities(rows))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.allclose(answers[0], answers[2], atol=1e-6)
    frame.rename(columns={"age_approx": "Age"}).to_csv(channel / "train.csv", index=False)  # as the server takes it
    np.testing.assert_array_equal(
        probabilities(predict(channel / "train.csv", trained_root, tmp_path / "a.csv")[1]), answers[2]
    )


def test_a_table_in_another_form_gets_the_same_answers(channel, trained_root, tmp_path, caplog):
    caplog.set_level("INFO")
    _, plain = predict(channel / "train.csv", trained_root, tmp_path / "plain.csv")
    frame = pd.read_csv(channel / "train.csv", dtype=str, keep_default_na=False)
    frame["age_approx"] = frame["age_approx"].str.replace(".", ",")
    frame.columns = frame.columns.str.title()
    frame.to_csv(channel / "train.csv", index=False, sep=";", encoding="utf-16")
    num_failed, rows = predict(channel / "train.csv", trained_root, tmp_path / "other.csv")
    assert num_failed == 0 and rows["image_name"].tolist() == plain["image_name"].tolist()
    np.testing.assert_array_equal(probabilities(rows), probabilities(plain))
    for words in ("in UTF-16, separated by semicolons", "'Image_Name' as image_name", "is read as"):
        assert words in caplog.text


def test_an_age_in_words_costs_its_own_row_only(channel, trained_root, tmp_path):
    _, whole = predict(channel / "train.csv", trained_root, tmp_path / "whole.csv")
    frame = pd.read_csv(channel / "train.csv", dtype=str, keep_default_na=False)
    frame.loc[3, "age_approx"] = "forty"
    frame.to_csv(channel / "train.csv", index=False)
    num_failed, rows = predict(channel / "train.csv", trained_root, tmp_path / "out.csv")
    assert num_failed == 1 and "forty" in rows["error"][3] and rows["probability"][3] == ""
    np.testing.assert_allclose(probabilities(rows.drop(3)), probabilities(whole.drop(3)), atol=1e-6)


def test_a_set_in_another_format_gets_the_answers_of_its_csv_and_a_bad_row_costs_itself_only(
    channel, trained_root, tmp_path
):
    _, whole = predict(channel / "test.csv", trained_root, tmp_path / "whole.csv")
    (tmp_path / "isic").mkdir()
    frame = pd.read_csv(channel / "test.csv", dtype=str, keep_default_na=False)
    frame.rename(columns={"image_name": "isic_id"}).to_csv(tmp_path / "isic/test-metadata.csv", index=False)
    with h5py.File(tmp_path / "isic/test-image.hdf5", "w") as file:
        for row, name in enumerate(frame["image_name"]):
            file[name] = np.void((channel / "test_jpg" / f"{name}.jpg").read_bytes() if row else b"no image")
    for place in ("isic", "isic/test-image.hdf5"):
        num_failed, rows = predict(tmp_path / place, trained_root, tmp_path / "out.csv")
        assert num_failed == 1 and frame["image_name"][0] in rows["error"][0] and rows["error"][1:].eq("").all()
        assert rows["image_name"].tolist() == whole["image_name"].tolist()
        np.testing.assert_allclose(probabilities(rows[1:]), probabilities(whole[1:]), atol=1e-6)


def test_one_image_is_a_set_of_one(channel, trained_root, tmp_path):
    picture = channel / "train_jpg" / "IMG_002_0.jpg"
    _, rows = predict(picture, trained_root, tmp_path / "out.csv")
    assert rows["image_name"].tolist() == ["IMG_002_0.jpg"]
    bare = picture.rename(channel / "picture")  # no ending: its bytes say what it is
    _, again = predict(bare, trained_root, tmp_path / "out.csv")
    assert again["probability"].tolist() == rows["probability"].tolist()


def test_what_cannot_be_predicted_at_all_is_one_clear_error(trained_root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in this folder"):
        predict(tmp_path / "empty", trained_root, tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"no such file or folder \(.*nothing\.csv\)\. Correct the path"):
        predict(tmp_path / "nothing.csv", trained_root, tmp_path / "out.csv")
    with pytest.raises(UserError, match=r"no format is called 'hdf5'.*Did you mean pcam_hdf5|isic_hdf5"):
        predict(tmp_path / "empty", trained_root, tmp_path / "out.csv", source="hdf5")
    table = trained_root / "input/data/training/train.csv"
    with pytest.raises(UserError, match="column 'picture' not found"):
        predict(table, trained_root, tmp_path / "out.csv", image_column="picture")
    with pytest.raises(UserError, match="no fold 9"):
        predict(trained_root / "input/data/training/train.csv", trained_root, tmp_path / "out.csv", fold=9)
    assert not (tmp_path / "out.csv").exists()


def test_names_of_a_table_are_found_as_in_training_and_kept_as_they_are_written(
    channel, trained_root, tmp_path, caplog
):
    caplog.set_level("INFO")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("IMG_000_0", "IMG_001_0"):
        shutil.copy(channel / "train_jpg" / f"{name}.jpg", folder / name)  # without ending
    names = [f"s3://bucket/set/{name}.png" for name in ("IMG_000_0", "IMG_001_0")]
    pd.DataFrame({"image_name": names}).to_csv(folder / "rows.csv", index=False)
    num_failed, rows = predict(folder / "rows.csv", trained_root, tmp_path / "out.csv")
    assert num_failed == 0 and rows["image_name"].tolist() == names
    assert "2 of 2 images found by the last part of their path and with another ending" in caplog.text
    (folder / "rows.csv").unlink()
    _, of_folder = predict(folder, trained_root, tmp_path / "folder.csv")
    assert of_folder["image_name"].tolist() == ["IMG_000_0", "IMG_001_0"]
    np.testing.assert_allclose(probabilities(of_folder), probabilities(rows), atol=1e-6)


CODES = {"daisy": 0, "rose": 1, "tulip": 2}
WITH_CODES = {"pcam_hdf5", "medmnist_npz", "lst", "augmented_manifest"}  # whose labels are numbers


@pytest.fixture(scope="module")
def flower_models(tmp_path_factory) -> dict[bool, Path]:
    """The folders of two models of the same pictures, by whether the classes are numbers."""
    models = {}
    for has_codes in (False, True):
        root = tmp_path_factory.mktemp("flowers")
        table = write_csv_folder(root / "input/data/training").folder / "train.csv"
        if has_codes:
            pd.read_csv(table).replace({"target": CODES}).to_csv(table, index=False)
        write_hyperparameters(root, {**SMALL, "model": "test_resnet", "pretrained": False})
        models[has_codes] = run(root).root / "model"
    return models


@pytest.mark.parametrize("name", [*WRITERS, "dicom"])
def test_every_source_is_predicted_as_it_is_evaluated(name, flower_models, tmp_path):
    model_dir = flower_models[name in WITH_CODES]
    folder = tmp_path / "channel"
    if name == "dicom":
        for number, word in enumerate([*CODES, *CODES]):
            path = folder / word / f"{number}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(dicom_file(PatientAge=f"{20 + number:03d}Y"))
    else:
        WRITERS[name](folder)
    CLASSIFY.evaluate(
        model_dir, folder, output=tmp_path / "evaluation", source="auto", settings={}, device="cpu", num_cores=2,
        precision="fp32", operating_point=None, show_progress=False,
    )  # fmt: skip
    judged = pd.read_csv(tmp_path / "evaluation/predictions.csv", dtype=str)
    options = {"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 2, "show_progress": False}
    assert predict_files(folder, model_dir=model_dir, output=tmp_path / "out.csv", **options) == 0
    rows = pd.read_csv(tmp_path / "out.csv", dtype=str)
    shared = [column for column in rows.columns if column in judged.columns]
    assert {"label", "error", "probability_" + ("0" if name in WITH_CODES else "daisy")} < {*shared}
    assert len(rows) == (6 if name == "dicom" else 12) and rows.iloc[:, 0].tolist() == judged.iloc[:, 0].tolist()
    pd.testing.assert_frame_equal(rows[shared], judged[shared])
