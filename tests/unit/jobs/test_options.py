"""Options: what a job's container would refuse, whatever its data, is refused before a machine is paid for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from wire import account

from lesion.cli import main
from lesion.errors import UserError
from lesion_jobs import evaluate, prepare_shards, train
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.runs.evaluation import EVALUATE, EVALUATE_OWN

MODEL, DATA = "s3://bucket/run/output/model.tar.gz", "s3://bucket/data"

WRONG: dict[str, tuple[Callable[..., Any], dict[str, object], str]] = {
    "a name": (evaluate, {"sourse": "lst"}, r"no option sourse. Did you mean source\? Its options: .*operating_point"),
    "a name of shards": (prepare_shards, {"sise": 384}, "no option sise. Did you mean size"),
    "a point": (evaluate, {"operating_point": "nix=3"}, "'nix=3' is no operating point"),
    "a point's number": (evaluate, {"operating_point": "sensitivity=95"}, "needs a share above 0, at most 1"),
    "a setting": (evaluate, {"set": {"nix": 1}}, "nix cannot be set for an evaluation"),
    "a setting's value": (evaluate, {"set": {"on_uncertain": "x"}}, "on_uncertain='x': input should be"),
    "a setting of shards": (prepare_shards, {"set": {"sourc": "lst"}}, r"did you mean source\?"),
    "a format": (evaluate, {"source": "hdf5"}, "no format is called 'hdf5'"),
    "a choice": (evaluate, {"precision": "fp8"}, "--precision: invalid choice: 'fp8'"),
    "a GPU": (evaluate, {"device": "cuda"}, "device=cuda, but ml.m5.xlarge has no GPU"),
    "a size": (prepare_shards, {"size": 3}, "--size 3: 16 px or more"),
    "no number": (prepare_shards, {"quality": None}, "--quality: invalid int value: 'None'"),
    "no pair": (prepare_shards, {"set": ["x"]}, "is not NAME=VALUE"),
    "a folder": (evaluate, {"champion": "/opt/ml/processing/x"}, "champion cannot be set for a job"),
    "several": (prepare_shards, {"size": 3, "rows": 0, "sise": 1, "workers": "all"}, "3 things are wrong.*--rows 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_options_that_the_container_would_refuse_are_refused_before_they_are_paid_for(kind: str):
    verb, options, said = WRONG[kind]
    inputs = (MODEL, DATA) if verb is evaluate else (DATA,)
    with account() as (wire, environment):
        with pytest.raises(UserError, match=said):
            verb(environment, *inputs, options=options)
        assert wire.operations == []


@pytest.mark.parametrize(
    ("option", "value"), [("operating_point", "nix=3"), ("source", "hdf5"), ("set", {"on_uncertain": "x"})]
)
def test_the_client_refuses_in_the_words_of_the_command(option: str, value: Any, capsys):
    with pytest.raises(UserError) as here:
        command_arguments(EVALUATE, {option: value}, own=EVALUATE_OWN)
    text = "on_uncertain=x" if isinstance(value, dict) else value
    with pytest.raises(SystemExit) as ended:
        main([*EVALUATE, f"--{option.replace('_', '-')}", text])
    assert ended.value.code == 2 and str(here.value) in capsys.readouterr().err


def test_options_reach_the_command_as_what_they_are():
    options = {"operating_point": "sensitivity=0.95", "set": {"target_column": ["a", "b"], "report_names": True}}
    assert command_arguments(EVALUATE, options, own=EVALUATE_OWN) == [
        *("--operating-point", "sensitivity=0.95"),
        *("--set", 'target_column=["a", "b"]', "--set", "report_names=true"),
    ]


def test_a_training_on_a_gpu_that_the_machine_does_not_have_is_refused():
    with account() as (wire, environment), pytest.raises(UserError, match=r"device=cuda, but .* has no GPU"):
        train(environment, DATA, hyperparameters={"pretrained": False, "device": "cuda"})
    assert wire.operations == []


@pytest.mark.parametrize("margin", ["2", "-0.1", "nan"])
def test_a_margin_that_is_no_difference_of_areas_is_refused(margin: str, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", "a", "b", "--margin", margin])
    assert ended.value.code == 2 and f"{margin} is not from 0 to 1" in capsys.readouterr().err
