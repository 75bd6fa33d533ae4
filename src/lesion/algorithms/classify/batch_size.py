"""Batch size: how many pictures a step takes, where the user leaves it to the machine."""

# N batch · C channels · H, W pixels · K outputs

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.transforms import Preprocess
from lesion.engine.device import Precision, autocast, largest_batch
from lesion.engine.optim import create_optimizer
from lesion.models.fusion import create_network
from lesion.targets import Target

log = logging.getLogger(__name__)

CPU_BATCH = 64  # a CPU computes no faster with more, and its memory is no wall


def with_batch_size(
    config: ClassifyConfig,
    target: Target,
    preprocess: Preprocess,
    device: torch.device,
    precision: Precision,
    *,
    agree: Callable[[int], int],
) -> ClassifyConfig:
    """The same settings, `batch_size_train=auto` settled: on a GPU by trying steps of the network.

    What each process finds is brought to one number by `agree`.
    """
    if config.batch_size_train != "auto":
        return config
    size = CPU_BATCH
    if device.type == "cuda":
        network = create_network(
            config.model,
            config.model_args,
            preprocess,
            num_metadata=0,
            num_outputs=target.num_outputs,
            seed=config.seed,
        ).to(device)
        optimizer = create_optimizer(
            config.optimizer, network, [], learning_rate=0.0, weight_decay=0.0, rest_factor=1.0, layer_decay=1.0
        )
        side_px = preprocess.image_size

        def try_step(num_pictures: int) -> None:
            images_NCHW = torch.zeros(num_pictures, 3, side_px, side_px, dtype=torch.uint8, device=device)
            with autocast(precision, device):
                logits_NK = network(images_NCHW, torch.zeros(num_pictures, 0, device=device))
            optimizer.zero_grad(set_to_none=True)
            logits_NK.float().sum().backward()
            optimizer.step()

        size = agree(largest_batch(try_step))
    log.info("batch_size_train=%d", size)
    return config.model_copy(update={"batch_size_train": size})
