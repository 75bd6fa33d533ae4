"""Choose: which map shows what the networks look at, measured on a few held-out pictures.

The level matters most: a wrong one shows background. Every candidate is judged by deletion and insertion.
"""

# H, W pixels · h, w places · M metadata features

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.explain.explained_class import ExplainedClass
from lesion.explain.faithfulness import Faithfulness, ends_of, faithfulness
from lesion.explain.gradient import CAM, FAMILY, OCCLUSION, Level, cam, gradient_maps, levels, predicted_logits
from lesion.explain.methods import map_by
from lesion.explain.record import CandidateRecord, ExplanationRecord
from lesion.models.fusion import FusionNet

log = logging.getLogger(__name__)

CHANCE = "random"
CHANCE_CELLS = 8
NUM_FULL = 2  # pictures on which all candidates are judged; then the best go on
NUM_KEPT = 3  # beside class activation and occlusion, which a graph needs
COMPARED_SIDE = 14  # maps of different grids are compared on this one
# What occlusion, 49 predictions, must have of `gain` beyond class activation, one prediction, to be taken instead.
WORTH_OCCLUSION = 0.05

Key = tuple[str, str]  # method and level
IsOver = Callable[[], bool]


@dataclass(frozen=True)
class Sample:
    """A held-out picture as its square, the network that did not learn from it, and the class to explain."""

    network: FusionNet
    square_HWC: Pixels
    metadata_M: NDArray[np.float32]
    explained: ExplainedClass

    def probability(self, squares_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Of the explained class, for each of some squares in the place of the sample's."""
        return self.explained.probability(predicted_logits(self.network, squares_BHWC, self.metadata_M))


@dataclass(frozen=True)
class _Judged:
    values_hw: NDArray[np.float32]
    faithfulness: Faithfulness


def choose(samples: Sequence[Sample], *, is_over: IsOver = lambda: False) -> ExplanationRecord:
    """The map with the largest mean gain, and the one for a graph without gradients.

    All candidates are judged on the first two pictures, and the best three on all: the others' numbers are of two.
    After `is_over` says that time is up no further candidate is tried; what was measured until then is compared, on the
    same pictures for all. Raises ValueError where no map could be made.
    """
    judged: list[dict[Key, _Judged]] = []
    keys: list[Key] | None = None
    for number, sample in enumerate(samples):
        found = _judge(sample, number, keys, is_over)
        if keys is not None and len(found) < len(keys):
            break  # time is up, or a map failed on this picture
        keys = list(found)
        judged.append(found)
        if number + 1 == NUM_FULL:
            keys = _best_of(keys, judged)
    if not judged:
        raise ValueError("there is no picture to choose a map by")
    tried = {key: _mean(key, [found[key].faithfulness for found in judged if key in found]) for key in judged[0]}
    means = {key: mean for key, mean in tried.items() if key in (keys or [])}
    chance = means.pop((CHANCE, ""), None)
    with_gradient = {key: mean for key, mean in means.items() if key[0] != OCCLUSION} or means
    if chance is None or not with_gradient:
        raise ValueError("no map could be made of this network")
    best = max(with_gradient, key=lambda key: with_gradient[key].gain)
    free, occlusion = means.get((CAM, "")), means.get((OCCLUSION, ""))
    is_cam = free is not None and (occlusion is None or free.gain >= occlusion.gain - WORTH_OCCLUSION)
    other: Key = (CAM if is_cam else OCCLUSION, "")
    pairs = [(found[best].values_hw, found[other].values_hw) for found in judged if other in found]
    chosen = means[best]
    return ExplanationRecord(
        method=chosen.method,
        level=chosen.level,
        insertion=chosen.insertion,
        deletion=chosen.deletion,
        chance=chance,
        without_gradient="cam" if is_cam else "occlusion",
        agreement=mean_correlation(pairs),
        num_pictures=len(judged),
        candidates=[mean for key, mean in tried.items() if key[0] != CHANCE],
    )


def randomised(record: ExplanationRecord, samples: Sequence[Sample], untrained: FusionNet) -> float | None:
    """The rank correlation of the chosen map with that of a network of random weights, mean over the samples; None
    where it is not defined. The metadata is left out of `untrained`, whose input must be as wide as the samples'."""
    pairs = []
    for sample in samples:
        make = partial(map_by, method=record.method, level=record.level)
        own, other = (
            make(network, sample.square_HWC, sample.metadata_M, sample.explained)
            for network in (sample.network, untrained)
        )
        pairs.append((own, other))
    return mean_correlation(pairs)


def rank_correlation(first_hw: NDArray[np.float32], second_hw: NDArray[np.float32]) -> float | None:
    """Spearman's between two maps of one square, on a grid of 14 × 14; None where one is the same everywhere."""
    size = (COMPARED_SIDE, COMPARED_SIDE)
    first, second = (
        cv2.resize(np.ascontiguousarray(one, np.float32), size, interpolation=cv2.INTER_LINEAR).ravel()
        for one in (first_hw, second_hw)
    )
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]  # here: a job needs it after training, if at all

    return float(np.clip(spearmanr(first, second).statistic, -1, 1))


