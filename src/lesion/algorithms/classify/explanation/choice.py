"""Explanation: chooses at the end of training by which map the networks are explained, and keeps it in the artifact."""

# S samples · V views · F folds · K outputs · B squares

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion import artifact
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.prediction.openvino_cpu import GraphExecutor
from lesion.algorithms.classify.prediction.predictor import Ensemble, Prepared
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.setup import Setup, fresh_network
from lesion.explain.choose import IsOver, Sample, choose, randomised
from lesion.explain.explained_class import usual_class
from lesion.explain.record import ExplanationRecord
from lesion.models.fusion import FusionNet
from lesion.stop import Stop
from lesion.targets import Target

log = logging.getLogger(__name__)

NUM_PICTURES = 12
NUM_COMPARED, NUM_RANDOM = 6, 2  # pictures, and networks of random weights, whose maps are compared


def save_explanation(
    model_dir: Path,
    predictor: Ensemble,
    fastest: Ensemble,
    setup: Setup,
    results: Sequence[FoldResult],
    *,
    job_s: float,
    stop: Stop,
) -> Ensemble:
    """Adds the chosen map to the artifact; the same predictor with it. `job_s` is how long the job has taken so far.

    `predictor` computes with torch, which gradients need, and `fastest` whatever needs none.

    The artifact is whole without it: where no map can be made, one warning says so, and pictures are explained by
    occlusion.
    """
    started = time.monotonic()
    ends = started + seconds_for_maps(job_s)
    try:
        samples = _samples(predictor, fastest, setup, results)

        def is_over() -> bool:
            return time.monotonic() > ends

        record = choose(samples, is_over=is_over)
        same, other = _randomised(record, samples[:NUM_COMPARED], setup, is_over)
        record = record.model_copy(update={"randomised": same, "randomised_other": other})
        model = predictor.model.model_copy(update={"explanation": record})
        with stop.held():
            manifest = artifact.add_files(model_dir, predictor.manifest, {}, payload=model.model_dump())
    except Exception as error:
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        log.warning("explanation: no map was chosen, occlusion will serve: %s: %s", type(error).__name__, reason)
        return predictor
    log.info(
        "explanation: method=%s level=%s insertion=%.3f deletion=%.3f chance=%.3f/%.3f without_gradient=%s "
        "agreement=%s randomised=%s/%s pictures=%d seconds=%.1f",
        *(record.method, record.level or "-", record.insertion, record.deletion),
        *(record.chance.insertion, record.chance.deletion, record.without_gradient),
        *(_shown(record.agreement), _shown(record.randomised), _shown(record.randomised_other)),
        *(record.num_pictures, time.monotonic() - started),
    )
    if record.warning:
        log.warning("explanation: do not read the maps: %s", record.warning)
    return predictor.with_record(manifest, model)


def seconds_for_maps(job_s: float) -> float:
    """How long the choice of a map may take after a job of so many seconds: 5 % of it, but 3 to 25 seconds; 2 % where
    that is more. A job of minutes need not wait as long for its maps as for its folds."""
    return max(min(max(0.05 * job_s, 3.0), 25.0), 0.02 * job_s)


def _samples(predictor: Ensemble, fastest: Ensemble, setup: Setup, results: Sequence[FoldResult]) -> list[Sample]:
    """Held-out pictures that their own fold's network finds most probable, the folds in turn: where the class is hardly
    seen there is nothing to explain. For several classes those whose predicted class is the most probable."""
    target, executor = predictor.target, predictor.executors[0]
    assert isinstance(executor, TorchExecutor)
    queues = [_most_probable_first(target, result) for result in results]
    chosen: list[Sample] = []
    for place in range(max(map(len, queues))):
        for f, result in enumerate(results):
            if place < len(queues[f]) and len(chosen) < NUM_PICTURES:
                number = int(queues[f][place])
                row = int(result.index_S[number])
                picture = predictor.prepare(setup.source.read(row), setup.metadata_rows[row])
                probs_K = combine(target, result.logits_SVK[number][None])
                explained = usual_class(target, probs_K)
                given = (executor.networks[f], picture.pixels_HWC, picture.features_FM[f], explained)
                chosen.append(Sample(*given, faster=_logits_by_graph(fastest, f, picture)))
    return chosen


def _logits_by_graph(
    fastest: Ensemble, f: int, picture: Prepared
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None:
    """What gives a fold's logits [B, K] of squares [B, H, W, 3] with the picture's metadata; None without a graph."""
    executor = fastest.executors[0]
    if not isinstance(executor, GraphExecutor):
        return None

    def logits(squares_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        changed = [replace(picture, pixels_HWC=square_HWC, num_views=1) for square_HWC in squares_BHWC]
        return np.stack([logits_VK[0] for logits_VK, _ in executor.of_fold(f, changed)])

    return logits


def _most_probable_first(target: Target, result: FoldResult) -> NDArray[np.intp]:
    """The fold's rows, by number among them; each class in turn, so that not one class alone is explained."""
    probs_SK = combine(target, result.logits_SVK[:, None])
    judged_SQ = target.judged_columns(probs_SK)
    class_S = judged_SQ.argmax(axis=1)
    order_S = np.argsort(-judged_SQ.max(axis=1), kind="stable")
    rank_S = np.empty(len(order_S), int)  # among the rows of the same class
    for label in np.unique(class_S):
        own = order_S[class_S[order_S] == label]
        rank_S[own] = np.arange(len(own))
    return np.lexsort((-judged_SQ.max(axis=1), rank_S))[:NUM_PICTURES]


def _randomised(
    record: ExplanationRecord, samples: Sequence[Sample], setup: Setup, is_over: IsOver
) -> tuple[float | None, float | None]:
    """As `randomised`, by networks of the same shape whose weights are random. The pretrained ones are no use: they
    know edges and colours, which is what a map that shows nothing learnt would show."""
    network: FusionNet = samples[0].network
    width = 0 if network.metadata is None else int(network.metadata[0].in_features)
    same = [sample for sample in samples if sample.metadata_M.size == width]
    untrained = []
    for number in range(NUM_RANDOM):
        config = setup.config.model_copy(update={"seed": (setup.config.seed + 1 + number) % 2**32})
        bare = replace(setup, config=config, weights=None)
        untrained.append(fresh_network(bare, num_metadata=width).eval().requires_grad_(False))
    return randomised(record, same, untrained, is_over=is_over)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
