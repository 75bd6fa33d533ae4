"""Loop: one epoch of training, and prediction. Batches come in; sums over counts and logits go out. Knows no files."""

# N batch · C channels · H, W pixels · K outputs · M metadata features · S samples · V views

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from lesion.data.loader import Batch
from lesion.data.transforms import view
from lesion.engine.ranks import Ranks
from lesion.errors import UserError

ALONE = Ranks()
Loss = Callable[[Tensor, Tensor], Tensor]  # logits [N, K], targets [N, K] → one value a sample [N]


@dataclass
class EpochSums:
    """How far an epoch has come: steps, samples, and the sum of their losses, which stays on the device."""

    num_steps: int = 0
    num_samples: int = 0
    loss: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))


def train_one_epoch(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Loss,
    optimizer: Optimizer,
    device: torch.device,
    *,
    sums: EpochSums | None = None,
    ranks: Ranks = ALONE,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """One step a batch; the mean training loss per sample. Raises UserError when the loss is no longer a number.

    `sums` is what the epoch's earlier batches came to, if there were any, and is counted on; `after_step` may end the
    epoch by raising. Of several ranks each is given its slices of the batches.
    """
    network.train()
    sums = EpochSums() if sums is None else sums
    sums.loss = sums.loss.to(device)
    for batch in batches:
        images_NCHW, metadata_NM, targets_NK = to_device(batch, device)
        loss_N = loss(network(images_NCHW, metadata_NM), targets_NK)
        optimizer.zero_grad(set_to_none=True)
        num_samples = ranks.total(len(batch.index_N))
        (loss_N.sum() / num_samples).backward()  # type: ignore[no-untyped-call]
        loss_sum = ranks.sum_gradients(network.parameters(), loss_N.detach().sum())
        optimizer.step()
        sums.loss += loss_sum
        sums.num_samples += num_samples
        sums.num_steps += 1
        after_step()
    mean = float(sums.loss) / sums.num_samples
    if not math.isfinite(mean):
        raise UserError(f"the training loss became {mean}", do="Set a lower learning_rate.", kind="diverged")
    return mean


@torch.inference_mode()
def predict(
    network: nn.Module, batches: Iterable[Batch], device: torch.device, *, num_views: int
) -> tuple[NDArray[np.intp], Tensor]:
    """Where each sample stands in the table [S], and its logits [V, S, K], float32 on the CPU, in batch order."""
    network.eval()
    index_S, logits_VSK = [], []
    for batch in batches:
        images_NCHW, metadata_NM, _ = to_device(batch, device)
        logits_VSK.append(predict_views(network, images_NCHW, metadata_NM, num_views=num_views).cpu())
        index_S.append(batch.index_N)
    if not index_S:  # of few rows some ranks get none
        return np.zeros(0, dtype=np.intp), torch.zeros(num_views, 0, 0)
    return np.concatenate(index_S), torch.cat(logits_VSK, dim=1)


def predict_views(network: nn.Module, images_NCHW: Tensor, metadata_NM: Tensor, *, num_views: int) -> Tensor:
    """Logits [V, N, K] of the first `num_views` flips and turns of each picture. The network must be in eval mode."""
    logits = [network(view(images_NCHW, number), metadata_NM) for number in range(num_views)]
    return torch.stack(logits).float()


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (uint8, a quarter of the bytes of floats), features and targets on the device."""
    arrays = (batch.images_NCHW, batch.metadata_NM, batch.targets_NK)
    images_NCHW, metadata_NM, targets_NK = (torch.from_numpy(array).to(device) for array in arrays)
    return images_NCHW, metadata_NM, targets_NK
