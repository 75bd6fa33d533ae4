"""The notebooks that need no Docker run as they stand, cell by cell, and are kept without outputs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from factories import TINY
from notebooks import NOTEBOOKS, code_cells, run_cells

SMALL = {name: TINY[name] for name in ("model", "image_size", "batch_size_train", "explain")}


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_it_is_kept_without_outputs(name):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(name))


def test_fine_tuning_without_a_cloud_goes_from_tiles_to_maps(tmp_path, monkeypatch):
    def change(names):
        names |= {"folder": tmp_path, "num_tiles": 80, "num_moles": 24, "folds": 2, "epochs": 3, "frozen_epochs": 2}
        names["network"] |= {**SMALL, "export_graph": False}

    names = run_cells("02_no_cloud", tmp_path, monkeypatch, change)
    assert names["drawn_area"] == pytest.approx(names["area"], abs=1e-4)  # the curve that is drawn is the one reported
    manifest = json.loads((tmp_path / "tissue" / "model" / "manifest.json").read_text())
    assert (manifest["config"]["freeze_epochs"], manifest["config"]["head_lr_factor"]) == (2, 10)
    assert sorted(names["history"]["epoch"].unique()) == [0, 1, 2]
    assert (names["results"] / "report.html").is_file()
    maps = [one.map.in_picture() for one in names["explanations"]]
    assert len(maps) == 3 and all(map_HW.shape == (256, 256) and np.ptp(map_HW) > 0 for map_HW in maps)


def test_anomaly_detection_runs_from_tiles_to_maps(tmp_path, monkeypatch):
    def change(names):
        names |= {"job": tmp_path / "job", "num_tiles": 64}  # the fewest that can be drawn
        names["hyperparameters"] |= {"image_size": 96, "memory_patches": 500, "export_graph": False}

    metrics = run_cells("03_anomaly", tmp_path, monkeypatch, change)["metrics"]
    assert metrics["test"]["pixels"]["pixel_roc_auc"]["value"] > 0.9
    stated = metrics["false_positive_rate"]
    assert metrics["test"]["false_positive_rate"]["value"] <= stated["high"]
    slides = pd.read_csv(tmp_path / "job" / "maps" / "slides.csv")
    assert len(slides) == 8 and slides["flagged_tiles"].sum() > 0
    assert len(list((tmp_path / "job" / "maps").glob("*.geojson"))) == 64


def test_requests_that_change_and_watch_an_endpoint_are_shown_and_drift_is_found(tmp_path, monkeypatch, capsys):
    def change(names):
        names |= {"folder": tmp_path, "num_training": 24, "num_validation": 52, "num_captured": 52}
        names["hyperparameters"] |= {**SMALL, "export_graph": False, "epochs": 1}

    names = run_cells("05_roll_out_and_watch", tmp_path, monkeypatch, change)
    assert names["sent"].count("UpdateEndpoint") == 2 and names["sent"][-1] == "CreateMonitoringSchedule"
    assert names["course"](names["Canary"](percent=10, wait_minutes=10)) == ([0, 0, 10, 25], [0, 10, 100, 100])
    assert len(names["refusals"]) == 3
    found = {name: {one["feature_name"] for one in violations} for name, violations in names["violations"].items()}
    assert {"red_green", "yellow_blue"} <= found["other"] and not {"red_green", "yellow_blue"} & found["usual"]
    assert '"Type": "CANARY"' in capsys.readouterr().out
