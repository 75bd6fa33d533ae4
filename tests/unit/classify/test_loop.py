"""Loop: one epoch is what ten plain lines do, and predictions stand where their rows do."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lesion.algorithms.classify.training.loop import Mixing, StepSettings, predict, train_one_epoch
from lesion.data.loader import Batch
from lesion.data.transforms import Preprocess
from lesion.engine.optim import Schedule
from lesion.engine.training import EarlyStopping, EpochSums, Training
from lesion.errors import UserError
from lesion.models.fusion import FusionNet, create_network
from lesion.targets import Target

CPU = torch.device("cpu")
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)
plain_loss = partial(Target("binary", ("no", "yes")).loss, weights_K=np.ones(1, np.float32))
PLAIN = StepSettings(plain_loss, CPU)


def network_of(seed: int = 0) -> FusionNet:
    return create_network("test_resnet", {}, PREPROCESS, num_metadata=2, num_outputs=1, seed=seed)


def batches_of(*sizes: int, seed: int = 0) -> list[Batch]:
    """Bright pictures are 1 and dark ones 0, with noise on both."""
    rng = np.random.default_rng(seed)
    batches, start = [], 0
    for size in sizes:
        targets_NK = rng.integers(0, 2, (size, 1)).astype(np.float32)
        noise = rng.integers(0, 100, (size, 3, 32, 32)).transpose(0, 2, 3, 1)
        images_NHWC = np.ascontiguousarray(noise + 150 * targets_NK[:, :, None, None], dtype=np.uint8)
        metadata_NM = rng.random((size, 2), np.float32)
        batches.append(Batch(np.arange(start, start + size), images_NHWC, metadata_NM, targets_NK))
        start += size
    return batches


def training_of(network: nn.Module, optimizer: torch.optim.Optimizer | None = None, *, rate: float = 3e-3) -> Training:
    optimizer = torch.optim.Adam(network.parameters(), lr=rate) if optimizer is None else optimizer
    schedule = Schedule(
        optimizer, kind="plateau", num_epochs=25, warmup_epochs=0, better="higher", factor=0.4, patience=9
    )
    return Training(network, optimizer, schedule, EarlyStopping("higher", 9))


def epoch_of(training: Training, batches: list[Batch], settings: StepSettings, **options: object) -> float:
    loss = train_one_epoch(training, batches, settings, num_steps=len(batches), **options)
    training.sums = EpochSums()
    return loss


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_an_epoch_is_the_ten_line_loop_step_by_step():
    """Plain gradient descent, so that every weight can be followed; loss and mean by hand, the last batch ragged."""
    batches = batches_of(6, 6, 3)
    ours, plain = network_of().eval(), network_of().train()  # an epoch follows one of prediction
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.05)

    def stepped():
        """Hands out a batch once what the last one did has been compared with the plain loop's step."""
        for step, batch in enumerate(batches):
            yield batch
            torch.manual_seed(int(np.random.SeedSequence([7, step, 0, 1]).generate_state(1)[0]))  # dropout
            logits_NK = plain(
                torch.from_numpy(batch.images_NHWC).permute(0, 3, 1, 2), torch.from_numpy(batch.metadata_NM)
            )
            targets_NK = torch.from_numpy(batch.targets_NK)
            loss_NK = -(targets_NK * F.logsigmoid(logits_NK) + (1 - targets_NK) * F.logsigmoid(-logits_NK))
            weights = list(plain.parameters())
            for weight, grad in zip(weights, torch.autograd.grad(loss_NK.mean(), weights), strict=True):
                weight.data -= 0.05 * grad
            losses.extend(loss_NK[:, 0].tolist())
            torch.testing.assert_close(ours.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-5)

    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        mean = train_one_epoch(training_of(ours, optimizer), stepped(), PLAIN, num_steps=3, key=(7,))
    assert len(losses) == 15 and mean == pytest.approx(np.mean(losses), rel=1e-5)  # of samples, not of batches


def test_a_dozen_pictures_are_learnt_by_heart():
    batches = batches_of(6, 6)
    network = network_of()
    training = training_of(network)
    with torch.random.fork_rng(devices=[]):
        losses = [epoch_of(training, batches, PLAIN, key=(epoch,)) for epoch in range(25)]
    index_S, logits_VSK = predict(network, batches, CPU, num_views=1)
    target_S = np.concatenate([batch.targets_NK[:, 0] for batch in batches])
    assert losses[-1] < 0.1 < losses[0]
    np.testing.assert_array_equal(logits_VSK[0, :, 0].numpy() > 0, target_S[index_S] == 1)


def test_a_loss_that_is_no_number_is_told():
    network = network_of()
    with torch.no_grad():
        network.head.weight.fill_(torch.inf)
    with pytest.raises(UserError, match=r"training loss became (nan|inf).*lower learning_rate") as caught:
        epoch_of(training_of(network), batches_of(4), PLAIN)
    assert caught.value.kind == "diverged"


