"""Memory learner: the memory scorer from pictures of normal tissue: candidates, statistics, coreset. Resumable."""

# S samples · N batch · h, w places · P = h × w · K places drawn of each picture · D features · M patches in memory

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.manifest import MemoryRecord
from lesion.algorithms.anomaly.memory import (
    MAX_CANDIDATES,
    GreedyCoreset,
    MemoryScorer,
    refuse_large_memory,
    standardised,
    statistics,
)
from lesion.algorithms.anomaly.patch_features import PatchFeatures, create_patch_features, grid_of
from lesion.algorithms.anomaly.resumable import compute_rows
from lesion.data.cache import Pictures
from lesion.data.loader import Batch
from lesion.data.remark import Remark
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.run import Run
from lesion.models.starting_weights import StartingWeights, preprocess_for, pretrained_backbone, weights_digest
from lesion.models.weight_files import WeightsFile
from lesion.models.weights import load_backbone_weights

log = logging.getLogger(__name__)

CORESET = "coreset"  # the name of its state
Rows = NDArray[np.intp]


class MemoryLearner:
    """A Learner (learner.py)."""

    name = "memory"
    less_memory = "lower batch_size_predict, image_size or memory_patches"

    def __init__(self, config: AnomalyConfig, channel: Path | None) -> None:
        self._config, self._channel = config, channel

    @cached_property
    def _starting(self) -> StartingWeights:
        return pretrained_backbone(self._config, self._channel)

    def refuse(self, run: Run) -> None:
        """Nothing: it learns anywhere."""

    def remarks(self) -> Sequence[Remark]:
        """What is said of the weights and of the memory's size. Raises UserError for a network without the levels that
        are asked for, and for a memory that is too large."""
        config = self._config
        height, width, num_features = grid_of(self._features(), config.image_size)
        refuse_large_memory(config.memory_patches, num_features)
        mib = 4 * config.memory_patches * num_features / 2**20
        what = f"the memory holds {config.memory_patches} patches of {num_features} features at most: {mib:.1f} MiB"
        what += f", twice that in the artifact with the CPU graph; a map has {width} × {height} places"
        return (*self._starting.remarks, Remark("memory_size", what))

    @property
    def weights_file(self) -> WeightsFile | None:
        """That of the pretrained weights."""
        return self._starting.file

    def starting_digest(self) -> str:
        """Of the pretrained weights."""
        return weights_digest(self._starting.tensors)

    def learn(
        self,
        pictures: Pictures,
        rows_S: Rows,
        group_S: NDArray[np.str_],  # noqa: ARG002
        *,
        run: Run,
        checkpoints: Checkpoints,
    ) -> MemoryScorer:
        """The scorer whose memory are `memory_patches` patches of these rows' pictures, or all that there are."""
        return learn_memory(
            self._features().to(run.device),
            pictures,
            rows_S,
            num_patches=self._config.memory_patches,
            batch_size=self._config.batch_size_predict,
            seed=self._config.seed,
            run=run,
            checkpoints=checkpoints,
        )

    def record(self, scorer: MemoryScorer, file: str) -> MemoryRecord:
        """What the manifest says of a scorer that this learner made."""
        config = self._config
        return MemoryRecord(
            kind="memory",
            file=file,
            model=config.model,
            model_args=config.model_args,
            strides=config.strides,
            num_patches=scorer.memory_MD.shape[0],
            num_features=scorer.memory_MD.shape[1],
            edge_is_zero=True,
        )

    def _features(self) -> PatchFeatures:
        """The frozen backbone, with the starting weights; without them as its seed makes it."""
        config, tensors = self._config, self._starting.tensors
        preprocess = preprocess_for(config)
        features = create_patch_features(config.model, config.model_args, preprocess, config.strides, seed=config.seed)
        if tensors is not None:
            load_backbone_weights(features.backbone, config.model, tensors, where="pretrained weights")
        return features


def learn_memory(
    features: PatchFeatures,
    pictures: Pictures,
    rows_S: Rows,
    *,
    num_patches: int,
    batch_size: int,
    seed: int,
    run: Run,
    checkpoints: Checkpoints,
) -> MemoryScorer:
    """The scorer whose memory are `num_patches` patches of the pictures of these rows, or all that there are."""
    started = time.monotonic()
    num_drawn = max(MAX_CANDIDATES // len(rows_S), 1)

    def drawn(batch: Batch) -> Tensor:
        """Some places' features of each picture [N, K, D], drawn by seed and row alone."""
        images_NHWC = torch.from_numpy(batch.images_NHWC).to(run.device)
        features_NPD = features(images_NHWC).flatten(1, 2)
        num_places = features_NPD.shape[1]
        places = [
            np.random.default_rng([seed, row]).permutation(num_places)[:num_drawn] for row in batch.index_N.tolist()
        ]
        return torch.stack([of_one[torch.from_numpy(one)] for of_one, one in zip(features_NPD, places, strict=True)])

    found_SKD = compute_rows(
        "patches", rows_S, drawn, pictures, batch_size=batch_size, run=run, checkpoints=checkpoints
    )
    candidates_nD = found_SKD.flatten(0, 1)
    mean_D, scale_D = statistics(candidates_nD)
    candidates_nD = standardised(candidates_nD, mean_D, scale_D)
    chosen = _coreset(candidates_nD, num_patches, seed=seed, run=run, checkpoints=checkpoints)
    scorer = MemoryScorer(features, mean_D, scale_D, candidates_nD[chosen]).eval().requires_grad_(False)
    log.info(
        "memory: images=%d candidates=%d patches=%d features=%d mib=%.1f seconds=%.1f",
        *(len(rows_S), len(candidates_nD), len(chosen), candidates_nD.shape[1]),
        *(4 * scorer.memory_MD.numel() / 2**20, time.monotonic() - started),
    )
    return scorer.to(run.device)


def _coreset(candidates_nD: Tensor, num_patches: int, *, seed: int, run: Run, checkpoints: Checkpoints) -> list[int]:
    """The numbers of the candidates that are kept. Every process chooses the first one's."""
    everyone = run.processes.as_group()
    if len(candidates_nD) <= num_patches:
        return list(range(len(candidates_nD)))
    if everyone.is_first:
        coreset = GreedyCoreset(candidates_nD.to(run.device), seed=seed)
        if (state := checkpoints.load(CORESET)) is not None:
            coreset.chosen = state.tensors["chosen"].tolist()
            coreset.nearest_n = state.tensors["nearest"].to(run.device)

        def so_far() -> State:
            return State({"chosen": torch.tensor(coreset.chosen), "nearest": coreset.nearest_n}, {})

        while len(coreset.chosen) < num_patches:
            coreset.choose()
            checkpoints.after_step(CORESET, so_far)
        checkpoints.save(CORESET, so_far())
    content = np.array(coreset.chosen, dtype=np.int64).tobytes() if everyone.is_first else None
    received = everyone.from_first(content)
    assert received is not None
    return list(np.frombuffer(received, dtype=np.int64).tolist())
