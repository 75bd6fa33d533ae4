"""Lesion itself on a GPU: it trains, resumes, serves, and answers as on a CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factories import write_job
from processes import Server, cold_lesion


@pytest.fixture(scope="module")
def trained(gpu, tmp_path_factory) -> Path:
    root = write_job(tmp_path_factory.mktemp("trained"), device="cuda", model="resnet18", image_size=64, epochs=3)
    done = cold_lesion("train", "--root", root)
    assert done.returncode == 0 and "gpu=" in done.stdout, done.stdout + done.stderr
    return root


def test_out_of_fold_predictions_are_those_of_a_cpu(trained, tmp_path):
    """The artifact, loaded on a CPU, says of the rows that a fold held out what the GPU said."""
    oof = pd.read_csv(trained / "output" / "data" / "oof.csv", dtype={"image_name": str})
    channel = trained / "input" / "data" / "training"
    for fold in oof["fold"].unique():
        output = tmp_path / f"{fold}.csv"
        options = ("--model", trained / "model", "--output", output, "--device", "cpu", "--fold", fold)
        assert cold_lesion("predict", channel / "train.csv", *options).returncode == 0
        said = pd.read_csv(output).merge(oof[oof["fold"] == fold], on="image_name")
        assert np.allclose(said["probability_x"], said["probability_y"], atol=2e-2)


def test_a_server_on_the_gpu_answers_as_one_on_the_cpu(trained, tmp_path):
    picture = sorted((trained / "input" / "data" / "training" / "train_jpg").iterdir())[0].read_bytes()
    answers = []
    for device in ("cpu", "cuda"):
        server = Server.start(trained, tmp_path / device, "--device", device).wait_until_ready()
        try:
            answers.append(json.loads(server.ask(picture).text)["predictions"][0]["probability"])
        finally:
            server.stop()
    assert answers[0] == pytest.approx(answers[1], abs=2e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_batch_of_the_memorys_size_trains_in_either_precision(gpu, tmp_path, precision):
    """A graphics card holds more than 64 pictures of 64 px of a small network."""
    settings = {"batch_size_train": "auto", "precision": precision, "device": "cuda", "model": "resnet18"}
    done = cold_lesion("train", "--root", write_job(tmp_path, image_size=64, **settings))
    assert done.returncode == 0 and f"precision={precision}" in done.stdout, done.stdout + done.stderr
    config = json.loads((tmp_path / "model" / "manifest.json").read_text())["config"]
    assert config["batch_size_train"] > 64
