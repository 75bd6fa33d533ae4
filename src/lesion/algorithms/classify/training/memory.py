"""Memory: how much a training process will need on a CPU, known before it starts, and so how many a host can have."""

# N batch

from __future__ import annotations

import logging
import math

import torch

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.engine.device import pick_precision
from lesion.errors import LesionError
from lesion.models.backbone import create_backbone

log = logging.getLogger(__name__)

GIB = 2**30
# Measured in decision 68: what a process takes before its first step, and the peak of a step over what autograd keeps.
PROCESS_BYTES = 1 * GIB
PEAK_OF_KEPT = {"fp32": 1.6, "bf16": 0.8}
# Weights, their gradients, Adam's two averages, the best epoch's weights; the moving average if there is one.
COPIES_OF_WEIGHTS = 5
SHARE_OF_MEMORY = 0.8  # the rest is for the pictures that the kernel keeps, and for what this estimate misses


def processes_on_cpu(config: ClassifyConfig, *, num_cores: int, memory_bytes: int) -> int:
    """How many processes train on a host without a GPU by processes=auto: a fold a core, as far as memory holds them.

    One process where the memory cannot be known beforehand, which the log says.
    """
    wanted = min(num_cores, config.folds)
    # The largest batch that one process can train takes all memory; the threads of one share its batches already.
    if wanted == 1 or config.batch_size_train == "auto" or config.parallel == "data":
        return 1
    try:
        needed_bytes = training_bytes(config)
    except (LesionError, RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError) as error:
        # A network that computes with numbers of its input's content, which the estimate's lacks; or one that the
        # check will refuse in a minute, with what is wrong.
        log.info("processes=1: the memory of a training process is not known beforehand: %s", _first_line(error))
        return 1
    fitting = max(int(SHARE_OF_MEMORY * memory_bytes / needed_bytes), 1)
    number = min(wanted, fitting)
    why = "a fold a core" if number == wanted else "as many as the memory holds"
    log.info(
        "processes=%d: %s (cores=%d, about %.1f GiB a process of %.1f)",
        *(number, why, num_cores, needed_bytes / GIB, memory_bytes / GIB),
    )
    return number


def training_bytes(config: ClassifyConfig) -> int:
    """About the most memory that a training process takes on a CPU, in bytes.

    The forward pass of a micro-batch is done without numbers (torch's meta device), and what autograd keeps for the
    backward pass is counted: https://docs.pytorch.org/docs/2.7/notes/autograd.html#saved-tensors. Raises what the
    network raises there.
    """
    with torch.device("meta"):
        backbone = create_backbone(config.model, config.model_args)
    own = {tensor.untyped_storage()._cdata for tensor in (*backbone.parameters(), *backbone.buffers())}
    kept: dict[int, torch.Tensor] = {}  # by storage, which several tensors share; held, else its address is used again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in own:
            kept[storage] = tensor
        return tensor

    num_images = math.ceil(config.batch_size / config.gradient_accumulation)
    images_NCHW = torch.zeros(num_images, 3, config.image_size, config.image_size, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        backbone.train()(images_NCHW)
    kept_bytes = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    weights_bytes = sum(4 * parameter.numel() for parameter in backbone.parameters())
    precision = pick_precision(config.precision, torch.device("cpu"))
    copies = COPIES_OF_WEIGHTS + bool(config.ema_decay)
    return round(PROCESS_BYTES + copies * weights_bytes + PEAK_OF_KEPT[precision] * kept_bytes)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
