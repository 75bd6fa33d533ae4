"""Load: an artifact to its predictor, computed by torch on a GPU and by the OpenVINO graph on a CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lesion import artifact
from lesion.algorithms.anomaly.manifest import AnomalyRecord, read
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.base import Device, PrecisionChoice
from lesion.algorithms.torch_devices import cpu_without_graph, gpus
from lesion.artifact import Manifest, read_headers
from lesion.errors import PlatformError, UserError
from lesion.stored_files import in_words, unusable

if TYPE_CHECKING:  # serving on a CPU starts without torch
    import torch

TORCH_BATCH = 16


def load_predictor(
    model_dir: Path,
    *,
    device: Device,
    num_cores: int,
    fold: int | None = None,
    precision: PrecisionChoice = "auto",
    operating_point: str | None = None,
) -> AnomalyPredictor:
    """The predictor of an artifact; `operating_point` is that of the deployment instead of the artifact's.

    `device` auto takes the GPUs if there are any. It imports torch to find out: pass cpu if there is none. On a CPU the
    artifact's graph computes, and torch where it holds none. Raises UserError where it cannot be used, and for a fold
    or a precision that it does not have.
    """
    if fold not in (None, 0):
        raise UserError(f"the artifact has no fold {fold}", where=model_dir, do="Leave the fold out: there is one.")
    if precision == "bf16":
        raise UserError("distances need fp32, and bf16 is asked for", do="Set the precision to auto or fp32.")
    manifest = artifact.load_manifest(model_dir)
    model = read(model_dir, manifest)
    predictor = _computing(model_dir, manifest, model, device=device, num_cores=num_cores)
    predictor.thresholds.set_default(operating_point, where="the deployment's operating point")
    return predictor


def _computing(
    model_dir: Path, manifest: Manifest, model: AnomalyRecord, *, device: Device, num_cores: int
) -> AnomalyPredictor:
    """The predictor by what computes here."""
    if devices := gpus(device):
        return load_torch(model_dir, manifest, model, devices)
    if model.graph is not None and importlib.util.find_spec("openvino") is not None:
        from lesion.algorithms.anomaly.openvino_executor import load_graph

        read_headers(model_dir, manifest, model.scorer.file)  # an incomplete copy is refused here too
        executors = load_graph(model_dir, manifest, model, num_cores=num_cores)
        predictor = AnomalyPredictor(manifest, model, executors, max_batch=1, backend="openvino cpu fp32")
        check_answers(predictor, model_dir)
        return predictor
    return load_torch(model_dir, manifest, model, cpu_without_graph(model_dir, num_cores=num_cores))


def load_torch(
    model_dir: Path, manifest: Manifest, model: AnomalyRecord, devices: Sequence[torch.device]
) -> AnomalyPredictor:
    """The predictor that computes by torch, the whole scorer on each of the devices."""
    from lesion.algorithms.anomaly.torch_executor import TorchExecutor, load_scorer

    executors = [TorchExecutor(load_scorer(model_dir, manifest, model, device), device) for device in devices]
    backend = f"torch {devices[0].type} fp32"
    predictor = AnomalyPredictor(manifest, model, executors, max_batch=TORCH_BATCH, backend=backend)
    check_answers(predictor, model_dir)
    return predictor


def check_answers(predictor: AnomalyPredictor, where: Path) -> None:
    """Lets every executor predict a synthetic picture once: the first pass is slow, so it is done before anyone waits.

    Raises UserError if its distances are not finite, or not one per place of the map.
    """
    ramp = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64, 1) * np.array([1, 3, 7])
    picture = predictor.prepare((ramp % 256).astype(np.uint8), {})
    wanted = predictor.model.map_height * predictor.model.map_width
    for executor in predictor.executors:
        with in_words(where):
            try:
                [output] = executor([picture])
            except PlatformError as error:
                raise unusable(f"it cannot predict a test image: {error.what}", where) from error
        if (found := output.logits_FVK.shape[-1]) != wanted:
            raise unusable(f"the map of a test image has {found} places, but {wanted} are needed", where)
