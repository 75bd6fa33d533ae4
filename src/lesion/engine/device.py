"""Device: where to compute, and with how many threads."""

from __future__ import annotations

from typing import Literal

import cv2
import torch

from lesion.errors import UserError


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of that name; auto is the GPU if there is one. Raises UserError for cuda without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device=cuda, and no GPU can be used here",
            where=f"torch {torch.__version__}",
            do="Choose a GPU instance, or set device=auto.",
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def limit_threads(num_cores: int) -> None:
    """Holds torch to the cores we may use, and OpenCV to the calling thread: the loader is what runs side by side."""
    torch.set_num_threads(num_cores)
    cv2.setNumThreads(0)
