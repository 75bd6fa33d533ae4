"""Model args: what would reach timm's factory rather than the network is refused, in settings and artifacts alike."""

from __future__ import annotations

import inspect
import json

import pytest
import timm
from timm.models._builder import build_model_with_cfg

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.errors import UserError
from lesion.model_args import FACTORY_ARGS, refuse_factory_args


def test_every_parameter_of_timms_own_factory_is_known():
    for factory in (timm.create_model, build_model_with_cfg):
        assert {*inspect.signature(factory).parameters} - {"kwargs"} <= FACTORY_ARGS


@pytest.mark.parametrize("name", sorted(FACTORY_ARGS))
def test_the_factorys_arguments_are_refused_as_a_hyperparameter(name):
    with pytest.raises(UserError, match=rf"model_args=.*{name} cannot be set") as caught:
        ClassifyConfig.parse({"model_args": json.dumps({name: "/etc/passwd"})})
    assert caught.value.kind == "hyperparameters"


@pytest.mark.parametrize(
    "value",
    [
        "/etc/passwd",
        "https://a.b/c",
        "hf-hub:a/b",
        "..\\a",
        ["relu", "a/b"],
        {"deep": {"deeper": ("a/b",)}},
        {"a/b": 1},
    ],
)
def test_what_names_a_file_or_an_address_is_refused(value):
    with pytest.raises(ValueError, match="'act_layer' names a file or an address"):
        refuse_factory_args({"img_size": 64, "act_layer": value})


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="'drop_rate' is nan"):
        refuse_factory_args({"drop_rate": float("nan")})


def test_what_networks_take_is_let_through():
    refuse_factory_args(
        {"pad_type": "same", "img_size": [64, 64], "global_pool": "avg", "drop_path_rate": 0.1, "qkv_bias": True}
    )
