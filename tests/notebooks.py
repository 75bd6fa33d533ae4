"""Notebooks: their cells, run one after the other as a kernel would run them. Pictures are made and not shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
Names = dict[str, Any]


def code_cells(name: str) -> list[dict[str, Any]]:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run_cells(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Names], object]) -> Names:
    """All names at the end of a notebook that ran in `folder`. `change` makes a small job of what its settings say."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names: Names = {}
    for number, cell in enumerate(code_cells(name)):
        exec(compile("".join(cell["source"]), f"cell {number} of {name}", "exec"), names)
        if "settings" in cell["metadata"].get("tags", []):
            change(names)
    return names
