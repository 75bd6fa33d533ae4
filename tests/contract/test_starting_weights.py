"""Starting weights: what the check says of a network, its arguments and its weights file, which training says too."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from checks import check, one
from jobs import small_frame, small_job
from safetensors.torch import save_file
from torch import Tensor

from factories import run_job, write_channel
from lesion.errors import UserError
from lesion.models.weight_files import find_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "training"
    write_channel(folder, small_frame(6))
    return folder


@pytest.fixture(scope="module")
def state() -> State:
    """Weights of test_resnet with its classifier of 1,000 classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return dict(timm.create_model("test_resnet", pretrained=False).state_dict())


@pytest.fixture
def asked(training, tmp_path) -> Callable[..., str]:
    """The errors of a check with these settings, with the channel below tmp_path / "pretrained" if it is there."""

    def ask(**settings: object) -> str:
        channels = {"training": training}
        if (tmp_path / "pretrained").is_dir():
            channels["pretrained"] = tmp_path / "pretrained"
        report = check(channels, tmp_path / "check", **{"image_size": 64, **settings})
        said = [finding.as_error() for finding in report.findings if finding.level == "error"]
        assert all(error.where for error in said)
        if not said and "pretrained" in channels:
            return f"fine: {one(report, 'pretrained_weights').what}"
        return "; ".join(map(str, said)) or "fine"

    return ask


def put(tmp_path: Path, state: State, name: str = "w.safetensors") -> Path:
    path = tmp_path / "pretrained" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path)
    return path


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def headless(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


@pytest.mark.parametrize(
    "prefix",
    ["module.", "model.", "_orig_mod.", "backbone.", "encoder.", "module.model.", "_orig_mod.module.", "my.own.net."],
)
def test_a_prefix_that_all_names_share_is_left_out_and_said(asked, tmp_path, state, prefix):
    put(tmp_path, under(prefix, state))
    assert asked(pretrained=True) == (
        f"fine: the pretrained weights of test_resnet are w.safetensors: '{prefix}' is left out of the tensors' names"
    )


def test_weights_without_a_head_or_without_counters_are_fine(asked, tmp_path, state):
    body = headless(state)
    put(tmp_path, {name: value for name, value in body.items() if not name.endswith("num_batches_tracked")})
    assert asked(pretrained=True) == "fine: the pretrained weights of test_resnet are w.safetensors"


def test_what_lies_beside_the_network_in_a_larger_one_is_said(asked, tmp_path, state):
    put(tmp_path, under("backbone.", headless(state)) | {"head.weight": torch.zeros(2, 96)})
    assert "'backbone.' is left out of the tensors' names, and what is not below it is not read: head.weight" in asked(
        pretrained=True
    )


def test_two_networks_in_one_file_are_refused(asked, tmp_path, state):
    put(tmp_path, under("student.", state) | under("teacher.", {k: v.clone() for k, v in state.items()}))
    assert "hold the whole network 2 times, under 'student.', 'teacher.'" in asked(pretrained=True)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {one: value for one, value in state.items() if one != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("bn1.weight"), r"bn1.weight is missing \("),
        (lambda state: under("module.", without("bn1.weight")(state)), r"fit 'test_resnet': bn1.weight is missing \("),
        (lambda state: state | {"layer9.weight": torch.zeros(1)}, "layer9.weight is not part of the network"),
        (
            lambda state: {name: value[:1].clone() if value.ndim else value for name, value in state.items()},
            r"fit 'test_resnet': conv1.0.weight is \[1, 3, 3, 3\] and should be \[\d+, 3, 3, 3\] and \d+ more \(",
        ),
        (lambda state: {"fc.weight": state["fc.weight"]}, r"conv1.0.weight is missing and \d+ more \("),
    ],
    ids=["a tensor is missing", "also behind a prefix", "one too many", "other shapes", "only a head"],
)
def test_a_body_that_does_not_fit_is_told_by_one_tensor_of_each_kind(asked, tmp_path, state, change, words):
    put(tmp_path, change(state))
    said = asked(pretrained=True)
    assert re.search(words, said) and "Set model" in said and len(said) < 500


