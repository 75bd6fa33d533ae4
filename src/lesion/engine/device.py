"""Device: where a network computes, in which numbers, with how many threads and how large a batch."""

# N batch · C channels · H, W pixels

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from typing import Literal

import cv2
import torch
from torch import Tensor, nn

from lesion.environment import cpu_is_faster_in_bf16
from lesion.errors import UserError

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16"]

SMALLEST, LARGEST = 8, 1024  # batches that are tried


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
            "device=cuda, but no GPU was found", where=where, do="Choose a GPU instance, or set device=auto."
        )
    log.warning("no GPU found: using the CPU (%s)", where)
    return torch.device("cpu")


def limit_threads(num_cores: int) -> None:
    """Holds torch to `num_cores` threads, and OpenCV to the calling thread: the loader's threads run side by side."""
    torch.set_num_threads(num_cores)
    cv2.setNumThreads(0)


def pick_precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Precision:
    """The precision that training computes in; auto is bf16 where the device is faster in it, else fp32.

    Where bf16 is set on a device that is not, a warning says so.
    """
    if wanted != "auto":
        if wanted == "bf16" and not is_faster_in_bf16(device):
            log.warning("precision=bf16 is slower than fp32 on this %s", device.type)
        return wanted
    return "bf16" if is_faster_in_bf16(device) else "fp32"


def is_faster_in_bf16(device: torch.device) -> bool:
    """Whether the device gains from bfloat16: a GPU from Ampere on; a CPU by `cpu_is_faster_in_bf16`."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_is_faster_in_bf16()


def keep_slow_convolutions_in_fp32(network: nn.Module, precision: Precision, device: torch.device) -> None:
    """Makes those convolutions that a CPU trains slower in bf16 compute in float32, inside `autocast` too.

    Grouped ones, but for depthwise 3×3 of stride 1: in oneDNN's backward pass (torch 2.7) the gradient of a strided
    one's input takes 17 to 47 times as long in bf16, that of a 5×5's weights 3 times. With this mobilenetv2_100 and
    efficientnet_b2 train 1.2 to 1.5 times as fast in bf16 as in fp32; without, 0.7 to 1.0 times.
    """
    if precision == "fp32" or device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            is_depthwise = module.groups == module.in_channels == module.out_channels
            if not (is_depthwise and max(module.kernel_size) <= 3 and max(module.stride) == 1):
                module.forward = partial(_in_float32, module.forward)  # type: ignore[method-assign]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Inside, matrix products and convolutions are of that precision; weights, sums and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def largest_batch(try_step: Callable[[int], object]) -> int:
    """The largest batch size, a power of two from SMALLEST to LARGEST, for which a quarter more still fits in memory.

    `try_step(size)` runs one training step, and raises torch.OutOfMemoryError if the batch is too large; the quarter is
    for fragmentation of the allocator. If even the smallest does not fit, it is returned, and training raises the
    error.
    """
    size = SMALLEST
    while size < LARGEST:
        try:
            try_step(2 * size * 5 // 4)
        except torch.OutOfMemoryError:
            break
        size *= 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return size


def _in_float32(forward: Callable[[Tensor], Tensor], images_NCHW: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(images_NCHW.float()).to(images_NCHW.dtype)
