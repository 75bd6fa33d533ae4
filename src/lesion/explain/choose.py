"""Choose: which map shows what the networks look at, measured on a few held-out pictures.

The level matters most: a wrong one shows background. Every candidate is judged by deletion and insertion.
"""

# H, W pixels · h, w places · M metadata features

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.explain.agreement import likeness, mean_correlation
from lesion.explain.explained_class import ExplainedClass
from lesion.explain.faithfulness import Faithfulness, ends_of, faithfulness
from lesion.explain.gradient import CAM, FAMILY, OCCLUSION, Level, cam, gradient_maps, levels, predicted_logits
from lesion.explain.methods import map_by
from lesion.explain.occlusion import occlusion_map
from lesion.explain.record import CandidateRecord, ExplanationRecord
from lesion.models.fusion import FusionNet

log = logging.getLogger(__name__)

CHANCE = "random"
CHANCE_CELLS = 8
NUM_FULL = 2  # pictures on which all candidates are judged; then the best go on
NUM_KEPT = 3  # beside class activation and occlusion, which a graph needs
# By how much better occlusion, 49 predictions, must agree with a map by gradient than class activation, one prediction.
WORTH_OCCLUSION = 0.05

Key = tuple[str, str]  # method and level
FREE: Key = (CAM, "")
SLOW: Key = (OCCLUSION, "")
IsOver = Callable[[], bool]


