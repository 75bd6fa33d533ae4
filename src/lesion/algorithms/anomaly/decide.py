"""Decide: what a score of 0.5 is, and from which score on images and their places are anomalous, of held-out rows."""

# S held-out rows · h, w places of a map · P = h × w

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.regions import flagged, threshold_of_normal
from lesion.algorithms.anomaly.seen import seen_hw
from lesion.algorithms.anomaly.threshold import (
    NormalCurve,
    Places,
    Sigma,
    Threshold,
    image_distance,
    needs_anomalous,
    parse_point,
    resolved,
    scale_of,
    score_of,
)
from lesion.evaluation.operating_points import RocCurve, Spec, roc_curve
from lesion.evaluation.parts import parts_by_group

NUM_PARTS = 10  # in which the thresholds are judged; of fewer groups each is one
Maps = Sequence[NDArray[np.float32]]  # of scores [h, w], as `HeldOut.scores` has them
Parts = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]


@dataclass(frozen=True)
class HeldOut:
    """The rows of the held-out groups: where each stands in the table, whether it is anomalous, its group, the
    distances of its places, and height and width of its image where bars lie beside it (fit=pad)."""

    index_S: NDArray[np.intp]
    is_anomalous_S: NDArray[np.bool_]
    group_S: NDArray[np.str_]
    distance_Shw: NDArray[np.float32]
    size_S2: NDArray[np.intp] | None = None

    def seen_hw(self, number: int, height: int, width: int) -> NDArray[np.bool_]:
        """Which of so many places [h, w] a row's image fills."""
        if self.size_S2 is None:
            return np.ones((height, width), dtype=bool)
        return seen_hw(self.size_S2[number].tolist(), "pad", height, width)

    def distances(self, number: int) -> NDArray[np.float32]:
        """The distances of the places that a row's image fills [P]."""
        distance_hw = self.distance_Shw[number]
        return np.asarray(distance_hw[self.seen_hw(number, *distance_hw.shape)])

    def scores(self, number: int, scale: float) -> NDArray[np.float64]:
        """The scores of a row's places [h, w], NaN where its image does not reach."""
        distance_hw = self.distance_Shw[number]
        return np.where(self.seen_hw(number, *distance_hw.shape), score_of(distance_hw, scale), np.nan)


@dataclass(frozen=True)
class Decision:
    """The thresholds that are served, and the curves behind them. `label_S` and `is_flagged_Shw` are what each held-out
    row would be answered by thresholds that other groups chose: whoever judges the thresholds uses these. Where no
    others can choose, the row's own group helped to: `is_own_label_S` and `is_own_flag_S`."""

    scale: float
    area: float
    score_S: NDArray[np.float64]
    threshold: Threshold
    normal: NormalCurve
    roc: RocCurve | None
    label_S: NDArray[np.bool_]
    is_own_label_S: NDArray[np.bool_]
    pixel_threshold: float
    is_flagged_Shw: NDArray[np.bool_]
    is_own_flag_S: NDArray[np.bool_]


def decide(rows: HeldOut, *, operating_point: str, area: float, pixel_specificity: float, seed: int) -> Decision:
    """The scale and the thresholds of the held-out rows. Raises UserError for an operating point that needs anomalous
    rows where there are none."""
    spec, is_anomalous_S = parse_point(operating_point), rows.is_anomalous_S
    # Image by image, and in float32 what is kept of all: maps of a set are large.
    numbers = range(len(rows.index_S))
    distance_S = np.array([image_distance(rows.distances(number), area) for number in numbers], dtype=np.float64)
    scale = scale_of(distance_S[~is_anomalous_S])
    score_S = score_of(distance_S, scale)
    places = Places.of(map(rows.distances, numbers), scale)
    normal, roc = curves_of(score_S, is_anomalous_S, places)
    threshold = resolved(spec, normal, roc, where="hyperparameter operating_point")
    score_Shw = [rows.scores(number, scale).astype(np.float32) for number in numbers]
    of_labels = list(_parts(rows, needs_anomalous=needs_anomalous(spec), seed=seed))
    of_flags = list(_parts(rows, needs_anomalous=False, seed=seed))
    return Decision(
        scale=scale,
        area=area,
        score_S=score_S,
        threshold=threshold,
        normal=normal,
        roc=roc,
        label_S=_labels(distance_S / scale, rows, places, spec, of_labels),
        is_own_label_S=_judge_themselves(of_labels),
        pixel_threshold=_pixel_threshold(score_Shw, ~is_anomalous_S, area=area, specificity=pixel_specificity),
        is_flagged_Shw=_flags(score_Shw, rows, of_flags, area=area, specificity=pixel_specificity),
        is_own_flag_S=_judge_themselves(of_flags),
    )


