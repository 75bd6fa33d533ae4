"""Compare: what a job leaves behind is what `lesion compare` reads."""

from __future__ import annotations

import json

import pytest

from lesion.compare import compare_runs
from lesion.compared_runs import read_run


def test_a_job_is_no_worse_than_itself(trained_root, tmp_path):
    output = tmp_path / "comparison.json"
    text = compare_runs(trained_root, trained_root, margin=0.02, output=output)
    found, metrics = json.loads(output.read_text()), json.loads((trained_root / "output/data/metrics.json").read_text())
    assert found["rows"] == metrics["overall"]["num_rows"] and "0 images changed sides" in text
    assert read_run(trained_root).rows.name_Q == [metrics["question"]["positive_class"]]
    for measure in found["measures"].values():
        assert measure["difference"]["value"] == 0
    for name in ("roc_auc", "balanced_accuracy", "log_loss"):  # of the predictions that the job was judged by
        if name in found["measures"]:
            assert found["measures"][name]["a"] == pytest.approx(metrics["overall"]["metrics"][name], abs=1e-6)
