"""The progressive GAN's parts: shapes, growth, masks, losses, errors, rollback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.gan.cost import StageCost, refuse_too_large, stage_costs
from lesion.algorithms.anomaly.gan.errors import SHRINKAGE, ErrorMoments
from lesion.algorithms.anomaly.gan.growth import Stage, batches_of, stages_of
from lesion.algorithms.anomaly.gan.learner import GanLearner, error_rows
from lesion.algorithms.anomaly.gan.losses import discriminator_loss, encoder_loss, generator_loss
from lesion.algorithms.anomaly.gan.masking import HIDDEN, draw_sources, masked
from lesion.algorithms.anomaly.gan.networks import Discriminator, Encoder, Generator, filters_of
from lesion.algorithms.anomaly.gan.rollback import MOST_ROLLBACKS, Rollback
from lesion.algorithms.anomaly.gan.scorer import GanScorer
from lesion.algorithms.anomaly.gan.training import GanTraining, as_input, pictures_at
from lesion.algorithms.anomaly.learner import preprocess_of
from lesion.algorithms.anomaly.threshold import NormalCurve, Places, Threshold, Thresholds, score_of
from lesion.data.cache import Cache
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.distributed import JobProcesses
from lesion.engine.run import Run
from lesion.errors import UserError
from lesion.sagemaker import read_job
from lesion.stop import Stop

CPU = torch.device("cpu")
SMALL = filters_of(32, 128)  # four filters in each of four blocks


def tiles(num: int, side_px: int = 32, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num, side_px, side_px, 3), dtype=torch.uint8, generator=generator)


def training(*, pictures: int = 16, seed: int = 0) -> GanTraining:
    return GanTraining(SMALL, pictures=pictures, learning_rate=1e-3, reconstruction_weight=100.0, seed=seed, device=CPU)


def seeded(module: type[torch.nn.Module], filters: tuple[int, ...] = SMALL, *, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return module(filters)


def test_filters_are_the_published_ones_divided():
    assert filters_of(1024, 1) == (512, 512, 512, 512, 256, 128, 64, 32, 16)
    assert filters_of(64, 16) == (32, 32, 32, 32, 16)
    assert filters_of(1024, 32) == (16, 16, 16, 16, 8, 4, 4, 4, 4)


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_every_block_reconstructs_at_its_own_side(block, alpha):
    images_NCHW = torch.randn(2, 3, 4 << block, 4 << block)
    made_NCHW, latents_NL = seeded(Generator)(images_NCHW, block, alpha)
    assert made_NCHW.shape == images_NCHW.shape and latents_NL.shape == (2, 4, 1, 1)
    assert seeded(Encoder)(images_NCHW, block, alpha)[0].shape == (2, 4, 1, 1)
    assert seeded(Discriminator)(images_NCHW, block, alpha).shape == (2,)
    assert latents_NL.square().mean(dim=1).flatten().tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_the_weights_of_each_block_have_the_published_shapes():
    """Golden shapes of a decoder for 16 px with 8, 8 and 4 filters: a block above the first takes what comes from
    below and the skip of its own side."""
    shapes = {
        name: tuple(one.shape) for name, one in Generator((8, 8, 4)).decoder.state_dict().items() if one.dim() > 1
    }
    assert shapes == {
        "start.0.weight": (8, 8, 4, 4),
        "start_second.0.weight": (8, 8, 3, 3),
        **{"first.0.0.weight": (8, 16, 3, 3), "first.1.0.weight": (4, 12, 3, 3)},
        **{"second.0.0.weight": (8, 8, 3, 3), "second.1.0.weight": (4, 4, 3, 3)},
        **{"to_rgb.0.weight": (3, 8, 1, 1), "to_rgb.1.weight": (3, 8, 1, 1), "to_rgb.2.weight": (3, 4, 1, 1)},
    }


def test_a_block_that_has_not_faded_in_changes_nothing_and_one_that_has_is_all():
    generator, images_NCHW = seeded(Generator), torch.randn(2, 3, 16, 16)
    half_NCHW = torch.nn.functional.avg_pool2d(images_NCHW, 2)
    before = torch.nn.functional.interpolate(generator(half_NCHW, 1)[0], scale_factor=2.0)
    assert torch.allclose(generator(images_NCHW, 2, 0.0)[0], before, atol=1e-6)
    assert not torch.allclose(generator(images_NCHW, 2, 1.0)[0], before, atol=1e-2)


def test_a_tile_has_the_same_distances_in_any_batch():
    scorer = GanScorer(seeded(Generator), SMALL, smoothing_px=3).eval()
    alone = scorer(tiles(1, seed=7))[0]
    for neighbours in (tiles(3, seed=8), torch.zeros(5, 32, 32, 3, dtype=torch.uint8)):
        among = scorer(torch.cat([neighbours, tiles(1, seed=7)]))[-1]
        assert torch.allclose(alone, among, rtol=1e-4, atol=1e-5)
    discriminator = seeded(Discriminator)  # it alone compares them
    first, second = (
        discriminator(pictures_at(torch.cat([tiles(1, seed=7), others]), 32, 1.0), 3, 1.0)[0]
        for others in (tiles(3, seed=8), tiles(1, seed=7).repeat(3, 1, 1, 1))
    )
    assert abs(float(first - second)) > 1e-5


def test_an_in_painted_pixel_does_not_know_itself():
    """Another colour in a cell changes the error of that cell by as much, and what is made of it not at all."""
    scorer = GanScorer(seeded(Generator), SMALL, smoothing_px=1, cell_px=8)
    before_NHWC, after_NHWC = tiles(1), tiles(1)
    after_NHWC[0, 8:16, 16:24] = 255 - before_NHWC[0, 8:16, 16:24]
    before, after = scorer.errors(before_NHWC)[0], scorer.errors(after_NHWC)[0]
    changed = (after_NHWC.float() - before_NHWC.float())[0] / 127.5
    assert torch.allclose((after - before)[8:16, 16:24], changed[8:16, 16:24], atol=1e-5)
    assert not torch.allclose(after[8:16, 8:16], before[8:16, 8:16], atol=1e-5)  # its neighbours are made of it


def test_features_are_what_the_generators_encoder_hands_to_its_decoder_at_the_full_side():
    generator = seeded(Generator)
    images_NCHW = as_input(tiles(2))
    _, skips = generator.encoder(images_NCHW, len(SMALL) - 1, 1.0)
    assert torch.equal(generator.encoder.down.features(images_NCHW), skips[-1])


def test_compared_by_features_an_image_that_is_its_own_reconstruction_has_no_error():
    scorer = GanScorer(seeded(Generator), SMALL, smoothing_px=1, compare="features")
    assert scorer.errors(tiles(1)).shape[-1] == SMALL[-1] and scorer.errors(tiles(1)).max() > 0
    scorer.reconstruction = lambda images_NCHW: images_NCHW
    assert scorer.errors(tiles(1)).abs().max() == 0


def test_stages_are_counted_in_pictures():
    stages = stages_of(5)
    assert [str(stage) for stage in stages[:3]] == ["4 px stabilisation", "8 px fade-in", "8 px stabilisation"]
    assert len(stages) == 9 and stages[-1] == Stage(4, False)
    assert [Stage(block, False).batch_size for block in range(9)] == [32, 32, 32, 32, 32, 16, 8, 4, 4]
    rows_S = np.arange(100, 107)
    for number, stage in enumerate(stages):
        batches = batches_of(stage, number, rows_S, pictures=150, seed=0)
        assert sum(map(len, batches)) == 150 and max(map(len, batches)) - min(map(len, batches)) <= 1
        counts = np.bincount(np.concatenate(batches))[100:]
        assert counts.max() - counts.min() <= 1
    assert Stage(2, True).alpha(75, 150) == 0.5 and Stage(2, False).alpha(0, 150) == 1.0


def test_a_fade_in_ends_at_the_asked_number_of_pictures_not_of_steps():
    """After the half of a stage's pictures, in D and G steps together, a block counts for a half."""
    one = training(pictures=16)
    one.stage = 1
    one.learn(Stage(1, True), tiles(8, 8))
    assert one.num_pictures == 8 and Stage(1, True).alpha(one.num_pictures, 16) == 0.5


