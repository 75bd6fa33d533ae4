"""Report cases: the worst misses and false alarms as pictures: the image, a GAN's reconstruction of it, its distance
from normal, what is flagged."""

# S held-out rows · Q pixels a side of the judged square · H, W pixels

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.predictor import ANOMALOUS, NORMAL, AnomalyPredictor, Prepared, Scored, output_of
from lesion.algorithms.anomaly.results import HELD_OUT, Results
from lesion.algorithms.anomaly.torch_executor import TorchExecutor
from lesion.data.decode.images import Pixels
from lesion.data.table import Rows
from lesion.data.thumbnail import small, thumbnail
from lesion.data.unit import IMAGE
from lesion.report.sections import Case, Cases, Missing

NUM_CASES = 6  # of the missed ones, and of the false alarms
THUMBNAIL_PX = 152
FLAGGED, TRUTH = (0, 255, 255), (255, 230, 0)  # RGB of outlines: cyan and yellow, apart on pink tissue
HOW_MAPS = (
    "A map shows how far each place is from normal: what stays below the threshold of pixels is as it was; "
    "above it the colour goes from dark red to bright yellow."
)
HOW_FLAGS = "The last picture outlines what is flagged in cyan, and the mask, where there is one, in yellow."
HOW_MADE = "Beside each image stands its reconstruction: what the GAN, which has seen normal images alone, makes of it."


def mistakes(
    training: Rows,
    results: Results,
    predictor: AnomalyPredictor,
    masks: Mapping[int, NDArray[np.bool_]],
    *,
    names_are_shown: bool,
) -> Cases | Missing:
    """The anomalous images with the lowest scores below the threshold, and the normal ones with the highest above.
    `masks` are those of rows that have one, in the judged square."""
    rows, score_S, label_S = results.rows, results.decision.score_S, results.decision.label_S
    cases: list[Case] = []
    kinds: tuple[tuple[Literal["missed", "false alarm"], NDArray[np.bool_], int], ...] = (
        ("missed", rows.is_anomalous_S & ~label_S, 1),
        ("false alarm", ~rows.is_anomalous_S & label_S, -1),
    )
    num = int(sum(is_wrong_S.sum() for _, is_wrong_S, _ in kinds))
    name_S = training.table().name_S
    for kind, is_wrong_S, order in kinds:
        wrong = np.flatnonzero(is_wrong_S)
        for number in _of_each_group(wrong[np.argsort(order * score_S[wrong], kind="stable")], rows.group_S):
            row = int(rows.index_S[number])
            picture = training.read(row)
            prepared = Prepared(picture, (picture.shape[0], picture.shape[1]))
            scored = predictor.scored(output_of(rows.distance_Shw[number].ravel(), prepared))
            shown, made_HWC = predictor.map_of(scored), _reconstruction(predictor, picture)
            is_missed = kind == "missed"
            cases.append(
                Case(
                    kind=kind,
                    line=number + 2,
                    file=HELD_OUT,
                    name=str(name_S[row]) if names_are_shown else None,
                    truth=ANOMALOUS if is_missed else NORMAL,
                    answer=NORMAL if is_missed else ANOMALOUS,
                    prob_of=ANOMALOUS,
                    prob=float(score_S[number]),
                    picture=thumbnail(picture, side_px=THUMBNAIL_PX),
                    reconstruction=None if made_HWC is None else thumbnail(made_HWC, side_px=THUMBNAIL_PX),
                    map=thumbnail(shown.over(picture), side_px=THUMBNAIL_PX),
                    map_shows="The distance from normal",
                    flags=thumbnail(_outlined(picture, predictor, scored, masks.get(row)), side_px=THUMBNAIL_PX),
                )
            )
    if not cases:
        return Missing(why="There are none.")
    unit = results.judged.unit
    how = f"Answered wrong, those first that lie farthest from the threshold. {num:,} in all"
    how = f"{how}." if unit == IMAGE else f"{how}, at most one of a {unit}."
    if predictor.model.scorer.kind == "gan":
        how = f"{how} {HOW_MADE}"
    return Cases(cases=tuple(cases), how=f"{how} {HOW_MAPS} {HOW_FLAGS}", num=num)


def _reconstruction(predictor: AnomalyPredictor, picture_HWC: Pixels) -> Pixels | None:
    """What the GAN makes of the judged square of a picture; None by a memory."""
    executor = predictor.executors[0]
    assert isinstance(executor, TorchExecutor)  # a report is written by training, which computes with torch
    return executor.reconstruction(predictor.prepare(picture_HWC, {}))


def _of_each_group(numbers: NDArray[np.intp], group_S: NDArray[np.str_]) -> list[int]:
    """The first NUM_CASES, of each group one."""
    first_of = {str(group_S[number]): int(number) for number in numbers[::-1]}  # the first one is written last
    return sorted(first_of.values(), key=numbers.tolist().index)[:NUM_CASES]


def _outlined(
    picture_HWC: Pixels, predictor: AnomalyPredictor, scored: Scored, mask_QQ: NDArray[np.bool_] | None
) -> Pixels:
    """The picture, small, with outlines of its mask and of what is flagged."""
    flags = predictor.flags_of(scored)
    shown_HWC = small(picture_HWC, side_px=THUMBNAIL_PX)
    areas = [] if mask_QQ is None else [(replace(flags, values_hw=mask_QQ.astype(np.float32)), TRUTH)]
    for area, colour in [*areas, (flags, FLAGGED)]:
        is_in_HW = np.nan_to_num(area.in_picture(THUMBNAIL_PX)) >= 0.5
        size = (shown_HWC.shape[1], shown_HWC.shape[0])
        drawn_HW = cv2.resize(is_in_HW.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(drawn_HW, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        shown_HWC = np.asarray(cv2.drawContours(shown_HWC, contours, -1, colour, 1), np.uint8)
    return shown_HWC
