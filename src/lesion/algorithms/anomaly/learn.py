"""Learn: the memory scorer from pictures of normal tissue: candidates, statistics, coreset. Resumable throughout."""

# S samples · N batch · h, w places · P = h × w · K places drawn of each picture · D features · M patches in memory

from __future__ import annotations

import logging
import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.algorithms.anomaly.memory import MAX_CANDIDATES, GreedyCoreset, MemoryScorer, standardised, statistics
from lesion.algorithms.anomaly.patch_features import PatchFeatures
from lesion.algorithms.anomaly.resumable import compute_rows
from lesion.data.cache import Pictures
from lesion.data.loader import Batch
from lesion.engine.checkpoint import Checkpoints, State
from lesion.engine.run import Run

log = logging.getLogger(__name__)

CORESET = "coreset"  # the name of its state
Rows = NDArray[np.intp]


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


def held_out_maps(
    scorer: MemoryScorer,
    pictures: Pictures,
    rows_S: Rows,
    *,
    batch_size: int,
    run: Run,
    checkpoints: Checkpoints,
) -> NDArray[np.float32]:
    """The distances [S, h, w] of the pictures of these rows, none of which is in the memory."""

    def distances(batch: Batch) -> Tensor:
        return scorer(torch.from_numpy(batch.images_NHWC).to(run.device))  # type: ignore[no-any-return]

    found = compute_rows("maps", rows_S, distances, pictures, batch_size=batch_size, run=run, checkpoints=checkpoints)
    return np.asarray(found.numpy())


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
