"""Soup: one network whose weights are the mean of the folds', judged on rows that no fold was trained on.

A uniform soup (Wortsman et al. 2022, "Model soups", section 2): the folds start from the same weights, so their mean is
a network again. BatchNorm's statistics are computed anew for it (Izmailov et al. 2018, "SWA", section 3.2). Each row of
the folds was trained on by all of them but one, so their out-of-fold predictions say nothing of the soup: one part of
the patients is held back from all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lesion.algorithms.classify.training.fold import FoldRows, predict_held_out, rows_of
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.loop import to_device
from lesion.algorithms.classify.training.setup import Setup, fresh_network
from lesion.data.augment import Augment
from lesion.data.loader import load_batches, training_batches
from lesion.engine.distributed import DataParallelGroup
from lesion.logs import scoped_logger

log = scoped_logger(__name__, "fold")


def soup(results: Sequence[FoldResult], setup: Setup) -> FoldResult:
    """The mean of the folds' networks, with its logits of the rows that were held back. In one process."""
    held_back_S = setup.held_back_S
    assert held_back_S is not None
    setup = replace(setup, data_parallel=DataParallelGroup())
    rows = rows_of(len(results), held_back_S, setup)
    network = fresh_network(setup, num_metadata=rows.encoder.num_features)
    weights = [result.weights for result in results]
    network.load_state_dict(mean_weights(weights))
    renew_batch_norm(network, rows, setup, names=trained_statistics(weights))
    predicted = predict_held_out(network, rows, setup)
    log.info("soup of %d folds, held_back=%d rows", len(results), len(predicted.index_S))
    return FoldResult(
        fold=rows.fold,
        weights={name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()},
        encoder=rows.encoder,
        index_S=predicted.index_S,
        logits_SVK=predicted.logits_SVK,
        prediction_settings=setup.prediction_settings,
        best_epoch=max(result.best_epoch for result in results),
        metrics=predicted.metrics,
    )


def mean_weights(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several networks' tensors by name, computed in float64, in each tensor's own type."""
    return {
        name: (sum(of[name].double() for of in weights) / len(weights)).to(first.dtype)  # type: ignore[union-attr]
        for name, first in weights[0].items()
    }


def trained_statistics(weights: Sequence[dict[str, Tensor]]) -> set[str]:
    """The names of the BatchNorms whose running statistics differ between the folds. They do not where they stayed
    those of the pretrained weights: a backbone's with batch_norm=frozen, or all of a linear probe alone."""
    names = [name for name in weights[0] if name.endswith((".running_mean", ".running_var"))]
    return {
        name.rpartition(".")[0]
        for name in names
        if any(not torch.equal(of[name], weights[0][name]) for of in weights[1:])
    }


@torch.no_grad()
def renew_batch_norm(network: nn.Module, rows: FoldRows, setup: Setup, *, names: Collection[str]) -> None:
    """Sets the running statistics of the BatchNorms of these names to the means over one epoch of augmented training
    batches. A batch of one row is left out: it has no variance.
    """
    kind = nn.modules.batchnorm._BatchNorm
    norms = [module for name, module in network.named_modules() if name in names and isinstance(module, kind)]
    if not norms:
        return
    config, device = setup.config, setup.run.device
    key = (config.seed, rows.fold, 0)
    batches = [batch for batch in training_batches(rows.training_S, config.batch_size, key=key) if len(batch) > 1]
    network.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches, instead of a moving one
        norm.train()
    augment = Augment(config.image_size, config.flips)
    for batch in load_batches(rows.dataset, batches, augment, num_workers=setup.run.num_workers, key=key):
        images_NCHW, metadata_NM, _ = to_device(batch, device)
        network(images_NCHW, metadata_NM)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
