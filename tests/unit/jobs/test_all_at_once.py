"""All at once: what is wrong with a call is one error, whichever verb, and nothing was asked or sent by then."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from wire import account

from lesion.errors import UserError
from lesion_jobs import (
    Canary,
    Capture,
    Endpoint,
    Environment,
    Linear,
    Scale,
    Serverless,
    deploy,
    estimate,
    evaluate,
    monitor,
    pipeline,
    prepare_shards,
    rollout,
    shadow,
    split,
    train,
    transform,
    tune,
)
from lesion_jobs.runs.training import describe_run

HERE = Path("/tmp/on_this_machine")  # where no machine of SageMaker reads
PLAIN = {"pretrained": False}
MODEL = "s3://bucket/run/output/model.tar.gz"

WRONG: dict[str, tuple[Callable[[Environment], object], list[str]]] = {
    "train": (
        lambda there: train(
            there, {"training": HERE, "test": HERE}, name="a b", hyperparameters={"epoch": 1}, max_hours=-1
        ),
        ["'a b'", "channel 'training' lies on", "channel 'test' lies on", "epoch=1", "max_hours=-1"],
    ),
    "train on a GPU": (
        lambda there: train(there, "s3://b/d", hyperparameters={"device": "cuda"}, num_instances=0, volume_gb=0),
        ["device=cuda", "pretrained=true downloads", "num_instances=0", "volume_gb=0"],
    ),
    "tune": (
        lambda there: tune(
            there, HERE, {"learning_rate": None}, name=33 * "x", hyperparameters={"epoch": 1}, max_hours=-1
        ),
        ["where at most 32", "channel 'training' lies on", "epoch=1", "max_hours=-1"],
    ),
    "tune for nothing": (
        lambda there: tune(
            there,
            HERE,
            {"epoch": None},
            hyperparameters=PLAIN,
            objective="auc",
            strategy="Grid",
            max_jobs=0,
            parallel=0,
        ),
        ["channel 'training' lies on", "strategy='Grid'", "max_jobs=0", "parallel=0", "objective 'auc'", "epoch=0"],
    ),
    "evaluate": (
        lambda there: evaluate(
            there, "s3://b/model.zip", HERE, name="a b", options={"nix": 1}, max_hours=-1, volume_gb=0
        ),
        ["'a b'", "no .tar.gz", "the data set lies on", "no option nix", "volume_gb=0", "max_hours=-1"],
    ),
    "prepare_shards": (
        lambda there: prepare_shards(there, HERE, name="a b", options={"nix": 1}, num_instances=0),
        ["'a b'", "the data set lies on", "no option nix", "num_instances=0"],
    ),
    "transform": (
        lambda there: transform(there, "s3://b/model.zip", HERE, name="a b", num_instances=0),
        ["'a b'", "no .tar.gz", "the folder of images lies on", "num_instances=0"],
    ),
    "deploy": (
        lambda there: deploy(there, "s3://b/model.zip", name="a b", how=Serverless(), scale=Scale(2), wait=False),
        ["'a b'", "deploy refused", "scale needs an endpoint that is in service", "no .tar.gz"],
    ),
    "pipeline": (
        lambda there: pipeline(
            there,
            "s3://b/d",
            test="s3://b/t",
            bar=0.1,
            name="p",
            hyperparameters=PLAIN,
            group="a b",
            approval="approved",  # type: ignore[arg-type]
            shards={"size": 0},
            max_hours=-1,
        ),
        ["bar=0.1", "'a b'", "approval='approved' is not", "settings out of range", "max_hours=-1"],
    ),
    "estimate": (lambda there: estimate(there, "train", hours=-1, num_jobs=0), ["hours=-1", "num_jobs=0"]),
    "a way to serve": (lambda there: Serverless(9, 0), ["memory_gb=9", "max_concurrency=0"]),
    "a scale": (lambda there: Scale(0, -1, 0), ["max_instances=0", "min_instances=-1", "target=0"]),
    "a capture": (lambda there: Capture(0, "here"), ["percent=0", "output 'here'"]),
    "a shift": (lambda there: Canary(0, -1), ["percent=0", "wait_minutes=-1"]),
}


@pytest.mark.parametrize("verb", WRONG)
def test_all_that_is_wrong_with_a_call_is_said_at_once(verb: str):
    call, said = WRONG[verb]
    with account() as (wire, environment):
        with pytest.raises(UserError) as refused:
            call(environment)
        assert [part in one.what for part, one in zip(said, refused.value.each, strict=True)] == [True] * len(said)
        assert wire.operations == []


OF_AN_ENDPOINT: dict[str, tuple[Callable[[Endpoint], object], list[str]]] = {
    "rollout": (
        lambda endpoint: rollout(endpoint, "s3://b/model.zip", bake_minutes=61, alarms=11 * ["nix"]),
        ["bake_minutes=61", "11 alarms", "no .tar.gz", "there is no alarm 'nix'"],
    ),
    "a rollout without a way back": (
        lambda endpoint: rollout(endpoint, MODEL, shift=Linear(10, 60), alarms=[]),
        ["would wait 10.2 hours", "alarms is empty"],
    ),
    "split": (
        lambda endpoint: split(
            endpoint, {"a": float("nan"), "b": -1, "AllTraffic": 0}, models={"a": "s3://b/model.zip", "c": MODEL}
        ),
        ["no .tar.gz", "called b: there is AllTraffic; c has a model and no weight; .* not 'a': nan, 'b': -1"],
    ),
    "shadow": (
        lambda endpoint: shadow(endpoint, "s3://b/model.zip", percent=0),
        ["percent=0", "no .tar.gz"],
    ),
    "monitor": (
        lambda endpoint: monitor(
            endpoint.environment,
            endpoint,
            describe_run(endpoint.environment, "run"),
            every="week",  # type: ignore[arg-type]
            volume_gb=0,
            max_hours=-1,
        ),
        ["captures nothing", "every='week' is not hour or day", "volume_gb=0", "max_hours=-1"],
    ),
}


@pytest.mark.parametrize("verb", OF_AN_ENDPOINT)
def test_all_that_is_wrong_with_a_change_of_an_endpoint_is_said_at_once_and_nothing_is_changed(verb: str):
    call, said = OF_AN_ENDPOINT[verb]
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        wire.sent.clear()
        with pytest.raises(UserError) as refused:
            call(endpoint)
        found = [re.search(part, one.what) is not None for part, one in zip(said, refused.value.each, strict=True)]
        assert found == [True] * len(said)
        assert not [one for one in wire.operations if "Describe" not in one and "ListTags" not in one]
