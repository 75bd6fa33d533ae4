"""A job on a public data set as it was published: its columns come out again in artifact and results."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from jobs import SMALL

from factories import run_job, sample_frame, write_channel, write_hyperparameters


def write_as_ham10000(folder: Path, frame: pd.DataFrame, name: str) -> None:
    """Writes images and the table of HAM10000, tab-separated and with a decimal comma in the age."""
    csv_path = write_channel(folder, frame, image_dir=f"{name}_images")
    csv_path.unlink()
    frame = frame.assign(age=frame["age_approx"].astype(str).str.replace(".", ","), localization="back")
    frame = frame.rename(columns={"image_name": "image_id", "patient_id": "lesion_id", "diagnosis": "dx"})
    columns = ["lesion_id", "image_id", "dx", "age", "sex", "localization"]
    frame[columns].to_csv(folder / f"HAM10000_{name}.tab", sep="\t", index=False)


def test_the_columns_of_a_known_table_are_those_of_artifact_and_results(tmp_path):
    channel = tmp_path / "input" / "data" / "training"
    frame = sample_frame(12, 2)
    write_as_ham10000(channel, frame, "metadata")
    test = frame.head(4).assign(image_name=lambda rows: "T" + rows["image_name"], patient_id="T")
    write_as_ham10000(channel, test, "test_metadata")
    settings = {**SMALL, "model": "test_resnet", "pretrained": False, "export_graph": False, "on_leak": "warn"}
    settings |= {"target_of_interest": "melanoma", "split": "stratified_group_kfold"}
    write_hyperparameters(tmp_path, settings)
    run_job(tmp_path)
    payload = json.loads((tmp_path / "model" / "manifest.json").read_text())["payload"]
    assert (payload["image_column"], payload["target_columns"]) == ("image_id", ["dx"])
    assert payload["metadata_columns"] == ["sex", "age", "localization"]
    assert {column["kind"] for column in payload["folds"][0]["metadata"] if column["name"] == "age"} == {"number"}
    assert list(pd.read_csv(tmp_path / "output" / "data" / "submission.csv").columns) == ["image_id", "dx"]
    oof = pd.read_csv(tmp_path / "output" / "data" / "oof.csv")
    assert set(oof["group"]) == set(frame["patient_id"])
