"""Gradient maps: of networks of timm's that have learnt to see a bright square in a corner."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from bright_square import SIDE, draw, trained, untrained
from torch import nn

from lesion.data.transforms import Preprocess
from lesion.explain.agreement import likeness, mean_correlation, rank_correlation
from lesion.explain.choose import Sample, choose, randomised
from lesion.explain.explained_class import named_class
from lesion.explain.gradient import (
    FAMILY,
    cam,
    gradient_maps,
    integrated_gradients,
    level_named,
    predicted_logits,
)
from lesion.explain.methods import METHODS, map_by
from lesion.explain.picture_map import heat_of
from lesion.models.fusion import FusionNet, create_network
from lesion.models.places import FINAL, as_grid, with_place_logits
from lesion.targets import Target

YES = named_class(Target("binary", ("no", "yes")), "yes")
NOTHING_M = np.zeros(0, np.float32)
STEPS = {"test_resnet": 30, "test_vit": 60}
SHARE_OF_AREA = (24 / 64) ** 2  # 0.14: what a map of nothing would have in the square


@pytest.fixture(params=STEPS)
def network(request: pytest.FixtureRequest) -> FusionNet:
    return trained(request.param, num_steps=STEPS[request.param])


def samples(network: FusionNet, count: int = 3) -> list[Sample]:
    images = [draw(10**6 + seed, is_positive=True)[0] for seed in range(count)]
    return [Sample(network, image_HWC, NOTHING_M, YES) for image_HWC in images]


def share_in_square(values_hw: np.ndarray, seed: int) -> float:
    """How much of a map's heat lies in the square of that picture."""
    heat_HW = cv2.resize(heat_of(values_hw), (SIDE, SIDE))
    return float(heat_HW[draw(seed, is_positive=True)[1]].sum() / heat_HW.sum())


def test_the_networks_have_learnt_to_see_the_square(network):
    for is_positive in (True, False):
        images = np.stack([draw(10**6 + seed, is_positive=is_positive)[0] for seed in range(8)])
        assert ((predicted_logits(network, images, NOTHING_M)[:, 0] > 0) == is_positive).all()


def test_the_chosen_map_lies_on_the_square(network):
    chosen = samples(network)
    record = choose(chosen)
    assert not record.warning and record.num_pictures == len(chosen)
    for seed, sample in enumerate(chosen):
        for method, level in ((record.method, record.level), (record.without_gradient, "")):
            values_hw = map_by(network, sample.square_HWC, NOTHING_M, YES, method=method, level=level)
            assert share_in_square(values_hw, 10**6 + seed) > 3 * SHARE_OF_AREA, (method, level)


def test_the_choice_leaves_out_what_does_not_reach_the_answer():
    """A ViT's last patches have no gradient where the class token alone is pooled: no map of zeros is a candidate."""
    network = trained("test_vit", num_steps=STEPS["test_vit"])
    found = {(candidate.method, candidate.level) for candidate in choose(samples(network, 1)).candidates}
    assert ("grad_cam", "blocks.4") in found and not {key for key in found if key[1] in {FINAL, "blocks.5"}}


def test_random_weights_change_the_map(network):
    """Adebayo et al. 2018. Random networks: some speak for the square, some against it, none as the trained one."""
    name = "test_vit" if hasattr(network.backbone, "num_prefix_tokens") else "test_resnet"
    level = "blocks.4" if name == "test_vit" else "layer3"
    others = [untrained(name, seed=seed) for seed in range(1, 9)]

    def map_of(of: FusionNet, sample: Sample) -> np.ndarray:
        return map_by(of, sample.square_HWC, NOTHING_M, YES, method="grad_cam", level=level)

    pairs = [(map_of(network, sample), map_of(other, sample)) for sample in samples(network, 2) for other in others]
    correlation = mean_correlation(pairs)
    assert correlation is not None and abs(correlation) < 0.5
    assert mean_correlation([(pair[0], pair[0]) for pair in pairs]) == pytest.approx(1)


def test_class_activation_is_what_grad_cam_at_the_last_level_becomes():
    """Selvaraju et al. 2017, appendix A: for a mean pooling and a linear layer the two differ by a factor alone (and
    here the bias); and the mean over the places is the picture's logit."""
    network = trained("test_resnet", num_steps=STEPS["test_resnet"])
    [sample] = samples(network, 1)
    given = (network, sample.square_HWC, NOTHING_M)
    by_gradient = gradient_maps(*given, level_named(network, FINAL), YES)["grad_cam"]
    free = cam(*given, YES)
    bias = float(network.head.bias.detach())
    np.testing.assert_allclose(free, by_gradient * by_gradient.size + bias, rtol=1e-3, atol=1e-3)
    assert free.mean() == pytest.approx(predicted_logits(network, sample.square_HWC[None], NOTHING_M).item(), abs=1e-3)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])  # the latter's last convolution is in its head
