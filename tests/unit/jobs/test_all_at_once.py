"""All at once: what is wrong with a call is one error, whichever verb, and nothing was asked or sent by then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from wire import account

from lesion.errors import UserError
from lesion_jobs import (
    Environment,
    Scale,
    Serverless,
    deploy,
    evaluate,
    pipeline,
    prepare_shards,
    train,
    transform,
    tune,
)

HERE = Path("/tmp/on_this_machine")  # where no machine of SageMaker reads
PLAIN = {"pretrained": False}

WRONG: dict[str, tuple[Callable[[Environment], object], list[str]]] = {
    "train": (
        lambda there: train(there, {"training": HERE, "test": HERE}, hyperparameters={"epoch": 1}, max_hours=-1),
        ["channel 'training' lies on", "channel 'test' lies on", "epoch=1", "max_hours=-1"],
    ),
    "train on a GPU": (
        lambda there: train(there, "s3://b/d", hyperparameters={"device": "cuda"}, num_instances=0, volume_gb=0),
        ["device=cuda", "pretrained=true downloads", "num_instances=0", "volume_gb=0"],
    ),
    "tune": (
        lambda there: tune(there, HERE, {"learning_rate": None}, hyperparameters={"epoch": 1}, max_hours=-1),
        ["channel 'training' lies on", "epoch=1", "max_hours=-1"],
    ),
    "evaluate": (
        lambda there: evaluate(there, "s3://b/model.zip", HERE, options={"nix": 1}, max_hours=-1, volume_gb=0),
        ["no .tar.gz", "the data set lies on", "no option nix", "volume_gb=0", "max_hours=-1"],
    ),
    "prepare_shards": (
        lambda there: prepare_shards(there, HERE, options={"nix": 1}, num_instances=0),
        ["the data set lies on", "no option nix", "num_instances=0"],
    ),
    "transform": (
        lambda there: transform(there, "s3://b/model.zip", HERE),
        ["no .tar.gz", "the folder of images lies on"],
    ),
    "deploy": (
        lambda there: deploy(there, "s3://b/model.zip", how=Serverless(), scale=Scale(2), wait=False),
        ["deploy refused", "scale needs an endpoint that is in service", "no .tar.gz"],
    ),
    "pipeline": (
        lambda there: pipeline(
            there,
            "s3://b/d",
            test="s3://b/t",
            bar=0.1,
            name="p",
            hyperparameters=PLAIN,
            shards={"size": 0},
            max_hours=-1,
        ),
        ["bar=0.1", "settings out of range", "max_hours=-1"],
    ),
}


@pytest.mark.parametrize("verb", WRONG)
def test_all_that_is_wrong_with_a_call_is_said_at_once(verb: str):
    call, said = WRONG[verb]
    with account() as (wire, environment):
        with pytest.raises(UserError) as refused:
            call(environment)
        assert [part in one.what for part, one in zip(said, refused.value.each, strict=True)] == [True] * len(said)
        assert wire.operations == []
