"""Group graph: how an ensemble's networks are cut into passes, and one pass as OpenVINO computes it.

A pass is a group of folds over one view of a picture.
"""

# F folds of the group · H, W pixels · K outputs · M metadata features · D features of a picture

from __future__ import annotations

import logging
from collections.abc import Sequence
from heapq import heapreplace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import openvino

log = logging.getLogger(__name__)

# Pictures on which several cores are compared with one: so many, since a lone logit may be the same by chance; and the
# number of a core that none is.
NUM_PROBES, PROBE = 16, -1


def fold_groups(num_folds: int, num_views: int, num_cores: int) -> list[range]:
    """The places of the folds that one pass computes together: the fewest groups with which a picture is ready soonest.
    Each pass prepares its view again, so all folds in passes of their own cost a twelfth more.
    """

    def groups_of(number: int) -> list[range]:
        starts = [group * num_folds // number for group in range(number + 1)]
        return [range(start, end) for start, end in pairwise(starts)]

    return min(
        map(groups_of, range(1, num_folds + 1)), key=lambda groups: (busiest(groups, num_views, num_cores), len(groups))
    )


def busiest(groups: Sequence[range], num_views: int, num_cores: int) -> int:
    """How many networks the busiest core computes, if the core that is free first takes the next pass."""
    busy = [0] * num_cores
    for group in groups:
        for _ in range(num_views):
            heapreplace(busy, busy[0] + len(group))
    return max(busy)


def few_passes(num_passes: int, num_cores: int) -> bool:
    """Whether passes on one core each would leave more than half of the cores idle, or one pass all but one."""
    return num_cores > 1 and (num_passes == 1 or 2 * num_passes <= num_cores)


class GroupGraph:
    """Some folds' networks, compiled as one. Each core has an infer request of its own, made when it is first used."""

    def __init__(self, folds: Sequence[int], compiled: openvino.CompiledModel) -> None:
        self._compiled, self._folds = compiled, folds
        self._inputs = {name: list(port.shape) for port in compiled.inputs for name in port.names}
        self._has_features = any("features_" in name for port in compiled.outputs for name in port.names)
        self._requests: dict[int, openvino.InferRequest] = {}

    def __call__(
        self, square_HWC: NDArray[np.uint8], features_FM: Sequence[NDArray[np.float32]], core: int
    ) -> list[NDArray[np.float32]]:
        """Logits [F, K] of one view, and features [F, D] if the graph gives any. Not for two threads at once with one
        core's number.
        """
        request = self._requests.get(core)
        if request is None:
            request = self._requests[core] = self._compiled.create_infer_request()
        given = {
            f"metadata_{fold}": features_M[None] for fold, features_M in zip(self._folds, features_FM, strict=True)
        }
        given = {name: value for name, value in given.items() if name in self._inputs}
        answer = request.infer({"image": square_HWC[None], **given}, share_inputs=True)
        kinds = ["logits", "features"] if self._has_features else ["logits"]
        return [np.concatenate([answer[f"{kind}_{fold}"] for fold in self._folds]) for kind in kinds]

    def of_noise(self) -> list[NDArray[np.float32]]:
        """What it gives of squares and metadata of noise, the same each time."""
        rng = np.random.default_rng(0)
        shapes = [self._inputs.get(f"metadata_{fold}", [1, 0]) for fold in self._folds]
        arrays = []
        for _ in range(NUM_PROBES):
            square_HWC = rng.integers(0, 256, self._inputs["image"][1:], np.uint8)
            features_FM = [rng.standard_normal(shape[1]).astype(np.float32) for shape in shapes]
            arrays += self(square_HWC, features_FM, PROBE)
        return arrays


def same_bits(one_core: Sequence[GroupGraph], all_cores: Sequence[GroupGraph]) -> list[GroupGraph]:
    """The graphs for all cores if they give the bits of those for one; else none, since an answer would depend on load.

    Noise tells: in a network that adds up in another order on several cores, hardly a feature keeps its last bit.
    """
    for one, other in zip(one_core, all_cores, strict=True):
        if not all(map(np.array_equal, one.of_noise(), other.of_noise())):
            log.info("several cores round otherwise than one: each pass keeps to one core")
            return []
    return list(all_cores)
