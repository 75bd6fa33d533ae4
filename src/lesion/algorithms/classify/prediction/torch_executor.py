"""Networks: the folds of an artifact as torch computes them, on a GPU or a CPU."""

# N batch · V views · B = N × V squares · F folds · H, W pixels · K outputs · M metadata features

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.base import Output
from lesion.algorithms.classify.explanation.maps import mean_map
from lesion.algorithms.classify.manifest import ClassifierRecord, FoldRecord
from lesion.algorithms.classify.prediction.predictor import Prepared
from lesion.algorithms.classify.prediction.validate import check_weights
from lesion.algorithms.finite import finite
from lesion.algorithms.stored_network import load_stored, making_stored
from lesion.artifact import Manifest
from lesion.data.transforms import views
from lesion.explain.methods import map_by
from lesion.explain.picture_map import PictureMap
from lesion.inference.batcher import note_progress
from lesion.models.fusion import FusionNet, create_network
from lesion.stored_files import in_words


def load_networks(
    model_dir: Path, manifest: Manifest, model: ClassifierRecord, folds: Sequence[FoldRecord], device: torch.device
) -> list[FusionNet]:
    """Each fold's network in eval mode on its device. Raises UserError for files that are not the artifact's, or that
    have tensors that do not fit the network, NaN or infinity.
    """
    check_weights(model_dir, manifest, model)
    networks = []
    for record in folds:
        path = model_dir / record.file
        network = _network(manifest, model, record.num_metadata, model_dir)
        load_stored(network, artifact.read_tensors(model_dir, manifest, record.file), manifest, model.model, path)
        with in_words(model_dir):
            networks.append(network.eval().requires_grad_(False).to(device))  # maps need gradients of pictures alone
    return networks


def _network(manifest: Manifest, model: ClassifierRecord, num_metadata: int, model_dir: Path) -> FusionNet:
    """The manifest's network, untrained. What training would call wrong settings is here a wrong artifact."""
    with making_stored(manifest, model_dir):
        return create_network(
            model.model,
            model.model_args,
            model.preprocessing,
            num_metadata=num_metadata,
            num_outputs=model.question.num_outputs,
            seed=0,
        )


class TorchExecutor:
    """All folds on one device.

    A batch is computed by each fold over all its pictures' views, in forward passes of at most `max_squares` of them.
    """

    def __init__(self, networks: Sequence[FusionNet], device: torch.device, *, max_squares: int = 2**31) -> None:
        self.networks, self._device, self._max_squares = networks, device, max_squares

    @torch.inference_mode()
    def __call__(self, batch: Sequence[Prepared]) -> list[Output]:
        """The output of each picture. Raises PlatformError for a logit that is NaN or infinite.

        Maps are drawn after the logits, picture by picture, so that an answer is the same with a map and without.
        """
        num_views = [picture.num_views for picture in batch]
        squares_BHWC = np.concatenate([views(picture.pixels_HWC, picture.num_views) for picture in batch])
        metadata_FBM = [
            np.stack([picture.features_FM[fold] for picture in batch]).repeat(num_views, axis=0)
            for fold in range(len(self.networks))
        ]
        starts = range(0, len(squares_BHWC), self._max_squares)
        passes = [self._compute(squares_BHWC, metadata_FBM, slice(s, s + self._max_squares)) for s in starts]
        logits_FBK, features_FBD = (np.concatenate(parts, axis=1) for parts in zip(*passes, strict=True))
        ends = np.cumsum(num_views)[:-1]
        of_pictures = zip(np.split(finite(logits_FBK), ends, axis=1), np.split(features_FBD, ends, axis=1), strict=True)
        outputs = [
            Output(logits_FVK, features_FVD, picture.notes)
            for (logits_FVK, features_FVD), picture in zip(of_pictures, batch, strict=True)
        ]
        return [
            output if picture.wanted_map is None else replace(output, map=self._map(picture, output.logits_FVK))
            for picture, output in zip(batch, outputs, strict=True)
        ]

    def _map(self, picture: Prepared, logits_FVK: NDArray[np.float32]) -> PictureMap:
        """The map of one picture: of one fold and view after the other, since gradients need memory."""
        wanted = picture.wanted_map
        assert wanted is not None
        explained = wanted.explained_for(logits_FVK)
        squares_VHWC = views(picture.pixels_HWC, picture.num_views)

        def make(fold: int, number: int) -> NDArray[np.float32]:
            note_progress()
            given = (self.networks[fold], squares_VHWC[number], picture.features_FM[fold])
            return map_by(*given, explained, method=wanted.method, level=wanted.level)

        counts = {"num_folds": len(self.networks), "num_views": picture.num_views}
        return wanted.made(mean_map(make, method=wanted.method, **counts), explained, wanted.method)

    def _compute(
        self, squares_BHWC: NDArray[np.uint8], metadata_FBM: Sequence[NDArray[np.float32]], part: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits [F, B, K] and features [F, B, D] of a part of the squares, in one forward pass of each fold."""
        images_BCHW = self._send(squares_BHWC[part]).permute(0, 3, 1, 2)  # torch's channels-last: nothing is moved
        outputs = [
            network.outputs(images_BCHW, self._send(metadata_BM[part]))
            for network, metadata_BM in zip(self.networks, metadata_FBM, strict=True)
        ]
        logits_FBK, features_FBD = (
            torch.stack(of_folds).float().cpu().numpy() for of_folds in zip(*outputs, strict=True)
        )
        return logits_FBK, features_FBD

    def _send(self, array: NDArray[np.generic]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cuda":  # from pinned memory the copy runs in parallel with the next lines
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor
