"""Torch executor: the scorer of an artifact as torch computes it, on a GPU or a CPU."""

# N batch · H, W pixels · P places

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lesion import artifact
from lesion.algorithms.anomaly.gan.networks import Generator
from lesion.algorithms.anomaly.gan.scorer import GanScorer
from lesion.algorithms.anomaly.gan.training import as_input
from lesion.algorithms.anomaly.manifest import AnomalyRecord, GanRecord, MemoryRecord
from lesion.algorithms.anomaly.memory import MemoryScorer
from lesion.algorithms.anomaly.patch_features import create_patch_features
from lesion.algorithms.anomaly.predictor import Prepared, output_of
from lesion.algorithms.base import Output
from lesion.algorithms.finite import finite
from lesion.algorithms.stored_network import load_stored, making_stored
from lesion.artifact import Manifest
from lesion.data.decode.images import Pixels
from lesion.data.transforms import Preprocess
from lesion.stored_files import in_words


def load_scorer(model_dir: Path, manifest: Manifest, model: AnomalyRecord, device: torch.device) -> nn.Module:
    """The scorer in eval mode on its device. Raises UserError for a file that is not the artifact's or does not fit."""
    record = model.scorer
    with making_stored(manifest, model_dir):
        scorer = _memory(record, model.preprocessing) if record.kind == "memory" else _gan(record)
    tensors = artifact.read_tensors(model_dir, manifest, record.file)
    load_stored(scorer, tensors, manifest, record.model, model_dir / record.file)
    with in_words(model_dir):
        return scorer.eval().requires_grad_(False).to(device)


def _memory(record: MemoryRecord, preprocess: Preprocess) -> nn.Module:
    """A memory scorer of this record, without its numbers."""
    features = create_patch_features(
        record.model, record.model_args, preprocess, record.strides, seed=0, edge_is_zero=record.edge_is_zero
    )
    width = record.num_features
    return MemoryScorer(features, torch.zeros(width), torch.zeros(width), torch.zeros(record.num_patches, width))


def _gan(record: GanRecord) -> nn.Module:
    """A GAN scorer of this record, without its numbers."""
    generator = Generator(record.filters)
    return GanScorer(
        generator,
        record.filters,
        smoothing_px=record.smoothing_px,
        cell_px=record.cell_px,
        compare=record.compare,
    )


class TorchExecutor:
    """The scorer on one device."""

    def __init__(self, scorer: nn.Module, device: torch.device) -> None:
        self.scorer, self._device = scorer, device

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Prepared]) -> list[Output]:
        """The output of each picture. Raises PlatformError for a distance that is NaN or infinite."""
        images_NHWC = torch.from_numpy(np.stack([picture.square_HWC for picture in batch])).to(self._device)
        distance_NP = finite(self.scorer(images_NHWC).flatten(1).float().cpu().numpy())
        return [output_of(distance_P, picture) for distance_P, picture in zip(distance_NP, batch, strict=True)]

    @torch.inference_mode()
    def reconstruction(self, picture: Prepared) -> Pixels | None:
        """What the GAN makes of the picture's square, uint8 RGB of the same size; None by a memory."""
        if not isinstance(self.scorer, GanScorer):
            return None
        image_NCHW = as_input(torch.from_numpy(picture.square_HWC[None]).to(self._device))
        made_HWC = self.scorer.reconstruction(image_NCHW)[0].permute(1, 2, 0).cpu().numpy()
        return np.asarray(np.round(127.5 * (np.clip(made_HWC, -1, 1) + 1)), dtype=np.uint8)