def test_class_activation_of_several_classes_is_grad_cam_too_but_for_an_offset(name):
    """The log-odds of one class among several bend with the others' logits: their slope at the picture counts."""
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = create_network(name, {}, preprocess, num_metadata=0, num_outputs=3, seed=0).eval()
    with torch.no_grad():
        network.head.weight *= 100  # far from equal probabilities
    given = (network, draw(0, is_positive=True)[0], NOTHING_M)
    for label in ("a", "b", "c"):
        explained = named_class(Target("multiclass", ("a", "b", "c")), label)
        by_gradient = gradient_maps(*given, level_named(network, FINAL), explained)["grad_cam"] * 4
        free = cam(*given, explained)
        np.testing.assert_allclose(free - free.mean(), by_gradient - by_gradient.mean(), rtol=1e-2, atol=1e-4)
        assert np.ptp(free) > 0.01


def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(network):
    """Completeness, Sundararajan et al. 2017, proposition 1; with 256 steps to some percent."""
    [sample] = samples(network, 1)
    square_HWC = sample.square_HWC
    values_HW = integrated_gradients(network, square_HWC, NOTHING_M, YES, num_steps=256)
    with torch.no_grad():
        grey_1C11 = torch.from_numpy(square_HWC).float().permute(2, 0, 1)[None].mean(dim=(2, 3), keepdim=True)
        start = float(network(grey_1C11.expand(1, 3, SIDE, SIDE), torch.zeros(1, 0)))
    change = predicted_logits(network, square_HWC[None], NOTHING_M).item() - start
    assert values_HW.shape == (SIDE, SIDE)
    assert values_HW.sum() == pytest.approx(change, rel=0.15)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet", "test_byobnet"])
def test_networks_of_every_kind_have_maps_and_the_same_logits(name):
    """CNNs, a transformer, a head with a norm in it: all by shape, without a line for any of them."""
    network = untrained(name, seed=1)
    images_NCHW = torch.from_numpy(np.stack([draw(seed, is_positive=True)[0] for seed in range(2)])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        logits_NK, features_ND, places_NKhw = with_place_logits(network, images_NCHW, torch.zeros(2, 0))
        expected_NK, expected_ND = network.outputs(images_NCHW, torch.zeros(2, 0))
    torch.testing.assert_close(logits_NK, expected_NK)
    torch.testing.assert_close(features_ND, expected_ND)
    assert places_NKhw.shape[:2] == (2, 1) and places_NKhw.shape[2] == places_NKhw.shape[3] > 1
    record = choose(samples(network, 1))
    assert {candidate.method for candidate in record.candidates} >= {*FAMILY, "occlusion"} - {"hires_cam"}
    square_HWC = draw(0, is_positive=True)[0]
    before = predicted_logits(network, square_HWC[None], NOTHING_M)
    for method in METHODS:
        level = record.level or level_named(network, FINAL).name
        assert np.isfinite(map_by(network, square_HWC, NOTHING_M, YES, method=method, level=level)).all()
    np.testing.assert_array_equal(predicted_logits(network, square_HWC[None], NOTHING_M), before)  # no hook is left


class Rolled(nn.Module):
    """Sees brightness at its first level, and mixes up the places at its second, as deep layers may."""

    num_features = 2
    feature_info = (
        {"module": "early", "num_chs": 2, "reduction": 8},
        {"module": "rolled", "num_chs": 2, "reduction": 8},
    )

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Conv2d(3, 2, 8, 8)
        nn.init.constant_(self.early.weight, 0.05)
        nn.init.constant_(self.early.bias, 0.0)
        self.rolled = Roll()

    def forward_features(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.rolled(self.early(images_NCHW).relu())

    def forward_head(self, last_NCHW: torch.Tensor) -> torch.Tensor:
        return last_NCHW.mean(dim=(2, 3))

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(images_NCHW))


class Roll(nn.Module):
    def forward(self, grid_NCHW: torch.Tensor) -> torch.Tensor:
        return grid_NCHW.roll((4, 4), dims=(2, 3))


def test_a_wrong_level_is_worse_and_is_not_chosen():
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = FusionNet(Rolled(), preprocess, num_features=2, num_metadata=0, num_outputs=1).eval()
    nn.init.constant_(network.head.weight, 2.0)
    nn.init.constant_(network.head.bias, -6.0)
    record = choose(samples(network))
    assert record.level == "early"
    assert record.without_gradient == "occlusion"  # class activation shows the rolled places too
    wrong = next(candidate for candidate in record.candidates if candidate.method == "cam")
    assert record.insertion > wrong.insertion + 0.05
    assert wrong.gain < record.chance.gain < record.insertion - record.deletion


def test_class_activation_is_taken_unless_another_map_is_surely_better():
    """Then torch and a graph draw the same map. Grad-CAM at the last level, which is no other, is not judged again."""
    record = choose(samples(trained("test_resnet", num_steps=STEPS["test_resnet"]), 6))
    assert (record.method, record.without_gradient, record.agreement) == ("cam", "cam", pytest.approx(1))
    assert not [one for one in record.candidates if (one.method, one.level) == ("grad_cam", FINAL)]


def test_a_vits_graph_draws_what_agrees_with_the_chosen_map():
    """Class activation of a ViT, whose class token is pooled, shows nothing; occlusion does."""
    record = choose(samples(trained("test_vit", num_steps=STEPS["test_vit"])))
    assert record.method in FAMILY and record.without_gradient == "occlusion" and record.agreement > 0.5


def test_random_weights_are_compared_on_the_same_picture_and_on_others():
    network = trained("test_resnet", num_steps=STEPS["test_resnet"])
    chosen = samples(network, 4)
    record = choose(chosen)
    same, other = randomised(record, chosen, [untrained("test_resnet", seed=seed) for seed in (1, 2)])
    assert 0 <= same < 0.9 and 0 <= other < 0.9
    itself, _ = randomised(record, chosen, [network])
    assert itself == pytest.approx(1)


def test_a_network_that_learnt_nothing_gets_no_map_that_is_clearly_better_than_chance():
    record = choose(samples(untrained("test_resnet", seed=1), 4))
    assert record.gain_error is not None and "no map was clearly better" in record.warning


def test_likeness_by_hand():
    """Of two maps each is itself again, and as alike to the other as their rank correlation says, without its sign."""
    rising_hw = np.arange(196, dtype=np.float32).reshape(14, 14)
    turned_hw = np.roll(rising_hw, 7, axis=0)  # halves change places
    correlation = rank_correlation(rising_hw, turned_hw)
    assert correlation == pytest.approx(-0.5, abs=0.01)
    assert likeness([rising_hw, turned_hw], [[rising_hw, turned_hw]]) == (pytest.approx(1), pytest.approx(-correlation))
    assert likeness([rising_hw], [[-rising_hw]]) == (pytest.approx(1), None)
    assert likeness([rising_hw], [[np.ones((3, 3), np.float32)]]) == (None, None)


def test_a_job_without_time_still_chooses_something():
    network = untrained("test_resnet", seed=1)
    record = choose(samples(network), is_over=lambda: True)
    assert record.num_pictures >= 1 and len(record.candidates) == 1


def test_a_network_without_levels_or_grid_is_explained_by_occlusion():
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
            return self.layer(images_NCHW.mean(dim=(2, 3)))

    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = FusionNet(Flat(), preprocess, num_features=2, num_metadata=0, num_outputs=1).eval()
    record = choose(samples(network))
    assert (record.method, record.without_gradient, record.level) == ("occlusion", "occlusion", "")


def test_metadata_stays_as_it_is_at_every_place():
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    network = create_network("test_resnet", {}, preprocess, num_metadata=3, num_outputs=1, seed=0).eval()
    square_HWC = draw(0, is_positive=True)[0]
    young, old = (cam(network, square_HWC, np.full(3, value, np.float32), YES) for value in (-1.0, 1.0))
    np.testing.assert_allclose(old - young, (old - young)[0, 0], atol=1e-5)
    assert abs((old - young)[0, 0]) > 1e-4


@pytest.mark.parametrize(
    ("shape", "channels", "prefix"), [((2, 5, 3, 4), 5, 0), ((2, 3, 4, 5), 5, 0), ((2, 10, 5), 5, 1), ((2, 9, 5), 5, 0)]
)
def test_activations_of_every_layout_become_one(shape, channels, prefix):
    grid_NChw = as_grid(torch.arange(np.prod(shape)).reshape(shape), channels, prefix)
    assert grid_NChw.shape[:2] == (2, 5) and grid_NChw.shape[2] * grid_NChw.shape[3] in {9, 12}


def test_tokens_keep_their_places():
    tokens_NTC = torch.tensor([[[-1.0], [0.0], [1.0], [2.0], [3.0]]])
    assert as_grid(tokens_NTC, 1, 1).tolist() == [[[[0, 1], [2, 3]]]]


@pytest.mark.parametrize("shape", [(2, 7), (2, 8, 5), (2, 4, 4, 4), (2, 3, 6)])
def test_what_is_no_grid_is_refused(shape):
    with pytest.raises(ValueError, match="no grid of 5 channels"):
        as_grid(torch.zeros(shape), 5)


def test_rank_correlation_of_maps_that_say_the_same_is_one():
    values_hw = np.random.default_rng(0).random((14, 14)).astype(np.float32)
    assert rank_correlation(values_hw, np.exp(values_hw)) == pytest.approx(1)
    assert rank_correlation(values_hw, -values_hw) == pytest.approx(-1)
    assert rank_correlation(values_hw, np.ones((3, 3), np.float32)) is None


def test_a_level_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="no level 'layer9'"):
        level_named(SimpleNamespace(backbone=untrained("test_resnet", seed=0).backbone), "layer9")
