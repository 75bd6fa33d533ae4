"""The notebook of search and pipeline runs as it stands, sends nothing, and is kept without outputs."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_tune_and_pipeline.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)


def test_it_shows_the_requests_and_reaches_no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("the notebook opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: (shown.append(len(plt.gcf().axes)), plt.close("all")))
    names: dict[str, Any] = {}
    for number, cell in enumerate(CELLS):
        exec(compile("".join(cell["source"]), f"cell {number} of {NOTEBOOK.name}", "exec"), names)
    assert shown == [1, 2]  # the graph, and the two intervals
    assert names["search"]["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 20
    assert names["train"]["Arguments"]["HyperParameters"]["model"] == "resnet18"
    assert {name for *ends, _ in names["arrows"] for name in ends} == set(names["places"])
    assert names["areas"]["unlike"]["low"] > 0.85 > names["areas"]["worse"]["low"]  # one fails by each interval
    assert names["is_registered"] == {"better": True, "a little better": True, "unlike": False, "worse": False}