def test_hidden_files_are_no_weights(asked, tmp_path, state):
    put(tmp_path, state)
    for hidden in ("._w.safetensors", ".ipynb_checkpoints/w-checkpoint.safetensors", "__MACOSX/w.safetensors"):
        (tmp_path / "pretrained" / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "pretrained" / hidden).write_bytes(b"no weights")
    assert asked(pretrained=True).startswith("fine")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["a.safetensors", "b/c.safetensors"], ["2 weight files found", "a.safetensors, b/c.safetensors", "Leave one"]),
        (["README.md"], ["no .safetensors file was found: the files there are README.md", "pretrained=false"]),
        ([".hidden"], ["no file is there"]),
        (["r.pth"], ["r.pth: only .safetensors files are read", "weights_only=True", "'r.safetensors'"]),
        (["pytorch_model.bin", "config.json"], ["pytorch_model.bin: only .safetensors"]),
        (["best.ckpt"], ["best.ckpt: only .safetensors"]),
        (
            ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors", "m.safetensors.index.json"],
            ["in parts, and one file is needed", "m-00001-of-00002.safetensors", "leave only m.safetensors there"],
        ),
    ],
)
def test_a_channel_without_one_file_of_weights_says_what_it_has(asked, tmp_path, files, words):
    for name in files:
        (tmp_path / "pretrained" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pretrained" / name).write_bytes(b"")
    said = asked(pretrained=True)
    assert [word for word in words if word not in said] == []


def followed(refusal: str, folder: Path) -> None:
    """Runs the command that the refusal names, in the folder."""
    words = shlex.split(re.search(r"python -c \".*?\"(?=,|$)", refusal)[0])
    subprocess.run([sys.executable, *words[1:]], cwd=folder, check=True, capture_output=True)


@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_the_command_that_converts_a_pickle_works(asked, tmp_path, state, wrapped):
    path = tmp_path / "pretrained" / "best.pth"
    path.parent.mkdir()
    torch.save(wrapped(under("module.", state)), path)
    with pytest.raises(UserError) as caught:
        find_weights(True, path.parent)
    followed(str(caught.value), path.parent)
    assert "best.safetensors: 'module.' is left out" in asked(pretrained=True)


def test_the_command_that_joins_parts_works(asked, tmp_path, state):
    names = sorted(state)
    for number, part in enumerate((names[:20], names[20:]), 1):
        put(tmp_path, {name: state[name] for name in part}, f"model-0000{number}-of-00002.safetensors")
    folder = tmp_path / "pretrained"
    with pytest.raises(UserError) as caught:
        find_weights(True, folder)
    followed(str(caught.value), folder)
    for part in folder.glob("*-of-*"):
        part.unlink()
    assert "are model.safetensors" in asked(pretrained=True)


def test_a_path_that_is_not_there_is_refused_as_that(asked):
    said = asked(pretrained="nowhere/w.safetensors")
    assert "pretrained=nowhere/w.safetensors: no such file or folder exists" in said
    assert "true or false" in said and str(Path("nowhere").absolute()) in said


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "resnet18.a9_in9k"}, ["'resnet18' has no weights with the tag 'a9_in9k'", "resnet18.a1_in1k"]),
        ({"model": "resnet50t.a1_in1k"}, ["no weights with the tag", "Set model=resnet50t, which has no tags."]),
        ({"model": "ResNet18"}, ["no network is called 'ResNet18'", "resnet18"]),
        ({"model": "efficientnet-b0"}, ["no network is called", "efficientnet_b0"]),
        ({"model": "timm/resnet18.a1_in1k"}, ["Write resnet18.a1_in1k."]),
        ({"model": "qqqqqqq"}, ["no network is called", "timm.list_models"]),
        ({"model": "test_vit", "model_args": {"dynamic_img_size": True}, "image_size": 225}, ["divisible by patch"]),
        ({"model_args": {"global_pool": ""}}, ["one vector of features", "[1, 96, 2, 2]", "Leave global_pool out"]),
        ({"model": "test_vit", "model_args": {"global_pool": ""}, "image_size": 160}, ["[1, 101, 64]"]),
        ({"model_args": {"global_pool": "foo"}}, ["cannot be made: Invalid pool type: foo"]),
        ({"model_args": {"drop_rat": 0.1}}, ["unexpected keyword argument 'drop_rat'", "Did you mean drop_rate?"]),
        ({"model_args": {"act_layer": "nope"}}, ["cannot be made: KeyError: 'nope'", '{"act_layer": "nope"}']),
        (
            {"model_args": {"drop_rate": "x"}},
            ["'test_resnet' with these model_args does not accept", "Correct model_args."],
        ),
        ({"model_args": {"layers": [1, 1]}}, ["'ResNet' object has no attribute 'layer3'"]),
        ({"model": "test_vit", "model_args": {"drop_path_rate": 5}, "image_size": 160}, ["cannot be trained"]),
    ],
)
def test_networks_and_arguments_that_training_cannot_use_are_refused(asked, settings, words):
    said = asked(**settings)
    assert [word for word in words if word not in said] == [], said


def test_training_refuses_in_the_same_words(tmp_path):
    root = small_job(tmp_path, model="resnet18.a9_in9k", pretrained=True)
    with pytest.raises(UserError, match="'resnet18' has no weights with the tag 'a9_in9k'"):
        run_job(root)


@pytest.mark.parametrize("settings", [{"model": "test_resnet.r160_in1k"}, {"model_args": {"global_pool": "avgmax"}}])
def test_what_timm_knows_is_taken(asked, settings):
    assert asked(**settings) == "fine"
