"""Loop: one epoch of training, and prediction. Batches come in; sums over counts and logits go out. Knows no files.

Also mixup and CutMix, which blend the pictures of a batch before a step.
"""

# N batch · C channels · D features of a picture · H, W pixels · K outputs · M metadata features · S samples · V views

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesion.data.loader import Batch
from lesion.data.transforms import view
from lesion.engine.device import Precision, autocast
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.training import Training
from lesion.errors import UserError
from lesion.models.fusion import FusionNet

Loss = Callable[[Tensor, Tensor], Tensor]  # logits [N, K], targets [N, K] → one value a sample [N]


@dataclass(frozen=True)
class Mixing:
    """mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019): each the α of its Beta(α, α), 0 switches it off.

    With both on, a fair coin decides for each batch.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __call__(
        self, images_NCHW: Tensor, metadata_NM: Tensor, targets_NK: Tensor, stream: np.random.SeedSequence
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The batch, each sample mixed with a partner by one random share. mixup turns uint8 pixels into float32."""
        rng = np.random.default_rng(stream)
        is_cut = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        alpha = self.cutmix if is_cut else self.mixup
        if alpha == 0:
            return images_NCHW, metadata_NM, targets_NK
        own = float(rng.beta(alpha, alpha))
        partner_N = torch.from_numpy(rng.permutation(len(images_NCHW))).to(images_NCHW.device)
        if is_cut:
            images_NCHW, own = _paste(images_NCHW, partner_N, own, rng)
        else:
            images_NCHW = torch.lerp(images_NCHW[partner_N].float(), images_NCHW.float(), own)
        metadata_NM, targets_NK = (torch.lerp(rows[partner_N], rows, own) for rows in (metadata_NM, targets_NK))
        return images_NCHW, metadata_NM, targets_NK


@dataclass(frozen=True)
class StepSettings:
    """The settings of an optimiser step, and its data-parallel group.

    Each batch is computed in `num_micro_batches` (gradient accumulation); the gradient's L2 norm is clipped to
    `clip_norm`, 0 is off; `set_trainable` puts the network into training mode and freezes its frozen part.
    """

    loss: Loss
    device: torch.device
    precision: Precision = "fp32"
    num_micro_batches: int = 1
    clip_norm: float = 0.0
    mixing: Mixing = field(default_factory=Mixing)
    set_trainable: Callable[[nn.Module], object] = nn.Module.train
    data_parallel: DataParallelGroup = field(default_factory=DataParallelGroup)


def train_one_epoch(
    training: Training,
    batches: Iterable[Batch],
    settings: StepSettings,
    *,
    num_steps: int,
    key: tuple[int, ...] = (0,),
    after_step: Callable[[Batch], None] = lambda _: None,
) -> float:
    """One optimiser step a batch; returns the mean training loss per sample. Raises UserError when it is not finite.

    `training.sums` holds the sums over the epoch's earlier steps, if there were any; the epoch has `num_steps`. All
    randomness of a step (dropout, mixing) comes from (*key, its number), so a resumed epoch equals an unbroken
    one. `after_step` may end the epoch by raising. In a data-parallel group each process gets slices of the batches.
    """
    network, sums, device, data_parallel = training.network, training.sums, settings.device, settings.data_parallel
    settings.set_trainable(network)
    sums.loss = sums.loss.to(device)
    for batch in batches:
        number = sums.num_steps
        torch.manual_seed(_seed(*key, number, data_parallel.rank))
        training.schedule.before_step(len(training.history) + number / num_steps)
        stream = np.random.SeedSequence([*key, number, data_parallel.rank, 2])
        images_NCHW, metadata_NM, targets_NK = settings.mixing(*to_device(batch, device), stream)
        training.optimizer.zero_grad(set_to_none=True)
        num_samples, loss_sum = data_parallel.total(len(batch.index_N)), torch.zeros((), device=device)
        micro = (tensor.tensor_split(settings.num_micro_batches) for tensor in (images_NCHW, metadata_NM, targets_NK))
        for micro_NCHW, micro_NM, micro_NK in zip(*micro, strict=True):
            with autocast(settings.precision, device):
                logits_NK = network(micro_NCHW, micro_NM)
            loss_N = settings.loss(logits_NK.float(), micro_NK)  # in fp32: bf16 keeps 8 bits, too few for a loss
            # Divided by the size of the whole batch: gradients of micro-batches and of other processes' slices add up.
            (loss_N.sum() / num_samples).backward()  # type: ignore[no-untyped-call]
            loss_sum += loss_N.detach().sum()  # stays on the device: reading it would wait each step
        sums.loss += data_parallel.sum_gradients(network.parameters(), loss_sum)
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        training.optimizer.step()
        training.after_step()
        sums.num_samples += num_samples
        sums.num_steps += 1
        after_step(batch)
    mean = float(sums.loss) / sums.num_samples  # waits for the device
    if not math.isfinite(mean):
        raise UserError(f"the training loss became {mean}", do="Set a lower learning_rate.", kind="diverged")
    return mean


