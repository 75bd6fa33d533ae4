"""Save reference: adds to the artifact what `lesion drift` compares served answers and images with.

Added after the artifact is whole: without it, it answers as well.
"""

# K outputs · S samples · Q outputs that are judged

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as to_bytes

from lesion import artifact
from lesion.algorithms.classify.manifest import ReferenceRecord
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.served_answer import score_names
from lesion.algorithms.classify.reference import REFERENCE, stored_keys
from lesion.algorithms.classify.training.setup import Setup
from lesion.data.appearance import COLOURS, appearance, colours
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.evaluation.drift import MIN_ROWS

log = logging.getLogger(__name__)

NUM_KEPT = 2000  # rows of each value: with more, differences would be found that are too small to matter
NUM_COLOURS = 500  # whose squares are read again: seconds where they are not in the cache


def save_reference(
    setup: Setup, predictor: Ensemble, kept_SK: NDArray[np.float32], measures: PictureMeasures | None
) -> Ensemble:
    """Adds samples of the training rows to the artifact; returns the predictor with the new manifest.

    `kept_SK` are the probabilities of held-out rows as they are served, NaN for the others; `measures` those of the
    images. Each value is sorted by itself, so that no row can be put together again. With fewer than MIN_ROWS held-out
    rows nothing would be compared, and nothing is added. Raises PlatformError where the disk refuses.
    """
    rows_S = np.flatnonzero(~np.isnan(kept_SK[:, 0]))
    if len(rows_S) < MIN_ROWS:
        log.info("no reference for `lesion drift`: %d held-out rows are fewer than %d", len(rows_S), MIN_ROWS)
        return predictor
    target = predictor.model.question
    rng = np.random.default_rng([setup.config.seed, len(kept_SK)])
    kept_S = _sample(rows_S, NUM_KEPT, rng)
    scores_SK = target.judged_columns(kept_SK[kept_S])
    found = dict(zip(score_names(target), scores_SK.T, strict=True))
    if measures is not None:
        readable = measures.readable()
        chosen_S = _sample(np.arange(len(next(iter(readable.values())))), NUM_KEPT, rng)
        found |= {name: values_S[chosen_S] for name, values_S in readable.items()}
    with setup.run.step("measuring the colours of training", remedy="lower image_size"):
        seen = [colours(appearance(setup.pictures.square(row))) for row in _sample(rows_S, NUM_COLOURS, rng).tolist()]
    found |= dict(zip(COLOURS, np.array(seen, dtype=np.float32).T, strict=True))
    key_of = stored_keys(target)
    arrays = {key_of[name]: np.sort(values_S) for name, values_S in found.items() if len(values_S)}
    answered: tuple[int, ...] = ()
    if target.has_multiclass_answer:
        answered = tuple(np.bincount(kept_SK[rows_S].argmax(axis=1), minlength=target.num_outputs).tolist())
    record = ReferenceRecord(file=REFERENCE, num_rows=len(rows_S), answered=answered)
    model = predictor.model.model_copy(update={"reference": record})
    files = {REFERENCE: to_bytes(arrays)}
    with setup.run.job.stop.held():  # the file and the manifest that names it, or neither
        manifest = artifact.add_files(setup.run.job.model_dir, predictor.manifest, files, payload=model.model_dump())
    log.info("reference: rows=%d values=%d", len(rows_S), len(arrays))
    return predictor.with_record(manifest, model)


def _sample(rows_S: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """At most `most` of the rows, in their order."""
    if len(rows_S) <= most:
        return rows_S
    return np.sort(rng.choice(rows_S, most, replace=False))
