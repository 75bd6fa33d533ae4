"""Decide: what a score of 0.5 is, and from which score on an answer is anomalous, both of held-out rows."""

# S held-out rows · h, w places of a map · P = h × w

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.threshold import (
    NormalCurve,
    Places,
    Sigma,
    Threshold,
    image_distance,
    parse_point,
    resolved,
    scale_of,
    score_of,
)
from lesion.evaluation.operating_points import RocCurve, Spec, roc_curve
from lesion.evaluation.parts import parts_by_group

NUM_PARTS = 10  # in which the threshold is judged; of fewer groups each is one


@dataclass(frozen=True)
class HeldOut:
    """The rows of the held-out groups: where each stands in the table, whether it is anomalous, its group, and the
    distances of its places."""

    index_S: NDArray[np.intp]
    is_anomalous_S: NDArray[np.bool_]
    group_S: NDArray[np.str_]
    distance_Shw: NDArray[np.float32]


@dataclass(frozen=True)
class Decision:
    """The threshold that is served, and the curves behind it. `label_S` is what each held-out row would be answered by
    a threshold that other groups chose: whoever judges the threshold uses these."""

    scale: float
    area: float
    score_S: NDArray[np.float64]
    threshold: Threshold
    normal: NormalCurve
    roc: RocCurve | None
    label_S: NDArray[np.bool_]


def decide(rows: HeldOut, *, operating_point: str, area: float, seed: int) -> Decision:
    """The scale and the threshold of the held-out rows. Raises UserError for an operating point that needs anomalous
    rows where there are none."""
    spec, is_anomalous_S = parse_point(operating_point), rows.is_anomalous_S
    distance_SP = rows.distance_Shw.reshape(len(rows.index_S), -1)
    distance_S = image_distance(distance_SP, area)
    scale = scale_of(distance_S[~is_anomalous_S])
    score_S = score_of(distance_S, scale)
    places = Places.of(distance_SP, scale)
    normal, roc = curves_of(score_S, is_anomalous_S, places)
    threshold = resolved(spec, normal, roc, where="hyperparameter operating_point")
    label_S = _labels(score_S, rows, places, spec, seed=seed)
    return Decision(scale, area, score_S, threshold, normal, roc, label_S)


def curves_of(
    score_S: NDArray[np.float64], is_anomalous_S: NDArray[np.bool_], places: Places
) -> tuple[NormalCurve, RocCurve | None]:
    """The curves that thresholds are chosen on; no ROC curve without an anomalous row."""
    normal = NormalCurve.of(score_S[~is_anomalous_S], places[~is_anomalous_S])
    return normal, roc_curve(is_anomalous_S.astype(np.float64), score_S)


def _labels(
    score_S: NDArray[np.float64], rows: HeldOut, places: Places, spec: Spec | Sigma, *, seed: int
) -> NDArray[np.bool_]:
    """Whether each row is anomalous by the threshold of the other parts; a part is made of whole groups.

    Groups with normal rows are dealt apart from the others, so that those parts have some that other parts lack. Where
    the others cannot choose (no anomalous row is left, or one group alone is normal), the threshold of all does.
    """
    label_S = np.zeros(len(score_S), dtype=bool)
    has_normal_S = np.isin(rows.group_S, rows.group_S[~rows.is_anomalous_S])
    part_S = np.zeros(len(score_S), dtype=np.intp)
    for is_in_S in (has_normal_S, ~has_normal_S):
        if is_in_S.any():
            part_S[is_in_S] = parts_by_group(rows.group_S[is_in_S], NUM_PARTS, seed=seed)
    for part in np.unique(part_S).tolist():
        others_S = part_S != part
        can_choose = (others_S & ~rows.is_anomalous_S).any()
        can_choose = can_choose and (not rows.is_anomalous_S.any() or (others_S & rows.is_anomalous_S).any())
        chosen_S = others_S if can_choose else np.ones_like(others_S)
        threshold = resolved(spec, *curves_of(score_S[chosen_S], rows.is_anomalous_S[chosen_S], places[chosen_S]))
        label_S[~others_S] = score_S[~others_S] >= threshold.score
    return label_S