def test_a_fifth_of_the_pixels_is_masked_in_blocks():
    side = 64
    for seed in range(3):
        source_HW = draw_sources(side, np.random.default_rng(seed))
        moved_HW = source_HW != np.arange(side**2).reshape(side, side)
        assert 0.12 < moved_HW.mean() <= 0.2  # blocks may overlap, and a shuffle may leave a pixel
        hidden_HW = source_HW == HIDDEN
        assert 0.01 < hidden_HW.mean() < moved_HW.mean()
        assert (hidden_HW[:, 1:] & hidden_HW[:, :-1]).sum() > 0.5 * hidden_HW.sum()  # blocks, not dust


def test_masked_pixels_come_from_their_block_or_are_minus_one():
    images_NCHW = torch.rand(1, 3, 2, 2)
    source_NHW = np.array([[[1, 0], [2, HIDDEN]]])
    found = masked(images_NCHW, source_NHW)
    assert torch.equal(found[0, :, 0, 0], images_NCHW[0, :, 0, 1]) and (found[0, :, 1, 1] == -1).all()
    assert torch.equal(found[0, :, 1, 0], images_NCHW[0, :, 1, 0])


def test_losses_are_the_published_sums():
    real_NCHW, fake_NCHW = torch.ones(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)

    def judge(pictures_NCHW: Tensor) -> Tensor:
        return 3 * pictures_NCHW.flatten(1).sum(dim=1)  # the gradient's length is 3 · 2 anywhere

    found = discriminator_loss(judge, real_NCHW, fake_NCHW, torch.tensor([0.2, 0.7]))
    assert float(found) == pytest.approx(0 - 12 + 10 * (6 - 1) ** 2 + 1e-3 * 144, rel=1e-5)
    assert float(generator_loss(judge, real_NCHW, fake_NCHW + 0.5, weight=100)) == pytest.approx(25 - 6)


