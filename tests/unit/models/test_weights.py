"""Weights: a file that fits is loaded, any other is told tensor by tensor."""

from __future__ import annotations

import subprocess

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from lesion.data.decode.images import read
from lesion.data.transforms import Preprocess
from lesion.errors import UserError
from lesion.models.backbone import create_backbone
from lesion.models.weight_files import find_weights
from lesion.models.weights import load_backbone_weights, pretrained_weights

NAME = "test_resnet"


@pytest.fixture
def backbone():
    return create_backbone(NAME, {})


@pytest.fixture
def state() -> dict[str, Tensor]:
    """The weights of another draw of the same network, with its classifier of 1,000 classes."""
    torch.manual_seed(1)
    return dict(timm.create_model(NAME, pretrained=False).state_dict())


def test_weights_that_fit_are_copied_and_the_classifier_is_left_out(backbone, state):
    assert "fc.weight" in state
    load_backbone_weights(backbone, NAME, state, where="a file")
    own = backbone.state_dict()
    assert set(state) - set(own) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(own[name], state[name]) for name in own)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_float32(tmp_path, backbone, state, half):
    path = tmp_path / "weights.safetensors"
    save_file({name: value.to(half) if value.is_floating_point() else value for name, value in state.items()}, path)
    loaded, file = pretrained_weights(NAME, {}, str(path), None)
    printed = subprocess.run(["sha256sum", path], check=True, capture_output=True, text=True).stdout
    assert (file.name, file.sha256) == ("weights.safetensors", printed.split()[0])
    assert loaded["conv1.0.weight"].dtype == torch.float32 and loaded["bn1.num_batches_tracked"].dtype == torch.int64
    torch.testing.assert_close(loaded["conv1.0.weight"], state["conv1.0.weight"], rtol=1e-2, atol=1e-3)
    load_backbone_weights(backbone, NAME, loaded, where=path)


def test_tensors_that_do_not_fit_are_named_and_nothing_is_copied(backbone, state):
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    del state["bn1.weight"]
    state["stranger.weight"] = torch.zeros(1)
    state["conv1.0.weight"] = torch.zeros(1, 2, 3, 3)
    with pytest.raises(UserError) as caught:
        load_backbone_weights(backbone, NAME, state, where="weights.safetensors")
    message = str(caught.value)
    shape = list(before["conv1.0.weight"].shape)
    for part in (
        "bn1.weight is missing",
        "stranger.weight is not part of the network",
        f"conv1.0.weight is [1, 2, 3, 3] and should be {shape}",
        "(weights.safetensors)",
    ):
        assert part in message
    assert caught.value.kind == "weights"
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_another_networks_weights_are_told_in_few_words(backbone):
    other = timm.create_model("test_efficientnet", pretrained=False).state_dict()
    with pytest.raises(UserError, match=r"do not fit 'test_resnet'.* and \d+ more") as caught:
        load_backbone_weights(backbone, NAME, other, where="a file")
    assert len(str(caught.value)) < 600


def test_the_channels_one_file_is_found_below_it(tmp_path):
    path = tmp_path / "deep" / "weights.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"")
    assert find_weights(True, tmp_path) == path
    assert find_weights(False, tmp_path) is None
    assert find_weights(True, None) is None
    assert find_weights(str(path), None) == path


def test_a_pickle_is_refused_unread(tmp_path):
    path = tmp_path / "resnet.pth"
    path.write_bytes(b"cos\nsystem\n(S'false'\ntR.")  # runs a command when unpickled
    with pytest.raises(UserError, match=r"resnet\.pth: only \.safetensors files are read.*If you trust it"):
        pretrained_weights(NAME, {}, str(path), None)


@pytest.mark.parametrize("content", [b"", b"no weights", b"\xff" * 64])
def test_a_damaged_file_is_refused_by_its_path(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a whole safetensors file.*weights\.safetensors"):
        pretrained_weights(NAME, {}, str(path), None)


def test_false_starts_from_noise():
    assert pretrained_weights(NAME, {}, False, None) is None


def test_a_network_without_weights_at_timm_is_told_without_asking_the_network():
    with pytest.raises(UserError, match=r"no weights for 'resnet50t'.*pretrained=false"):
        pretrained_weights("resnet50t", {}, True, None)


@pytest.mark.real
def test_the_weights_beside_the_project_load_and_know_a_daisy(shared_data):
    """Class 985 of ImageNet is daisy; data/README.md: 78 % of daisies come out as that. The file has the classifier."""
    path, model_args = shared_data / "weights" / "mobilenetv2_100.safetensors", {"pad_type": "same"}
    state, _ = pretrained_weights("mobilenetv2_100", model_args, str(path), None)
    backbone = create_backbone("mobilenetv2_100", model_args)
    load_backbone_weights(backbone, "mobilenetv2_100", state, where=path)
    squares = [
        Preprocess(224, (0.5,) * 3, (0.5,) * 3)(read(photo))
        for photo in sorted((shared_data / "flowers5" / "daisy").glob("*.jpg"))[:12]
    ]
    pixels_NCHW = torch.stack([torch.from_numpy(square).permute(2, 0, 1) for square in squares]) / 127.5 - 1
    with torch.inference_mode():
        features = backbone.eval()(pixels_NCHW)
        logits = features @ state["classifier.weight"].T + state["classifier.bias"]
    assert (logits.argmax(dim=1) == 985).sum() >= 7
    with pytest.raises(UserError, match="do not fit"):
        load_backbone_weights(create_backbone("mobilenetv2_050", {}), "mobilenetv2_050", state, where=path)
