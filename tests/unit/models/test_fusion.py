"""Fusion: initial weights follow from the seed alone, and pixels are normalised inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesion.data.transforms import Preprocess
from lesion.errors import UserError
from lesion.models.backbone import create_backbone, num_features, pretrained_config
from lesion.models.fusion import HIDDEN, FusionNet, create_network

PREPROCESS = Preprocess(32, (0.2, 0.4, 0.6), (0.1, 0.3, 0.5))


def network_of(*, num_metadata: int = 3, seed: int = 0) -> FusionNet:
    return create_network("test_resnet", {}, PREPROCESS, num_metadata=num_metadata, num_outputs=1, seed=seed)


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> set[str]:
    return {name for name in left if left[name].shape == right[name].shape and torch.equal(left[name], right[name])}


class Seen(nn.Module):
    """A backbone that remembers what it was shown, and answers with each channel's mean."""

    def forward(self, pixels_NCHW: Tensor) -> Tensor:
        self.pixels_NCHW = pixels_NCHW
        return pixels_NCHW.mean(dim=(2, 3))


def test_the_backbone_sees_pixels_scaled_to_one_less_mean_by_deviation():
    images_NHWC = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    images_NHWC[0, 0, 0], images_NHWC[0, 0, 1] = 0, 255
    seen = Seen()
    network = FusionNet(seen, PREPROCESS, num_features=3, num_metadata=0, num_outputs=1).eval()
    network(torch.from_numpy(images_NHWC.transpose(0, 3, 1, 2).copy()), torch.zeros(2, 0))
    expected = (images_NHWC.astype(np.float64) / 255 - PREPROCESS.mean) / PREPROCESS.std
    np.testing.assert_allclose(seen.pixels_NCHW.numpy(), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_whatever_came_before():
    first = network_of().state_dict()
    torch.manual_seed(987)
    torch.rand(5)
    assert same(network_of().state_dict(), first) == set(first)
    assert same(network_of(seed=1).state_dict(), first) != set(first)


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    network_of()
    assert torch.equal(torch.get_rng_state(), before)


def test_another_number_of_features_changes_the_first_layer_of_the_metadata_only():
    """Folds whose vocabularies differ still start from the same numbers in all else (architecture, rule 2)."""
    three, five = network_of(num_metadata=3).state_dict(), network_of(num_metadata=5).state_dict()
    assert list(three) == list(five)
    differing = set(three) - same(three, five)
    assert differing == {"metadata.0.weight", "metadata.0.bias"}
    assert three["metadata.0.weight"].shape == (HIDDEN, 3)


def test_networks_of_one_name_and_other_arguments_have_heads_of_their_own_width():
    """The width is asked of the first network of a name, arguments and size, and known for those that follow."""
    for _ in range(2):
        for args, width in (({}, 96), ({"global_pool": "catavgmax"}, 192)):  # mean and maximum
            network = create_network("test_resnet", args, PREPROCESS, num_metadata=0, num_outputs=1, seed=0)
            assert network.head.in_features == width


def test_without_metadata_there_is_no_branch():
    network = network_of(num_metadata=0).eval()
    assert not any(name.startswith("metadata") for name in network.state_dict())
    assert network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 0)).shape == (2, 1)


def test_the_answer_depends_on_picture_and_metadata():
    network = network_of().eval()
    images_NCHW = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    answer = network(images_NCHW, torch.zeros(1, 3))
    assert answer != network(255 - images_NCHW, torch.zeros(1, 3))
    assert answer != network(images_NCHW, torch.ones(1, 3))


def test_the_metadata_branch_is_the_briefs():
    """M → 250 → 250, each with batch norm, ReLU and dropout; joined to the picture's features, one linear layer."""
    network = network_of()
    kinds = [type(layer) for layer in network.metadata]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout] * 2
    assert network.metadata[4].weight.shape == (250, 250)
    assert network.head.in_features == network.backbone.num_features + 250


def test_what_a_network_holds_still_never_learns():
    backbone = create_backbone("test_resnet", {})
    held, learned, *_ = backbone.parameters()
    held.requires_grad_(False)
    network = FusionNet(
        backbone,
        PREPROCESS,
        num_features=num_features(backbone, 32, name="", model_args={}),
        num_metadata=0,
        num_outputs=1,
    )
    for does_learn in (False, True):
        network.set_trainable(backbone=does_learn, statistics=True)
        assert (held.requires_grad, learned.requires_grad) == (False, does_learn)


def test_an_unknown_network_is_refused_with_the_nearest_names():
    with pytest.raises(UserError, match=r"no network is called 'resnet118'.*Did you mean .*resnet18") as caught:
        create_backbone("resnet118", {})
    assert caught.value.kind == "hyperparameters"
    with pytest.raises(UserError, match=r"timm\.list_models"):
        create_backbone("qqqqqqqq", {})


@pytest.mark.parametrize("model_args", [{"no_such_argument": 1}, {"num_classes": 3}, {"act_layer": "no such layer"}])
def test_arguments_that_the_network_does_not_take_are_refused(model_args):
    with pytest.raises(UserError, match=r"'test_resnet' cannot be made.*model_args="):
        create_backbone("test_resnet", model_args)


VIT = "vit_tiny_patch16_224"


def test_pictures_of_a_size_that_the_network_does_not_take_are_refused():
    """A transformer with positions for 224 px says no to others unless it is made for them."""
    with pytest.raises(UserError, match="does not accept images of 96 px") as caught:
        num_features(create_backbone(VIT, {}), 96, name=VIT, model_args={})
    assert caught.value.kind == "hyperparameters"
    assert 'Set image_size=224, the size that it was made for, or model_args={"img_size": 96}.' in str(caught.value)
    args = {"img_size": 96}
    assert num_features(create_backbone(VIT, args), 96, name=VIT, model_args=args) == 192


def test_a_network_has_no_classifier_of_its_own():
    backbone = create_backbone("test_resnet", {}).eval()
    assert backbone(torch.zeros(1, 3, 32, 32)).shape == (1, backbone.num_features)
    assert not [name for name in backbone.state_dict() if name.startswith("fc.")]


def test_what_timm_states_of_its_weights():
    """ImageNet's channel statistics, as torchvision documents them."""
    stated = pretrained_config("resnet18")
    assert stated["mean"] == (0.485, 0.456, 0.406) and stated["std"] == (0.229, 0.224, 0.225)
    assert stated["classifier"] == "fc"
