"""Load: an artifact to its predictor, computed by torch on a GPU and by the OpenVINO graph on a CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lesion import artifact
from lesion.algorithms.base import Device, PrecisionChoice
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord, read
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.safeguards import load_safeguards
from lesion.algorithms.classify.prediction.validate import check_answers, check_weights
from lesion.algorithms.torch_devices import cpu_without_graph, gpus
from lesion.artifact import Manifest
from lesion.errors import UserError

if TYPE_CHECKING:  # serving on a CPU starts without torch
    import torch

TORCH_BATCH = 32


def load_predictor(
    model_dir: Path,
    *,
    device: Device,
    num_cores: int,
    fold: int | None = None,
    precision: PrecisionChoice = "auto",
    operating_point: str | None = None,
) -> Ensemble:
    """The predictor of an artifact, of all its folds or of one. `precision` is the graph's; `operating_point` is that
    of the deployment instead of the artifact's.

    `device` auto takes the GPUs if there are any. It imports torch to find out: pass cpu if there is none. On a
    CPU the artifact's graph computes, and torch where it holds none. Raises UserError where it cannot be used.
    """
    manifest = artifact.load_manifest(model_dir)
    model = read(model_dir, manifest)
    folds = chosen_folds(model, fold, model_dir)
    ensemble = _computing(model_dir, manifest, model, folds, device=device, num_cores=num_cores, precision=precision)
    ensemble.points.with_default(operating_point, where="the deployment's operating point")
    # Last: they judge pictures of users, not the test picture that each executor has answered by now.
    return ensemble.with_safeguards(load_safeguards(model_dir, manifest, model))


def _computing(
    model_dir: Path,
    manifest: Manifest,
    model: ClassifierRecord,
    folds: Sequence[FoldRecord],
    *,
    device: Device,
    num_cores: int,
    precision: PrecisionChoice,
) -> Ensemble:
    """The predictor by what computes here."""
    if devices := gpus(device):
        return load_torch(model_dir, manifest, model, folds, devices)
    if model.graph is not None and importlib.util.find_spec("openvino") is not None:
        from lesion.algorithms.classify.prediction import openvino_cpu

        check_weights(model_dir, manifest, model)  # torch's networks are checked as they are loaded
        chosen = openvino_cpu.graph_precision(precision, model.graph)
        executors = openvino_cpu.load_graph(
            model_dir, manifest, model, [record.fold for record in folds], precision=chosen, num_cores=num_cores
        )
        ensemble = Ensemble(manifest, model, folds, executors, max_batch=1, backend=f"openvino cpu {chosen}")
        check_answers(ensemble, model_dir)
        return ensemble
    return load_torch(model_dir, manifest, model, folds, cpu_without_graph(model_dir, num_cores=num_cores))


def load_torch(
    model_dir: Path,
    manifest: Manifest,
    model: ClassifierRecord,
    folds: Sequence[FoldRecord],
    devices: Sequence[torch.device],
    *,
    max_batch: int = TORCH_BATCH,
    max_squares: int = 2**31,
) -> Ensemble:
    """The predictor that computes by torch, the whole ensemble on each of the devices.

    It takes up to `max_batch` pictures at once, and each forward pass up to `max_squares` of their views.
    """
    from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor, load_networks

    executors = [
        TorchExecutor(load_networks(model_dir, manifest, model, folds, device), device, max_squares=max_squares)
        for device in devices
    ]
    ensemble = Ensemble(manifest, model, folds, executors, max_batch=max_batch, backend=f"torch {devices[0].type} fp32")
    check_answers(ensemble, model_dir)
    return ensemble


def chosen_folds(model: ClassifierRecord, fold: int | None, where: Path) -> list[FoldRecord]:
    """The records of all folds, or of one. Raises UserError for a fold that the artifact has not."""
    if fold is not None and model.final_model != "ensemble":
        what = f"the artifact holds one network, a {model.final_model}, and none of a fold"
        raise UserError(what, where=where, do="Leave the fold out.")
    folds = [record for record in model.folds if fold is None or record.fold == fold]
    if not folds:
        known = ", ".join(str(record.fold) for record in model.folds)
        raise UserError(f"the artifact has no fold {fold}", where=where, do=f"Choose among {known}.")
    return folds
