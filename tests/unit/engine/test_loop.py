"""Loop: one epoch is what ten plain lines do, and predictions stand where their rows do."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lesion.data.loader import Batch
from lesion.data.transforms import Preprocess
from lesion.engine.loop import predict, train_one_epoch
from lesion.engine.optim import create_optimizer, create_scheduler, learning_rate
from lesion.errors import UserError
from lesion.models.fusion import FusionNet, create_network
from lesion.targets import Target

CPU = torch.device("cpu")
PREPROCESS = Preprocess(32, (0.5,) * 3, (0.5,) * 3)
plain_loss = partial(Target("binary", ("no", "yes")).loss, weights_K=np.ones(1, np.float32))


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
            torch.manual_seed(step)  # dropout
            yield batch
            torch.manual_seed(step)
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
        mean = train_one_epoch(ours, stepped(), plain_loss, optimizer, CPU)
    assert len(losses) == 15 and mean == pytest.approx(np.mean(losses), rel=1e-5)  # of samples, not of batches


def test_the_optimiser_is_adam_as_its_paper_writes_it():
    """Kingma & Ba 2015, algorithm 1, in float64 by hand."""
    weight = nn.Parameter(torch.tensor([0.5, -2.0], dtype=torch.float64))
    optimizer = create_optimizer([weight], learning_rate=0.1, weight_decay=0.0)
    theta, m, v = weight.detach().numpy().copy(), np.zeros(2), np.zeros(2)
    for t in range(1, 5):
        optimizer.zero_grad()
        (weight**3).sum().backward()
        optimizer.step()
        g = 3 * theta**2
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(weight.detach().numpy(), theta, rtol=1e-10)


def test_a_dozen_pictures_are_learnt_by_heart():
    batches = batches_of(6, 6)
    network = network_of()
    optimizer = create_optimizer(network.parameters(), learning_rate=3e-3, weight_decay=0.0)
    losses = [train_one_epoch(network, batches, plain_loss, optimizer, CPU) for _ in range(25)]
    index_S, logits_VSK = predict(network, batches, CPU, num_views=1)
    target_S = np.concatenate([batch.targets_NK[:, 0] for batch in batches])
    assert losses[-1] < 0.1 < losses[0]
    np.testing.assert_array_equal(logits_VSK[0, :, 0].numpy() > 0, target_S[index_S] == 1)


def test_a_loss_that_is_no_number_is_told():
    network = network_of()
    optimizer = create_optimizer(network.parameters(), learning_rate=1e-3, weight_decay=0.0)
    with torch.no_grad():
        network.head.weight.fill_(torch.inf)
    with pytest.raises(UserError, match=r"training loss became (nan|inf).*lower learning_rate") as caught:
        train_one_epoch(network, batches_of(4), plain_loss, optimizer, CPU)
    assert caught.value.kind == "diverged"


def test_weight_decay_pulls_weights_to_zero():
    """Without a gradient from the loss Adam's first step has the rate's size, against the sign of the weight."""
    layer = nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(2.0)
    optimizer = create_optimizer(layer.parameters(), learning_rate=0.1, weight_decay=0.5)
    (layer.weight * 0).sum().backward()
    optimizer.step()
    assert layer.weight.item() == pytest.approx(1.9)


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_rate_falls_after_more_than_patience_epochs_without_better(better):
    """Patience 1, factor 0.4: the second epoch in a row that is no better brings it down."""
    optimizer = create_optimizer([nn.Parameter(torch.zeros(1))], learning_rate=1.0, weight_decay=0.0)
    scheduler = create_scheduler(optimizer, better=better, factor=0.4, patience=1)
    rates = []
    for value in [0.5, 0.6, 0.6, 0.55, 0.61, 0.5, 0.5]:
        scheduler.step(value if better == "higher" else -value)
        rates.append(learning_rate(optimizer))
    assert rates == pytest.approx([1, 1, 1, 0.4, 0.4, 0.4, 0.16])


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
