"""Recipes: each is a whole configuration that trains; what is set beside it stays as set."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import draw_weights, run, small_frame
from safetensors.torch import load_file

from factories import write_channel, write_hyperparameters
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.recipes import RECIPES

SMALL = {"model": "test_resnet", "image_size": 32, "precision": "fp32", "num_workers": 0}


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_recipe_sets_is_set_unless_the_user_sets_it(name):
    settings = RECIPES[name].settings
    config = ClassifyConfig.parse({"recipe": name, "folds": "3"}).as_json()
    assert {key: config[key] for key in settings if key != "folds"} == {
        key: value for key, value in settings.items() if key != "folds"
    }
    assert config["folds"] == 3 and config["recipe"] == name
    assert ClassifyConfig.parse({"recipe": name, "epochs": "7"}).epochs == 7


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return draw_weights(tmp_path_factory.mktemp("weights") / "given.safetensors")


def job_of(root: Path, settings: dict[str, object]) -> Path:
    """A job with nothing set but `settings`."""
    write_channel(root / "input" / "data" / "training", small_frame(8))
    write_hyperparameters(root, settings)
    return root


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains_and_its_artifact_answers_as_it_did_out_of_fold(tmp_path, weights, name):
    """On a network of a hundredth of the size; the artifact is asked before the job ends."""
    settings = {"recipe": name, "pretrained": weights, **SMALL, "folds": 2}
    settings |= {"epochs": 3} if RECIPES[name].settings["epochs"] else {}
    trained = run(job_of(tmp_path, settings))
    assert np.isfinite(trained.oof["probability"]).all()
    assert trained.manifest["config"]["recipe"] == name
    assert trained.payload["num_views"] == RECIPES[name].settings.get("tta", 3)


def test_a_probe_trains_nothing_but_the_head(tmp_path, weights):
    trained = run(job_of(tmp_path, {"recipe": "probe", "pretrained": weights, **SMALL, "folds": 2}))
    given = load_file(weights)
    for record in trained.payload["folds"]:
        kept = load_file(trained.root / "model" / record["file"])
        assert all(torch.equal(kept[f"backbone.{key}"], value) for key, value in given.items())
        assert record["best_epoch"] == -1
    heads = [load_file(trained.root / "model" / record["file"])["head.weight"] for record in trained.payload["folds"]]
    assert not torch.equal(*heads)
    report = json.loads((trained.root / "output" / "data" / "report.json").read_text())
    assert "no epoch was chosen" in report["judging"]["how"]
    assert (trained.root / "output" / "data" / "history.csv").read_text().strip() == "fold,epoch,lr,train_loss"
    assert all(metric["flattered"] is None for metric in report["metrics"])


def test_the_features_of_a_probe_are_the_same_by_openvino_and_by_torch(tmp_path, weights, caplog):
    """export_graph=false leaves all to torch."""
    caplog.set_level(logging.INFO, "lesion")
    settings = {"recipe": "probe", "pretrained": weights, **SMALL, "folds": 2}
    by_openvino = run(job_of(tmp_path / "openvino", settings))
    assert "by=openvino" in caplog.text and "by=torch" not in caplog.text
    by_torch = run(job_of(tmp_path / "torch", {**settings, "export_graph": False}))
    assert "by=torch" in caplog.text
    np.testing.assert_allclose(by_openvino.oof["logit"], by_torch.oof["logit"], atol=1e-3)
