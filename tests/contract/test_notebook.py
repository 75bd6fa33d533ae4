"""The notebook of anomaly detection runs as it stands, cell by cell, and is kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "03_anomaly.ipynb"


def code_cells() -> list[dict[str, Any]]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells())


def test_it_runs_from_tiles_to_maps(tmp_path, monkeypatch):
    """Its cells are plain Python, so they run here as a kernel would run them. Pictures are not drawn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells()):
        exec(compile("".join(cell["source"]), f"cell {number} of {NOTEBOOK.name}", "exec"), names)
        if "settings" in cell["metadata"].get("tags", []):
            names |= {"job": tmp_path / "job", "num_tiles": 64}  # the fewest that can be drawn
            names["hyperparameters"] |= {"image_size": 96, "memory_patches": 500, "export_graph": False}
    metrics = names["metrics"]
    assert metrics["test"]["pixels"]["pixel_roc_auc"]["value"] > 0.9
    stated = metrics["false_positive_rate"]
    assert metrics["test"]["false_positive_rate"]["value"] <= stated["high"]
    slides = pd.read_csv(tmp_path / "job" / "maps" / "slides.csv")
    assert len(slides) == 8 and slides["flagged_tiles"].sum() > 0
    assert len(list((tmp_path / "job" / "maps").glob("*.geojson"))) == 64
