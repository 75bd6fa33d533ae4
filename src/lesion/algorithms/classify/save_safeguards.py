"""Save safeguards: fits the quality gate and the familiarity score, and adds them to the artifact.

They are added after the artifact is whole: without them it answers as well, and says less.
"""

# D features of a picture · A numbers of appearance · N sampled rows · S samples

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_bytes

from lesion import artifact
from lesion.algorithms.classify.manifest import FamiliarityRecord, QualityRecord
from lesion.algorithms.classify.prediction.openvino_cpu import GraphExecutor
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.safeguards import FAMILIARITY
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.algorithms.classify.training.backbone_features import by_graph, by_torch
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.setup import Setup
from lesion.data.appearance import appearance
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.data.quality.quality_bounds import MIN_PICTURES, fit_bounds, share_warned
from lesion.evaluation.familiarity import RARE, Familiarity, fit_familiarity

log = logging.getLogger(__name__)

NUM_ROWS = 1500  # of all folds together: half a minute of a large network on two cores
NUM_ROWS_OF_FOLD = 64  # at least, where there are many folds


def save_safeguards(
    setup: Setup,
    predictor: Ensemble,
    results: Sequence[FoldResult],
    group_S: NDArray[np.generic],
    measures: PictureMeasures | None,
) -> Ensemble:
    """Adds the quality gate and the familiarity score to the artifact; returns the predictor with the new manifest.

    `measures` are those of the training rows, with their groups `group_S`. What there are too few rows for is left out,
    and the log says so. Raises PlatformError where the disk refuses.
    """
    quality = quality_record(measures, setup)
    with setup.run.step("fitting the familiarity score", remedy="lower batch_size_predict"):
        familiarity = fitted(setup, predictor, results, group_S)
    if quality is None and familiarity is None:
        return predictor
    record, files = None, {}
    if familiarity is not None:
        record = FamiliarityRecord(
            file=FAMILIARITY, num_rows=num_sampled(results), folds=tuple(familiarity.folds), rare=RARE
        )
        files[FAMILIARITY] = to_bytes(familiarity.arrays())
    model = predictor.model.model_copy(update={"quality": quality, "familiarity": record})
    with setup.run.job.stop.held():  # the file and the manifest that names it, or neither
        manifest = artifact.add_files(setup.run.job.model_dir, predictor.manifest, files, payload=model.model_dump())
    return predictor.with_record(manifest, model)


def quality_record(measures: PictureMeasures | None, setup: Setup) -> QualityRecord | None:
    """The gate that the training pictures give; None where they are fewer than it needs."""
    readable = {} if measures is None else measures.readable()
    num_pictures = len(next(iter(readable.values()), ()))
    if num_pictures < MIN_PICTURES:
        log.info("no image-quality gate: %d training images are fewer than %d", num_pictures, MIN_PICTURES)
        return None
    bounds = fit_bounds(readable, image_size=setup.config.image_size)
    shares = share_warned(readable, bounds)
    log.info("quality: images=%d warned=%.4f", num_pictures, shares["any"])
    return QualityRecord(
        on_low_quality=setup.config.on_low_quality, num_pictures=num_pictures, bounds=bounds, share_warned=shares
    )


def fitted(
    setup: Setup, predictor: Ensemble, results: Sequence[FoldResult], group_S: NDArray[np.generic]
) -> Familiarity | None:
    """The familiarity score, from features that each fold's network makes of a sample of its held-out rows."""
    started = time.monotonic()
    features_of, appearance_of, group_of = {}, {}, {}
    for f, result in enumerate(results):
        rows_N = sampled_rows(result, len(results), seed=setup.config.seed)
        features_of[result.fold] = held_out_features(f, rows_N, setup, predictor)
        appearance_of[result.fold] = np.stack([appearance(setup.pictures.square(row)) for row in rows_N.tolist()])
        group_of[result.fold] = group_S[rows_N]
    found = fit_familiarity(features_of, appearance_of, group_of)
    if isinstance(found, str):
        log.info("no familiarity score: %s", found)
        return None
    log.info("familiarity: rows=%d seconds=%.1f", num_sampled(results), time.monotonic() - started)
    return found


def held_out_features(f: int, rows_N: NDArray[np.intp], setup: Setup, predictor: Ensemble) -> NDArray[np.float32]:
    """Features [N, D] of some rows by the predictor's network at place `f`, in fp32."""
    executor = predictor.executors[0]
    if isinstance(executor, TorchExecutor):
        features_1ND = by_torch(executor.networks[f], setup, rows_N, 1, "fp32")
    else:
        assert isinstance(executor, GraphExecutor)  # as training made it
        nums_metadata = [record.num_metadata for record in predictor.model.folds]
        features_1ND = by_graph(executor, f, setup, rows_N, 1, nums_metadata=nums_metadata)
    first_ND: NDArray[np.float32] = features_1ND[0]
    return first_ND


def sampled_rows(result: FoldResult, num_folds: int, *, seed: int) -> NDArray[np.intp]:
    """At most as many of a fold's held-out rows as its share of NUM_ROWS, in the table's order."""
    num = min(max(NUM_ROWS // num_folds, NUM_ROWS_OF_FOLD), len(result.index_S))
    rng = np.random.default_rng([seed, result.fold])
    return np.sort(rng.choice(result.index_S, num, replace=False))


def num_sampled(results: Sequence[FoldResult]) -> int:
    """How many rows of all folds are sampled."""
    return sum(min(max(NUM_ROWS // len(results), NUM_ROWS_OF_FOLD), len(result.index_S)) for result in results)