def test_the_encoders_loss_reaches_the_encoder_alone():
    generator, encoder, images_NCHW = seeded(Generator), seeded(Encoder, seed=1), torch.randn(2, 3, 8, 8)
    fake_NCHW, latents_NL = generator(images_NCHW, 1)
    encoder_loss(lambda pictures: encoder(pictures, 1, 1.0)[0], latents_NL, fake_NCHW).backward()
    assert all(parameter.grad is None for parameter in generator.parameters())
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_merged_moments_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    parts = [rng.normal(1000.0, 0.01, (num, 3)) @ rng.normal(size=(3, 3)) for num in (5, 1, 400)]
    moments = [ErrorMoments.of(torch.from_numpy(part)) for part in parts]
    together = moments[0].merged(moments[1]).merged(ErrorMoments.from_row(moments[2].as_row(), 3))
    everything = np.concatenate(parts)
    assert together.num == 406 and together.mean_C.numpy() == pytest.approx(everything.mean(axis=0), rel=1e-12)
    covariance_CC = np.cov(everything.T)
    assert (together.scatter_CC / 405).numpy() == pytest.approx(covariance_CC, rel=1e-9)
    whitening_CC = together.whitening().numpy()
    shrunk_CC = (1 - SHRINKAGE) * covariance_CC + SHRINKAGE * np.trace(covariance_CC) / 3 * np.eye(3)
    assert whitening_CC.T @ whitening_CC == pytest.approx(np.linalg.inv(shrunk_CC), rel=1e-9)


