"""Verdict: what an evaluation shows, and beside a champion; what cannot be shown counts as not shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lesion.errors import UserError
from lesion.verdict import check_champion, write_verdict

AREA = {"value": 0.9, "low": 0.85, "high": 0.94}


def evaluation(folder: Path, *, gain: float, area: dict[str, Any] | None = AREA, has_groups: bool = True) -> Path:
    """What `lesion evaluate` leaves of 120 images of 40 patients; the larger the gain, the better the model."""
    rng = np.random.default_rng(0)
    target_S, noise_S = rng.integers(0, 2, 120), rng.normal(size=120)
    groups = {"group": [f"P{row // 3}" for row in range(120)]} if has_groups else {}
    frame = pd.DataFrame(
        {
            "image_name": [f"IMG_{row:03d}" for row in range(120)],
            **groups,
            "target": target_S,
            "probability": expit(gain * (2 * target_S - 1) + noise_S).round(6),
            "label": "benign",
            "error": "",
        }
    )
    folder.mkdir()
    frame.to_csv(folder / "predictions.csv", index=False)
    metrics = {
        "question": {"positive_class": "malignant"},
        "unit": "patient" if has_groups else "image",
        "overall": {"thresholds": [0.5]},
        "judged": {"overall": {} if area is None else {"roc_auc": area}},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def verdict(folder: Path, champion: Path | None = None, margin: float = 0.02) -> dict[str, Any]:
    said = write_verdict(folder, champion=champion, margin=margin)
    found = json.loads((folder / "verdict.json").read_text())
    assert found["said"] == said
    return dict(found)


def test_alone_a_model_has_its_area_and_its_lower_end(tmp_path):
    found = verdict(evaluation(tmp_path / "a", gain=1))
    assert found == {
        "roc_auc": 0.9,
        "roc_auc_low": 0.85,
        "said": "ROC AUC 0.9000, 95 % interval by patient 0.8500 to 0.9400.",
    }


@pytest.mark.parametrize(
    ("area", "said"),
    [
        (None, "No ROC AUC is shown: too few images of a class."),
        ({"value": None, "why": "fewer than 10 positives"}, "No ROC AUC is shown: fewer than 10 positives."),
        ({"value": 0.97, "why": "one group alone gives no interval"}, "ROC AUC 0.9700, without an interval: one group"),
    ],
)
def test_without_an_interval_no_area_is_shown(tmp_path, area, said):
    found = verdict(evaluation(tmp_path / "a", gain=1, area=area))
    assert found["roc_auc_low"] == 0 and found["said"].startswith(said)


def test_a_better_model_is_not_inferior_and_a_worse_one_is_not_shown_to_be_as_good(tmp_path):
    worse, better = evaluation(tmp_path / "worse", gain=0.4), evaluation(tmp_path / "better", gain=1.5)
    found = verdict(better, worse)
    assert found["is_not_inferior"] is True and found["margin"] == 0.02
    assert "Not inferior to the champion by a margin of 0.02: difference +0." in found["said"]
    assert json.loads((better / "comparison.json").read_text())["groups"] == 40
    refused = verdict(worse, better)
    assert refused["is_not_inferior"] is False and "Not shown to be as good as the champion" in refused["said"]
    assert verdict(worse, better, margin=0.9)["is_not_inferior"] is True


def test_a_set_without_groups_is_compared_by_image(tmp_path):
    sides = [evaluation(tmp_path / name, gain=1, has_groups=False) for name in ("a", "b")]
    assert verdict(*sides)["is_not_inferior"] is True
    assert json.loads((sides[0] / "comparison.json").read_text())["groups"] == 120


def test_an_image_that_only_one_of_them_answered_leaves_the_comparison_open(tmp_path):
    champion, model = evaluation(tmp_path / "champion", gain=1), evaluation(tmp_path / "model", gain=1)
    rows = pd.read_csv(model / "predictions.csv", keep_default_na=False)
    rows["probability"] = rows["probability"].astype(str)
    rows.loc[3, ["probability", "label", "error"]] = ["", "", "too dark"]
    rows.to_csv(model / "predictions.csv", index=False)
    found = verdict(model, champion)
    assert found["is_not_inferior"] is False and found["roc_auc_low"] == 0.85
    assert "cannot be compared with the champion" in found["said"] and "IMG_003" in found["said"]
    rows[["probability", "error"]] = ["", "too dark"]
    rows.to_csv(champion / "predictions.csv", index=False)
    with pytest.raises(UserError, match="no image was answered"):
        check_champion(champion, tmp_path / "model")


def test_a_folder_without_an_evaluation_is_refused_before_anything_is_computed(tmp_path):
    with pytest.raises(UserError, match="no predictions of labelled images"):
        check_champion(tmp_path, tmp_path / "output")


@pytest.mark.parametrize("champion", ["a", "a/predictions.csv", "a/../a"])
def test_a_champion_in_the_folder_that_is_written_to_is_refused(tmp_path, champion):
    output = evaluation(tmp_path / "a", gain=1)
    with pytest.raises(UserError, match=r"the champion's evaluation would be overwritten.*another folder"):
        check_champion(tmp_path / champion, output)
    check_champion(tmp_path / champion, tmp_path / "b")


def test_no_comparison_of_an_earlier_evaluation_is_left(tmp_path):
    folder, champion = evaluation(tmp_path / "a", gain=1), evaluation(tmp_path / "b", gain=0.5)
    verdict(folder, champion)
    assert (folder / "comparison.json").exists()
    verdict(folder)
    assert not (folder / "comparison.json").exists()
