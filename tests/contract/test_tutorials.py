"""The tutorials are followed from top to bottom, with smaller networks and fewer images, and end in what they promise.

That of SageMaker is followed in tests/unit/jobs/test_tutorial.py.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from factories import TINY
from processes import lesion

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
FEWER = ("model", "image_size", "epochs", "batch_size_train", "num_workers", "processes", "explain")
SMALLER = {name: TINY[name] for name in FEWER} | {"folds": 2, "export_graph": False}


def follow(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **smaller: Any) -> None:
    """Runs all Python and all commands of a tutorial in `folder`, and fails with the first that fails."""

    def with_smaller(settings: re.Match[str]) -> str:
        return f"echo '{json.dumps({**json.loads(settings[1]), **SMALLER, **smaller})}'"

    monkeypatch.chdir(folder)
    text = (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", text, flags=re.DOTALL):
        if language == "python":
            exec(compile(block, f"{name}.md", "exec"), {})
            continue
        for line in re.sub(r"echo '(\{.*\})'", with_smaller, block).splitlines():
            words = shlex.split(line)
            if words[:2] == ["lesion", "sample-data"]:
                words += ["--num-images", "64" if "tissue" in words else "24"]
            if words[0] == "lesion":
                done = lesion(*words[1:])
            else:
                done = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"


def test_on_a_laptop(tmp_path, monkeypatch):
    follow("laptop", tmp_path, monkeypatch)
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 24 // 6
    assert len(list((tmp_path / "explained").glob("*.png"))) == 1
    for page in ("check/check.html", "my_job/output/data/report.html", "evaluation/report.html"):
        assert (tmp_path / page).is_file()


def test_with_histology(tmp_path, monkeypatch):
    follow("histology", tmp_path, monkeypatch, epochs=3)
    slides = pd.read_csv(tmp_path / "tissue_job" / "output" / "data" / "slides.csv")
    assert len(slides) == 64 // 8
    assert len(pd.read_csv(tmp_path / "tiles.csv")) == 64


def test_with_a_dicom_archive(tmp_path, monkeypatch):
    follow("dicom", tmp_path, monkeypatch, folds=3)  # of two, each would hold patients of one class
    found = json.loads((tmp_path / "check" / "check.json").read_text())
    assert not [finding for finding in found["findings"] if finding["level"] == "error"]
    metrics = json.loads((tmp_path / "xray_job/output/data/metrics.json").read_text())
    assert metrics["overall"]["num_groups"] == 24  # patients of the headers: the table has none
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 2