def test_channels_that_are_copies_have_a_distance_all_the_same():
    errors_nC = torch.rand(50, 1).expand(50, 3)
    assert ErrorMoments.of(errors_nC).whitening().isfinite().all()
    assert ErrorMoments.of(torch.zeros(50, 3)).whitening().isfinite().all()


def test_sigma_is_k_times_the_root_of_the_variance():
    distance_SP = np.random.default_rng(0).gamma(1.0, 5.0, (20, 30))
    scale = 4.0
    curve = NormalCurve.of(score_of(distance_SP.max(axis=1), scale), Places.of(distance_SP, scale))
    thresholds = Thresholds(Threshold("specificity=0.95", 0.5), curve, None)
    wanted = distance_SP.mean() + 3 * distance_SP.std()
    assert thresholds.of("sigma=3").score == pytest.approx(score_of(np.array(wanted), scale))
    assert thresholds.of("Sigma = 3").spec == "sigma=3"
    older = Thresholds(Threshold("specificity=0.95", 0.5), NormalCurve.of(score_of(distance_SP[:, 0], scale)), None)
    with pytest.raises(UserError, match="artifact of a newer version"):
        older.of("sigma=3")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_sends_training_back_to_the_last_good_state(tmp_path: Path, value):
    one, stage = training(), Stage(0, False)
    checkpoints = Checkpoints(tmp_path, {}, Stop(), interval_s=1000)
    rollback = Rollback(one, checkpoints)
    assert rollback.after_step(one.learn(stage, tiles(4)), is_due=True)
    good = one.state().copied()
    assert rollback.after_step(one.learn(stage, tiles(4)), is_due=False)
    with torch.no_grad():
        next(one.discriminator.down.from_rgb[0].parameters()).fill_(value)
    assert not rollback.after_step(one.learn(stage, tiles(4)), is_due=False)
    now = one.state()
    assert one.num_rollbacks == 1 and one.step == 1
    assert all(torch.equal(now.tensors[name], tensor) for name, tensor in good.tensors.items())
    assert rollback.after_step(one.learn(stage, tiles(4)), is_due=True)  # and it goes on


def test_a_weight_that_no_loss_shows_is_found_before_the_state_is_called_good(tmp_path: Path):
    one = training()
    rollback = Rollback(one, Checkpoints(tmp_path, {}, Stop(), interval_s=1000))
    losses = one.learn(Stage(0, False), tiles(4))
    with torch.no_grad():
        next(one.average.parameters()).fill_(float("inf"))
    assert not rollback.after_step(losses, is_due=True)
    assert one.step == 0 and next(one.average.parameters()).isfinite().all()


def test_after_ten_rollbacks_the_job_ends_in_words(tmp_path: Path):
    one = training()
    rollback = Rollback(one, Checkpoints(tmp_path, {}, Stop(), interval_s=1000))
    for _ in range(MOST_ROLLBACKS):
        assert not rollback.after_step(torch.tensor([0.0, float("inf"), 0.0]), is_due=False)
    with pytest.raises(UserError, match="NaN or infinite 11 times"):
        rollback.after_step(torch.tensor([float("nan"), 0.0, 0.0]), is_due=False)


def test_a_restored_training_goes_on_bit_for_bit(tmp_path: Path):
    """Through a file, as after a kill; with a fade-in, an average and masks."""
    whole, broken = training(), training()
    stages = stages_of(4)
    for one in (whole, broken):
        one.learn(stages[0], tiles(4))
        one.next_stage()
    with Checkpoints(tmp_path, {}, Stop(), interval_s=1000) as checkpoints:
        checkpoints.save("gan", broken.state())
        loaded = checkpoints.load("gan")
    assert loaded is not None
    again = training(seed=0)
    again.restore(loaded)
    for one in (whole, again):
        for number in range(2):
            one.learn(stages[1], tiles(4, seed=number))
    wanted, found = whole.state(), again.state()
    assert wanted.values["step"] == found.values["step"] == 2
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())


