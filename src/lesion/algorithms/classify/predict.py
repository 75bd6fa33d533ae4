"""Predict: an artifact's folds and views to one probability a picture.

The same lines for OOF, test set, CLI and HTTP.
"""

# N batch · C channels · H, W pixels · K outputs · M metadata features · V views · F folds · S samples

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion import artifact
from lesion.algorithms.base import Predictor
from lesion.artifact import Manifest
from lesion.data.images import Pixels
from lesion.data.loader import ordered_batches
from lesion.data.metadata import MetadataEncoder, Row
from lesion.data.table import Readable
from lesion.engine.loop import predict_views
from lesion.errors import UserError
from lesion.models.fusion import FusionNet, create_network
from lesion.targets import Target


@dataclass(frozen=True)
class FoldModel:
    """One fold's network in eval mode on its device, and the encoder that was fitted with it."""

    fold: int
    network: FusionNet
    encoder: MetadataEncoder


class ClassifyPredictor:
    """The ensemble of an artifact's folds.

    Probabilities are averaged over views and folds, each with the same weight.
    """

    def __init__(self, manifest: Manifest, folds: Sequence[FoldModel], device: torch.device) -> None:
        self.manifest = manifest
        self._target = manifest.question
        self._preprocess = manifest.preprocessing
        self._folds = list(folds)
        self._device = device
        self._lock = threading.Lock()  # one forward pass at a time: two would fight for the same cores

    def of_fold(self, fold: int) -> ClassifyPredictor:
        """One fold of this ensemble, sharing its network."""
        return ClassifyPredictor(self.manifest, [model for model in self._folds if model.fold == fold], self._device)

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of pictures (uint8 RGB [H, W, 3], any sizes) and metadata that may lack fields."""
        images_NCHW = torch.from_numpy(np.stack([self._preprocess(image).transpose(2, 0, 1) for image in images]))
        features = [torch.from_numpy(fold.encoder.encode(metadata)) for fold in self._folds]
        with self._lock, torch.inference_mode():
            images_NCHW = images_NCHW.to(self._device)
            logits_FVNK = torch.stack(
                [
                    predict_views(
                        fold.network, images_NCHW, metadata_NM.to(self._device), num_views=self.manifest.num_views
                    )
                    for fold, metadata_NM in zip(self._folds, features, strict=True)
                ]
            )
            return mean_probs(self._target, logits_FVNK.cpu())


def predict_source(
    predictor: Predictor,
    source: Readable,
    rows: Sequence[Row],
    *,
    batch_size: int,
    num_workers: int,
    on_error: Callable[[int, UserError], None],
    on_batch: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float32]:
    """Probabilities [S, K] of a source's pictures with their rows of metadata, read by threads.

    A picture or row that cannot be used is told to `on_error` with its number, and its probabilities are NaN;
    `on_batch` is told how many more are done.
    """

    def read(index: int) -> Pixels | UserError:
        try:
            return source.read(index)
        except UserError as error:
            return error

    def answer(indices: list[int], pictures: list[Pixels]) -> None:
        try:
            found[indices] = predictor.predict(pictures, [rows[index] for index in indices])
        except UserError as error:
            if len(indices) == 1:
                on_error(indices[0], error)
                return
            for index, picture in zip(indices, pictures, strict=True):  # one bad row among them: each alone
                answer([index], [picture])

    found = np.full((len(rows), predictor.manifest.question.num_outputs), np.nan, dtype=np.float32)
    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        for batch in ordered_batches(np.arange(len(rows)), batch_size):
            good: dict[int, Pixels] = {}
            for index, picture in zip(batch.tolist(), pool.map(read, batch.tolist()), strict=True):
                if isinstance(picture, UserError):
                    on_error(index, picture)
                else:
                    good[index] = picture
            if good:
                answer(list(good), list(good.values()))
            on_batch(len(batch))
    return found


def mean_probs(target: Target, logits: Tensor) -> NDArray[np.float32]:
    """Probabilities [N, K] from logits [..., N, K]: activated first, then averaged over all that stands before N."""
    probs = target.activation(logits.double())
    return np.asarray(probs.flatten(end_dim=-3).mean(dim=0).numpy(), dtype=np.float32)


def load(model_dir: Path, device: torch.device, *, fold: int | None = None) -> ClassifyPredictor:
    """The predictor of an artifact, of all its folds or of one.

    Raises UserError where there is none that can be used.
    """
    manifest = artifact.load_manifest(model_dir)
    records = [record for record in manifest.folds if fold is None or record.fold == fold]
    if not records:
        known = ", ".join(str(record.fold) for record in manifest.folds)
        raise UserError(f"the artifact has no fold {fold}", where=model_dir, do=f"Choose among {known}.")
    folds = []
    for record in records:
        encoder = MetadataEncoder(record.metadata)
        network = create_network(
            manifest.model,
            manifest.model_args,
            manifest.preprocessing,
            num_metadata=encoder.num_features,
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
        folds.append(FoldModel(record.fold, network.eval().to(device), encoder))
    return ClassifyPredictor(manifest, folds, device)
