"""Torch devices: where a predictor computes by torch: on the GPUs, or on a CPU if the artifact holds no graph for it.

Opens without torch, as a server on a CPU does.
"""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lesion.algorithms.base import Device
from lesion.errors import UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


def gpus(device: Device) -> list[torch.device]:
    """All GPUs if `device` asks for them, or auto finds one; else none. Imports torch unless `device` is cpu."""
    if device == "cpu":
        return []
    from lesion.engine.device import pick_device

    if pick_device(device).type != "cuda":
        return []
    import torch

    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def cpu_without_graph(model_dir: Path, *, num_cores: int) -> list[torch.device]:
    """The CPU, for torch with so many threads. Raises UserError where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "the artifact has no CPU graph, and this container image has no torch",
            where=model_dir,
            do="Serve it with the image that trained it.",
            kind="artifact",
        )
    import torch

    from lesion.engine.device import limit_threads

    log.warning("the artifact has no CPU graph: using torch, which is slower")
    limit_threads(num_cores)
    return [torch.device("cpu")]