def test_it_learns_to_reconstruct_normal_tiles_better_than_others():
    """Stripes of 8 px; tiles of coloured dots have larger errors."""
    filters, stages = filters_of(8, 32), stages_of(2)
    phase_N, x_W = torch.arange(8)[:, None, None, None], torch.arange(8)[None, None, :, None]
    stripes_NHWC = (128 + 100 * torch.sin(1.5 * x_W + phase_N)).expand(8, 8, 8, 3).to(torch.uint8)
    one = GanTraining(filters, pictures=320, learning_rate=2e-3, reconstruction_weight=100.0, seed=0, device=CPU)
    for stage in stages:
        for _ in range(25):
            one.learn(stage, stripes_NHWC)
        one.next_stage()
    scorer = GanScorer(one.average, filters, smoothing_px=1)
    of_stripes = float(scorer.errors(stripes_NHWC).mean())
    assert of_stripes < 0.35 and float(scorer.errors(tiles(8, 8)).mean()) > 1.5 * of_stripes


def test_rows_for_the_errors_are_whole_groups():
    group_S = np.repeat(np.array(["a", "b", "c", "d", "e"]), 10)
    is_error_S = error_rows(group_S, 0.2, seed=0)
    assert is_error_S.sum() == 10 and len(np.unique(group_S[is_error_S])) == 1
    for share in (0.01, 0.99):
        few = error_rows(group_S[:20], share, seed=1)
        assert few.sum() == 10  # of two groups each phase has one


@pytest.mark.parametrize(
    ("names", "precision", "message"),
    [(["a", "b"], "fp32", "by one process, and the job has 2"), (["a"], "bf16", "bf16 of scorer=gan needs a GPU")],
)
def test_several_processes_and_bf16_on_a_cpu_are_refused(tmp_path: Path, names, precision, message):
    config = AnomalyConfig.parse({"algorithm": "anomaly", "scorer": "gan", "image_size": 32, "precision": precision})
    job = read_job(tmp_path)
    cache = Cache(tmp_path, preprocess_of(config))
    run = Run(job, config, JobProcesses(names, 0, Stop()), cache, CPU, config.precision, 1)
    with pytest.raises(UserError, match=message):
        GanLearner(config).refuse(run)
    assert preprocess_of(config).mean == (0.5, 0.5, 0.5)


def test_costs_grow_with_side_and_filters_and_what_does_not_fit_is_refused():
    costs, larger = stage_costs(SMALL), stage_costs(filters_of(32, 32))
    assert len(costs) == 7
    assert costs[-1].operations > 2 * costs[2].operations and larger[-1].operations > 4 * costs[-1].operations
    assert larger[-1].num_bytes > 1.5 * costs[-1].num_bytes
    # Sixteen numbers for each pixel and filter at least: a step keeps more than its pictures
    assert costs[-1].num_bytes > 16 * 4 * 32 * 32 * 32
    refuse_too_large(costs, is_gpu=False)
    with pytest.raises(
        UserError, match=r"needs about 1024\.0 GiB in its stage 512 px fade-in.*Halve image_size"
    ) as told:
        refuse_too_large([*costs, StageCost(Stage(7, True), 2**40, 1.0)], is_gpu=False)
    assert told.value.kind == "memory"


def test_the_gan_has_a_side_of_its_own_unless_one_is_set():
    assert (
        AnomalyConfig.parse({"scorer": "gan"}).image_size == AnomalyConfig.parse({"scorer": '"gan"'}).image_size == 64
    )
    assert AnomalyConfig.parse({"scorer": "gan", "image_size": "128"}).image_size == 128
    assert AnomalyConfig.parse({}).image_size == AnomalyConfig.parse({"scorer": "memory"}).image_size == 224