@torch.inference_mode()
def predict(
    network: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    *,
    num_views: int,
    precision: Precision = "fp32",
    after_batch: Callable[[Batch], None] = lambda _: None,
) -> tuple[NDArray[np.intp], Tensor]:
    """Indices of the samples in the table [S], and their logits [V, S, K], float32 on the CPU, in batch order."""
    network.eval()
    index_S, logits_VSK = [], []
    for batch in batches:
        images_NCHW, metadata_NM, _ = to_device(batch, device)
        with autocast(precision, device):
            logits_VNK = predict_views(network, images_NCHW, metadata_NM, num_views=num_views)
        logits_VSK.append(logits_VNK.cpu())
        index_S.append(batch.index_N)
        after_batch(batch)
    if not index_S:  # with few rows some processes get none
        return np.zeros(0, dtype=np.intp), torch.zeros(num_views, 0, 0)
    return np.concatenate(index_S), torch.cat(logits_VSK, dim=1)


@torch.inference_mode()
def features(
    network: FusionNet, batches: Iterable[Batch], device: torch.device, *, num_views: int, precision: Precision
) -> Tensor:
    """The backbone's features of each picture and view [V, S, D], float32 on the CPU, in batch order."""
    network.eval()
    features_VSD = []
    for batch in batches:
        images_NCHW = to_device(batch, device)[0]
        with autocast(precision, device):
            features_VND = torch.stack([network.features(view(images_NCHW, number)) for number in range(num_views)])
        features_VSD.append(features_VND.float().cpu())
    return torch.cat(features_VSD, dim=1)


def predict_views(network: nn.Module, images_NCHW: Tensor, metadata_NM: Tensor, *, num_views: int) -> Tensor:
    """Logits [V, N, K] of the first `num_views` flips and turns of each picture. The network must be in eval mode."""
    logits = [network(view(images_NCHW, number), metadata_NM) for number in range(num_views)]
    return torch.stack(logits).float()


def to_device(batch: Batch, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (uint8, a quarter of the bytes of floats), features and targets on the device.

    NHWC viewed as NCHW is torch's channels-last layout: no copy.
    """
    arrays = (batch.images_NHWC, batch.metadata_NM, batch.targets_NK)
    tensors = [torch.from_numpy(array) for array in arrays]
    if device.type == "cuda":  # from pinned memory the copy runs in parallel with the next lines
        tensors = [tensor.pin_memory() for tensor in tensors]
    images_NHWC, metadata_NM, targets_NK = (tensor.to(device, non_blocking=True) for tensor in tensors)
    return images_NHWC.permute(0, 3, 1, 2), metadata_NM, targets_NK


def _seed(*key: int) -> int:
    return int(np.random.SeedSequence([*key, 1]).generate_state(1)[0])


def _paste(images_NCHW: Tensor, partner_N: Tensor, own: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """The pictures with a box of their partners, and the share of each that is still its own."""
    height, width = images_NCHW.shape[-2:]
    side = (1 - own) ** 0.5
    box_height, box_width = round(height * side), round(width * side)
    # The whole box inside the image, unlike the paper's, so that its area is the drawn share.
    top, left = int(rng.integers(0, height - box_height + 1)), int(rng.integers(0, width - box_width + 1))
    box = (..., slice(top, top + box_height), slice(left, left + box_width))
    mixed_NCHW = images_NCHW.clone()
    mixed_NCHW[box] = images_NCHW[partner_N][box]
    return mixed_NCHW, 1 - box_height * box_width / (height * width)