def curves_of(
    score_S: NDArray[np.float64], is_anomalous_S: NDArray[np.bool_], places: Places
) -> tuple[NormalCurve, RocCurve | None]:
    """The curves that thresholds are chosen on; no ROC curve without an anomalous row."""
    normal = NormalCurve.of(score_S[~is_anomalous_S], places[~is_anomalous_S])
    return normal, roc_curve(is_anomalous_S.astype(np.float64), score_S)


def _parts(rows: HeldOut, *, needs_anomalous: bool, seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The rows [S] of each part, which is made of whole groups, and those that choose the thresholds it is judged by.

    Groups with normal rows are dealt apart from the others, so that those parts have some that other parts lack. Where
    the others cannot choose (none of them is normal, or anomalous where the threshold needs that), all rows do.
    """
    is_anomalous_S = rows.is_anomalous_S
    has_normal_S = np.isin(rows.group_S, rows.group_S[~is_anomalous_S])
    part_S = np.zeros(len(rows.group_S), dtype=np.intp)
    for is_in_S in (has_normal_S, ~has_normal_S):
        if is_in_S.any():
            part_S[is_in_S] = parts_by_group(rows.group_S[is_in_S], NUM_PARTS, seed=seed)
    for part in np.unique(part_S).tolist():
        others_S = part_S != part
        can_choose = (others_S & ~is_anomalous_S).any() and (not needs_anomalous or (others_S & is_anomalous_S).any())
        yield ~others_S, others_S if can_choose else np.ones_like(others_S)


def _judge_themselves(parts: Parts) -> NDArray[np.bool_]:
    """Which rows [S] helped to choose the threshold that they are judged by."""
    return np.asarray(np.any([is_part_S & chosen_S for is_part_S, chosen_S in parts], axis=0))


def _labels(
    relative_S: NDArray[np.floating], rows: HeldOut, places: Places, spec: Spec | Sigma, parts: Parts
) -> NDArray[np.bool_]:
    """Whether each row is anomalous by the threshold of the other parts, of distances in units of the scale. What a
    score is follows from the scale, so the other parts choose that too: threshold=0.5 is another distance by each."""
    label_S = np.zeros(len(relative_S), dtype=bool)
    for is_part_S, chosen_S in parts:
        unit = scale_of(relative_S[chosen_S & ~rows.is_anomalous_S])
        score_S = score_of(relative_S, unit)
        curves = curves_of(score_S[chosen_S], rows.is_anomalous_S[chosen_S], places[chosen_S].in_units_of(unit))
        label_S[is_part_S] = score_S[is_part_S] >= resolved(spec, *curves).score
    return label_S


def _flags(score_Shw: Maps, rows: HeldOut, parts: Parts, *, area: float, specificity: float) -> NDArray[np.bool_]:
    """Which places of each row are flagged by the pixel threshold of the other parts."""
    is_flagged_Shw = np.zeros(rows.distance_Shw.shape, dtype=bool)
    for is_part_S, chosen_S in parts:
        threshold = _pixel_threshold(score_Shw, chosen_S & ~rows.is_anomalous_S, area=area, specificity=specificity)
        for number in np.flatnonzero(is_part_S).tolist():
            is_flagged_Shw[number] = flagged(score_Shw[number], threshold, area)
    return is_flagged_Shw


def _pixel_threshold(score_Shw: Maps, chosen_S: NDArray[np.bool_], *, area: float, specificity: float) -> float:
    """That of the chosen rows, which are normal. It copies none of their maps."""
    chosen = [score_Shw[number] for number in np.flatnonzero(chosen_S).tolist()]
    return threshold_of_normal(chosen, area, specificity=specificity)
