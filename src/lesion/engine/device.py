"""Device: where to compute, and with how many threads."""

from __future__ import annotations

import logging
import warnings
from typing import Literal

import cv2
import torch

from lesion.errors import UserError

log = logging.getLogger(__name__)


def pick_device(name: Literal["auto", "cpu", "cuda"], *, process: int = 0) -> torch.device:
    """The device of that name; auto is the GPU if there is one, else the CPU, with a warning that says why.

    The host's process number `process` takes the GPU of that number; more processes than GPUs share them.

    Raises UserError for cuda without a GPU.
    """
    if name == "cpu":
        return torch.device("cpu")
    with warnings.catch_warnings(record=True) as said:  # torch's way to say that the driver is too old
        warnings.simplefilter("always")
        has_gpu = torch.cuda.is_available()
    if has_gpu:
        device = torch.device("cuda", process % torch.cuda.device_count())
        torch.cuda.set_device(device)
        log.info("gpu=%s cuda=%s", torch.cuda.get_device_name(), torch.version.cuda)
        return device
    why = str(said[0].message).splitlines()[0] if said else "no driver, or no device"
    where = f"torch {torch.__version__}: {why}"
    if name == "cuda":
        raise UserError(
            "device=cuda, and no GPU can be used here", where=where, do="Choose a GPU instance, or set device=auto."
        )
    log.warning("no GPU can be used here (%s): computing on the CPU", where)
    return torch.device("cpu")


def limit_threads(num_cores: int) -> None:
    """Holds torch to the cores we may use, and OpenCV to the calling thread: the loader is what runs side by side."""
    torch.set_num_threads(num_cores)
    cv2.setNumThreads(0)