class Scores(nn.Module):
    """One linear layer on the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(3 * 32 * 32, 1)

    def forward(self, images_NCHW: torch.Tensor, metadata_NM: torch.Tensor) -> torch.Tensor:
        return self.scores(images_NCHW.float().flatten(1) / 255) + 0 * metadata_NM.sum(dim=1, keepdim=True)


def stepped_weights(settings: StepSettings, *, rate: float = 0.05) -> dict[str, torch.Tensor]:
    """A network without dropout or BatchNorm after an epoch of plain gradient descent."""
    torch.manual_seed(0)
    network = Scores()
    epoch_of(training_of(network, torch.optim.SGD(network.parameters(), lr=rate)), batches_of(6, 6, 5), settings)
    return weights_of(network)


@pytest.mark.parametrize("num_micro_batches", [2, 3])
def test_a_batch_in_parts_steps_as_the_whole_does(num_micro_batches):
    with torch.random.fork_rng(devices=[]):
        whole, parts = (
            stepped_weights(PLAIN),
            stepped_weights(StepSettings(plain_loss, CPU, num_micro_batches=num_micro_batches)),
        )
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)


def test_no_step_is_longer_than_the_clipped_gradient_allows():
    with torch.random.fork_rng(devices=[]):
        start, end = (
            stepped_weights(PLAIN, rate=0.0),
            stepped_weights(StepSettings(plain_loss, CPU, clip_norm=0.1), rate=1.0),
        )
    length = torch.cat([(end[name] - start[name]).flatten() for name in start]).norm().item()
    assert 0.1 < length <= 0.3 + 1e-6  # three steps of 0.1 that hardly turn


def test_bf16_steps_as_fp32_does_up_to_its_rounding():
    """bfloat16 keeps 8 bits: products are off by 0.4 %. Weights stay float32."""
    with torch.random.fork_rng(devices=[]):
        full, half = stepped_weights(PLAIN), stepped_weights(StepSettings(plain_loss, CPU, precision="bf16"))
    assert all(tensor.dtype == torch.float32 for tensor in half.values())
    assert any(not torch.equal(half[name], full[name]) for name in full)
    torch.testing.assert_close(half, full, rtol=0.05, atol=5e-4)


def test_an_epoch_that_goes_on_in_its_middle_goes_on_alike():
    """Dropout, mixing and the rising rate follow from the step's number and not from how the steps before were done."""
    settings = StepSettings(plain_loss, CPU, mixing=Mixing(mixup=0.4, cutmix=1.0))
    batches = batches_of(6, 6, 6)
    with torch.random.fork_rng(devices=[]):
        first = network_of()
        whole = training_of(first, torch.optim.SGD(first.parameters(), lr=0.1))
        train_one_epoch(whole, batches, settings, num_steps=3, key=(1, 2))
        network = network_of()
        broken = training_of(network, torch.optim.SGD(network.parameters(), lr=0.1))
        train_one_epoch(broken, batches[:1], settings, num_steps=3, key=(1, 2))
        torch.rand(5)
        train_one_epoch(broken, batches[1:], settings, num_steps=3, key=(1, 2))
    assert broken.sums.num_samples == whole.sums.num_samples == 18
    assert all(torch.equal(value, whole.network.state_dict()[name]) for name, value in network.state_dict().items())


def test_predictions_come_in_the_batches_order_with_a_row_a_view():
    class Brightness(nn.Module):
        """Answers with the first pixel, so that every row and every view has its own."""

        def forward(self, images_NCHW: torch.Tensor, metadata_NM: torch.Tensor) -> torch.Tensor:
            return images_NCHW[:, :1, 0, 0].float() + 1000 * metadata_NM[:, :1]

    corners = np.array([[10, 20], [30, 40]], np.uint8)
    rows = [np.array([4, 0, 2]), np.array([3]), np.array([1, 5])]
    batches = [
        Batch(
            index_N,
            np.stack([np.broadcast_to((corners + index)[:, :, None], (2, 2, 3)) for index in index_N]).astype(np.uint8),
            index_N[:, None].astype(np.float32),
            np.zeros((len(index_N), 1), np.float32),
        )
        for index_N in rows
    ]
    index_S, logits_VSK = predict(Brightness(), batches, CPU, num_views=3)
    assert index_S.tolist() == [4, 0, 2, 3, 1, 5]
    assert logits_VSK.shape == (3, 6, 1) and logits_VSK.dtype == torch.float32
    for number, corner in enumerate([10, 20, 30]):  # as it is, left and right swapped, up and down swapped
        np.testing.assert_array_equal(logits_VSK[number, :, 0].numpy(), corner + index_S + 1000 * index_S)


def test_predicting_changes_no_weight_and_no_statistic():
    network = network_of()
    before = weights_of(network)
    predict(network, batches_of(5, 2), CPU, num_views=2)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_rows_prediction_does_not_depend_on_its_batch():
    network = network_of()
    (whole,) = batches_of(7)
    parts = [
        Batch(whole.index_N[part], whole.images_NHWC[part], whole.metadata_NM[part], whole.targets_NK[part])
        for part in (slice(0, 4), slice(4, 7))
    ]
    torch.testing.assert_close(
        predict(network, [whole], CPU, num_views=1)[1], predict(network, parts, CPU, num_views=1)[1]
    )


def test_every_batch_is_handed_on_once_it_is_done():
    """To whoever counts: a step's is counted in the sums by then, and a prediction's has its logits."""
    network, batches = network_of(), batches_of(6, 6, 3)
    training, seen = training_of(network), []
    with torch.random.fork_rng(devices=[]):
        train_one_epoch(
            training,
            batches,
            PLAIN,
            num_steps=3,
            after_step=lambda batch: seen.append((len(batch.index_N), training.sums.num_samples)),
        )
    assert seen == [(6, 6), (6, 12), (3, 15)]
    predicted: list[Batch] = []
    predict(network, batches, CPU, num_views=1, after_batch=predicted.append)
    assert predicted == batches