@dataclass(frozen=True)
class Sample:
    """A held-out picture as its square, the network that did not learn from it, and the class to explain.

    `faster`, if there is such a thing, gives the network's logits [B, K] of squares in the place of the sample's.
    """

    network: FusionNet
    square_HWC: Pixels
    metadata_M: NDArray[np.float32]
    explained: ExplainedClass
    faster: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None

    def logits(self, squares_BHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of squares in the place of the sample's, [B, K]."""
        if self.faster is not None:
            return self.faster(squares_BHWC)
        return predicted_logits(self.network, squares_BHWC, self.metadata_M)

    def probability(self, squares_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Of the explained class, for each of some squares in the place of the sample's."""
        return self.explained.probability(self.logits(squares_BHWC))


@dataclass(frozen=True)
class _Judged:
    values_hw: NDArray[np.float32]
    faithfulness: Faithfulness


def choose(samples: Sequence[Sample], *, is_over: IsOver = lambda: False) -> ExplanationRecord:
    """The cheapest map of those with the largest mean gain, and the one for a graph without gradients.

    Class activation, unless a map by gradient gains more by over one standard error of the difference (Breiman et al.
    1984, section 3.4.3); occlusion only where neither is better than random numbers. Where the choice needs no
    gradient, torch and the graph draw the same map; else the graph takes what agrees best with it.

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
    if chance is None or not means:
        raise ValueError("no map could be made of this network")
    best = _cheapest_of_the_best(means, judged, chance)
    agreement_of = {
        key: mean_correlation([(found[best].values_hw, found[key].values_hw) for found in judged])
        for key in (FREE, SLOW)
        if key in means
    }
    other = _for_graph(best, agreement_of)
    chosen = means[best]
    return ExplanationRecord(
        method=chosen.method,
        level=chosen.level,
        insertion=chosen.insertion,
        deletion=chosen.deletion,
        chance=chance,
        without_gradient="cam" if other == FREE else "occlusion",
        agreement=agreement_of.get(other),
        gain_error=_standard_error(_more(judged, best, (CHANCE, ""))),
        num_pictures=len(judged),
        candidates=[mean for key, mean in tried.items() if key[0] != CHANCE],
    )


def randomised(
    record: ExplanationRecord,
    samples: Sequence[Sample],
    untrained: Sequence[FusionNet],
    *,
    is_over: IsOver = lambda: False,
) -> tuple[float | None, float | None]:
    """The `likeness` of the chosen maps to those of networks of random weights, on the same picture and on others; of
    two pictures if time `is_over`.

    The metadata is left out of `untrained`, whose input must be as wide as the samples'.
    """
    make = partial(map_by, method=record.method, level=record.level)
    maps: list[list[NDArray[np.float32]]] = []  # of each picture by each network
    for sample in samples:
        if len(maps) >= NUM_FULL and is_over():
            break
        given = (sample.square_HWC, sample.metadata_M, sample.explained)
        maps.append([make(network, *given) for network in (sample.network, *untrained)])
    own, *others = zip(*maps, strict=True)
    return likeness(own, others)


def _cheapest_of_the_best(
    means: Mapping[Key, CandidateRecord], judged: Sequence[dict[Key, _Judged]], chance: CandidateRecord
) -> Key:
    """The choice among maps of that mean gain, from the cheapest kind to the dearest."""
    with_gradient = sorted(means.keys() - {FREE, SLOW}, key=lambda key: -means[key].gain)
    chosen, *dearer = [key for key in (FREE, *with_gradient[:1], SLOW) if key in means]
    for key in dearer:
        if key == SLOW and means[chosen].gain > chance.gain:
            break
        more = _more(judged, key, chosen)
        if more.mean() > (_standard_error(more) or 0.0):
            chosen = key
    return chosen


def _more(judged: Sequence[dict[Key, _Judged]], key: Key, other: Key) -> NDArray[np.float64]:
    """By how much one map gains more than another on each picture."""
    return np.array([found[key].faithfulness.gain - found[other].faithfulness.gain for found in judged])


def _standard_error(values: NDArray[np.float64]) -> float | None:
    """Of the mean of some values; None of a single one."""
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else None


def _for_graph(best: Key, agreement_of: Mapping[Key, float | None]) -> Key:
    """What a graph draws: the chosen map itself if it can, else the one that agrees best with it."""
    if best in agreement_of:
        return best
    of_free, of_slow = (value if (value := agreement_of.get(key)) is not None else -1.0 for key in (FREE, SLOW))
    return FREE if FREE in agreement_of and of_free >= of_slow - WORTH_OCCLUSION else SLOW


def _best_of(keys: Sequence[Key], judged: Sequence[dict[Key, _Judged]]) -> list[Key]:
    """The candidates that go on, in their order."""
    gains = {key: _mean(key, [found[key].faithfulness for found in judged]).gain for key in keys}
    always = {(CHANCE, ""), FREE, SLOW}
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
            continue  # Grad-CAM at the last level is class activation; a class token gives the last patches no gradient
        judged = faithfulness(values_hw, sample.square_HWC, sample.probability, ends=ends)
        found[key] = _Judged(values_hw, judged)
    return found


def _maps(sample: Sample, number: int, keys: Sequence[Key] | None) -> Iterator[tuple[Key, NDArray[np.float32]]]:
    """Each candidate's map, the cheapest and likeliest first; those that the network does not have are left out."""
    network, given = sample.network, (sample.network, sample.square_HWC, sample.metadata_M)
    random = np.random.default_rng([number, 0]).random((CHANCE_CELLS, CHANCE_CELLS), dtype=np.float32)
    yield (CHANCE, ""), random
    if keys is None or FREE in keys:
        found = _or_nothing(None, lambda: {CAM: cam(*given, sample.explained)})
        if CAM in found and found[CAM].size >= 4:
            yield FREE, found[CAM]
    every = [level for level in levels(network) if keys is None or any(level.name == key[1] for key in keys)]
    for level in every[:1]:
        yield from _of_level(sample, level, keys)
    if keys is None or SLOW in keys:
        yield SLOW, occlusion_map(sample.square_HWC, lambda squares: sample.explained.log_odds(sample.logits(squares)))
    for level in every[1:]:
        yield from _of_level(sample, level, keys)


def _of_level(sample: Sample, level: Level, keys: Sequence[Key] | None) -> Iterator[tuple[Key, NDArray[np.float32]]]:
    given = (sample.network, sample.square_HWC, sample.metadata_M, level, sample.explained)
    maps = _or_nothing(level, partial(gradient_maps, *given))
    for method in FAMILY:
        if method in maps and maps[method].size >= 4 and (keys is None or (method, level.name) in keys):
            yield (method, level.name), maps[method]


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
    """Whether two maps differ by a factor and an offset alone: their places have the same order."""
    if first_hw.shape != second_hw.shape:
        return False
    first, second = ((one - one.mean()) / max(float(one.std()), 1e-30) for one in (first_hw, second_hw))
    return bool(np.allclose(first, second, atol=1e-3))


def _mean(key: Key, results: Sequence[Faithfulness]) -> CandidateRecord:
    insertion, deletion = (
        float(np.clip(np.mean(values), 0, 1))
        for values in zip(*((r.insertion, r.deletion) for r in results), strict=True)
    )
    return CandidateRecord(method=key[0], level=key[1], insertion=insertion, deletion=deletion)
