"""Networks: the folds of an artifact as torch computes them, on a GPU or a CPU."""

# N batch · V views · B = N × V squares · F folds · H, W pixels · K outputs · M metadata features

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.base import Prepared
from lesion.artifact import FoldRecord, Manifest
from lesion.data.metadata import MetadataEncoder
from lesion.data.transforms import views
from lesion.errors import UserError
from lesion.models.fusion import FusionNet, create_network
from lesion.targets import Target


def load_networks(
    model_dir: Path, manifest: Manifest, folds: Sequence[FoldRecord], device: torch.device
) -> list[FusionNet]:
    """Each fold's network in eval mode on its device. Raises UserError for files that are not the artifact's."""
    networks = []
    for record in folds:
        network = create_network(
            manifest.model,
            manifest.model_args,
            manifest.preprocessing,
            num_metadata=MetadataEncoder(record.metadata).num_features,
            num_outputs=manifest.question.num_outputs,
            seed=0,
        )
        try:
            network.load_state_dict(artifact.load_weights(model_dir, record))
        except RuntimeError as error:
            raise UserError(
                f"the weights do not fit '{manifest.model}' of this timm: {str(error).splitlines()[-1].strip()}",
                where=model_dir / record.file,
                do=f"Use timm {manifest.packages.get('timm')}.",
                kind="artifact",
            ) from error
        networks.append(network.eval().to(device))
    return networks


class TorchLane:
    """All folds on one device. A batch is one forward pass of each fold over all its pictures' views."""

    def __init__(self, networks: Sequence[FusionNet], target: Target, device: torch.device) -> None:
        self._networks, self._target, self._device = networks, target, device

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Prepared]) -> NDArray[np.float64]:
        """Each fold's probabilities [N, F, K], averaged over the views."""
        num_views = [picture.num_views for picture in batch]
        squares_BHWC = np.concatenate([views(picture.pixels_HWC, picture.num_views) for picture in batch])
        images_BCHW = self._send(squares_BHWC).permute(0, 3, 1, 2)  # torch's channels-last layout: nothing is moved
        logits_FBK = []
        for fold, network in enumerate(self._networks):
            metadata_NM = np.stack([picture.features_FM[fold] for picture in batch])
            logits_FBK.append(network(images_BCHW, self._send(metadata_NM.repeat(num_views, axis=0))).float())
        probs_FBK = self._target.probabilities(torch.stack(logits_FBK).cpu().numpy())
        of_picture = np.split(probs_FBK, np.cumsum(num_views)[:-1], axis=1)
        return np.stack([probs_FVK.mean(axis=1) for probs_FVK in of_picture])

    def _send(self, array: NDArray[np.generic]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":  # from pinned memory the copy goes on while the next lines run
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor
