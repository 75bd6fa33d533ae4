"""The whole road, small: train, artifact, predict."""

from __future__ import annotations

import numpy as np
import pandas as pd


def test_a_job_leaves_an_artifact_and_results(trained_root):
    assert (trained_root / "model" / "manifest.json").is_file()
    oof = pd.read_csv(trained_root / "output" / "data" / "oof.csv")
    assert list(oof["image_name"]) == list(
        pd.read_csv(trained_root / "input" / "data" / "training" / "train.csv")["image_name"]
    )
    assert np.isfinite(oof["probability"]).all()