def mean_correlation(pairs: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float | None:
    """The mean rank correlation of pairs of maps, of those for which it is defined."""
    defined = [value for pair in pairs if (value := rank_correlation(*pair)) is not None]
    return float(np.mean(defined)) if defined else None


def _best_of(keys: Sequence[Key], judged: Sequence[dict[Key, _Judged]]) -> list[Key]:
    """The candidates that go on, in their order."""
    gains = {key: _mean(key, [found[key].faithfulness for found in judged]).gain for key in keys}
    always = {(CHANCE, ""), (CAM, ""), (OCCLUSION, "")}
    best = sorted((key for key in keys if key not in always), key=lambda key: -gains[key])[:NUM_KEPT]
    return [key for key in keys if key in always or key in best]


def _judge(sample: Sample, number: int, keys: Sequence[Key] | None, is_over: IsOver) -> dict[Key, _Judged]:
    """Each candidate of one picture; only `keys`, those of the pictures before, unless it is the first."""
    found: dict[Key, _Judged] = {}
    ends = ends_of(sample.square_HWC, sample.probability)
    for key, values_hw in _maps(sample, number, keys):
        if len(found) > 1 and is_over():
            break
        is_copy = any(_is_same(values_hw, other.values_hw) for other in found.values())
        if keys is None and (is_copy or np.ptp(values_hw) == 0 or not np.isfinite(values_hw).all()):
            continue  # the last level of a ResNet has two names; a class token leaves no gradient at the last patches
        judged = faithfulness(values_hw, sample.square_HWC, sample.probability, ends=ends)
        found[key] = _Judged(values_hw, judged)
    return found


def _maps(sample: Sample, number: int, keys: Sequence[Key] | None) -> Iterator[tuple[Key, NDArray[np.float32]]]:
    """Each candidate's map, the cheapest and likeliest first; those that the network does not have are left out."""
    network, given = sample.network, (sample.square_HWC, sample.metadata_M)
    random = np.random.default_rng([number, 0]).random((CHANCE_CELLS, CHANCE_CELLS), dtype=np.float32)
    yield (CHANCE, ""), random
    every = [level for level in levels(network) if keys is None or any(level.name == key[1] for key in keys)]
    for place, level in enumerate(every):
        maps = _or_nothing(level, partial(gradient_maps, network, *given, level, sample.explained))
        for method in FAMILY:
            if method in maps and maps[method].size >= 4 and (keys is None or (method, level.name) in keys):
                yield (method, level.name), maps[method]
        if place == 0:
            yield from _without_gradient(sample, keys)
    if not every:
        yield from _without_gradient(sample, keys)


def _without_gradient(sample: Sample, keys: Sequence[Key] | None) -> Iterator[tuple[Key, NDArray[np.float32]]]:
    given = (sample.network, sample.square_HWC, sample.metadata_M)
    if keys is None or (CAM, "") in keys:
        found = _or_nothing(None, lambda: {CAM: cam(*given, sample.explained)})
        if CAM in found and found[CAM].size >= 4:
            yield (CAM, ""), found[CAM]
    if keys is None or (OCCLUSION, "") in keys:
        yield (OCCLUSION, ""), map_by(*given, sample.explained, method=OCCLUSION)


def _or_nothing(
    level: Level | None, make: Callable[[], dict[str, NDArray[np.float32]]]
) -> dict[str, NDArray[np.float32]]:
    """The maps, or none where this network has no such grid: among a thousand networks some do not."""
    try:
        return make()
    except (ValueError, RuntimeError, AttributeError, IndexError, TypeError, KeyError) as error:
        log.info("explanation: no map at %s: %s", level.name if level else CAM, str(error).splitlines()[0][:200])
        return {}


def _is_same(first_hw: NDArray[np.float32], second_hw: NDArray[np.float32]) -> bool:
    if first_hw.shape != second_hw.shape:
        return False
    size = float(np.abs(second_hw).max())
    return bool(np.allclose(first_hw, second_hw, rtol=1e-4, atol=1e-5 * size))


def _mean(key: Key, results: Sequence[Faithfulness]) -> CandidateRecord:
    insertion, deletion = (
        float(np.clip(np.mean(values), 0, 1))
        for values in zip(*((r.insertion, r.deletion) for r in results), strict=True)
    )
    return CandidateRecord(method=key[0], level=key[1], insertion=insertion, deletion=deletion)
