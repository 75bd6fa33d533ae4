"""Argument types: whatever an argument of a verb is, the answer is an error of ours, and nothing was sent by then."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from wire import account

import lesion_jobs
from lesion.errors import UserError
from lesion_jobs import Endpoint, Environment, EvaluationRun, Scale, TransformRun, TuningRun
from lesion_jobs.experiments import track
from lesion_jobs.runs.training import describe_run
from lesion_jobs.stream import poll

DATA, MODEL = "s3://bucket/data", "s3://bucket/run/output/model.tar.gz"
ANSWERS = ("Cost", "Later", "LocalExecution", "Pipeline", "Prediction", "Place", "Schedule")  # which verbs return

DOORS: dict[str, Callable[..., Any]] = {
    **{name: getattr(lesion_jobs, name) for name in lesion_jobs.__all__ if name not in ANSWERS},
    **{"track": track, "poll": poll},
}
METHODS = ("TransformRun.wait", "Execution.wait", "Execution.job", "Pipeline.start")

VALUES: list[Any] = [None, "nix", "", 7, -1, 0.5, float("nan"), True, b"x", ["a"], [], {"a": 1}, {1: "a"}, {"a": {"b"}}]


def right(environment: Environment, folder: Path) -> dict[str, Any]:
    """A right value of each argument that is needed, and of those without which a verb would wait; by their names."""
    return {
        **{"environment": environment, "endpoint": Endpoint("skin", environment), "scale": Scale(2)},
        **{"run": describe_run(environment, "run"), "tuning": TuningRun("tuned", environment), "model": MODEL},
        **{"channels": DATA, "data": DATA, "pictures": DATA, "test": "s3://bucket/new", "picture": b"x"},
        **{"ranges": {"epochs": None}, "weights": {"AllTraffic": 1}, "hyperparameters": {"pretrained": False}},
        **{"name": "skin", "group": "skin", "verb": "train", "bar": 0.85, "hours": 1, "wait": False, "poll_s": 0},
        **{"folder": folder, "job": folder, "tracking_uri": "file:///nowhere", "step": "Train"},
        **{"queue_url": "https://queue", "results": "s3://bucket/results", "until_empty": True},
        **{"max_instances": 2, "parents": ["earlier"], "arn": "arn:aws:sagemaker:::x/y"},
        **{"image": "lesion", "instance_type": "ml.m5.xlarge", "output": "s3://bucket/lesion", "role": "arn:x"},
        **{"checkpoints": None, "config": "c", "scaling": {}, "session": environment.session},
    }


def may_be_right(hint: Any, value: object) -> bool:
    """Whether the type of a value is among those of its argument, whatever is in it."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if isinstance(value, bool) and bool not in kinds:
        return Any in kinds
    if value == "" and Path in kinds:  # to Path the current folder
        return False
    if isinstance(value, str | bytes):
        return any(kind in (type(value), Any) or get_origin(kind) is Literal for kind in kinds)
    plain = [get_origin(kind) or kind for kind in kinds]
    return (
        Any in kinds
        or any(kind is not Literal and isinstance(value, kind) for kind in plain)
        or (float in kinds and isinstance(value, int))
    )


@pytest.mark.parametrize("name", [*DOORS, *METHODS])
def test_an_argument_of_a_wrong_type_is_refused_in_words_and_nothing_is_sent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with account() as (wire, environment):
        plain = right(environment, tmp_path)
        door = DOORS[name] if name in DOORS else method(name, plain)
        if name == "fetch_predictions":
            plain["run"] = TransformRun("batch", environment, "s3://bucket/lesion/batch")
        if name == "fetch_evaluation":
            plain["run"] = EvaluationRun("judged", environment, "s3://bucket/lesion/judged")
        hints = get_type_hints(door)
        arguments = [one for one in inspect.signature(door).parameters if one in hints]
        needed = {one: plain[one] for one in arguments if one in plain}
        for argument in arguments:
            for value in VALUES:
                is_sure = not may_be_right(hints[argument], value)
                wire.sent.clear()
                try:
                    door(**needed | {argument: value})
                    said = None
                except UserError as error:
                    said = str(error)
                except Exception as error:
                    raise AssertionError(f"{argument}={value!r}") from error
                if is_sure:
                    assert said is not None, f"{argument}={value!r} was taken for {hints[argument]}"
                    is_number = set(get_args(hints[argument]) or [hints[argument]]) <= {int, float, NoneType}
                    asked = [one for one in wire.operations if not (is_number and "Describe" in one)]
                    assert asked == [], f"{argument}={value!r}: {said}"


def method(name: str, plain: dict[str, Any]) -> Callable[..., Any]:
    """A method of a handle that a user could have."""
    kind, _, method_name = name.partition(".")
    handles = {
        "TransformRun": lambda: TransformRun("batch", plain["environment"], "s3://bucket/x"),
        "Execution": lambda: lesion_jobs.Execution("arn:aws:sagemaker:::x/y", plain["environment"]),
        "Pipeline": lambda: lesion_jobs.pipeline(
            plain["environment"],
            DATA,
            test="s3://bucket/new",
            bar=0.85,
            name="p",
            hyperparameters={"pretrained": False},
        ),
    }
    found: Callable[..., Any] = getattr(handles[kind](), method_name)
    return found


def test_an_empty_text_is_no_channel():
    with account() as (wire, environment):
        with pytest.raises(UserError, match=r"channels\['test'\] is an empty text"):
            lesion_jobs.train(environment, {"training": DATA, "test": ""}, hyperparameters={"pretrained": False})
        assert wire.operations == []
