"""Judge: how good the scores of rows are that the memory never saw: images, pixels, and false alarms by group."""

# S rows · h, w places of a map · Q pixels a side of the judged square

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.decide import HeldOut
from lesion.algorithms.anomaly.masks import JUDGED_PX
from lesion.algorithms.anomaly.pixel_counts import NUM_BINS, Counts, best_bin, counted
from lesion.algorithms.anomaly.pixel_counts import area_under_roc as pixel_area
from lesion.algorithms.anomaly.predictor import ANOMALOUS, NORMAL
from lesion.algorithms.anomaly.threshold import score_of
from lesion.data.unit import in_units
from lesion.evaluation.delong import areas
from lesion.evaluation.intervals import Estimate, area_estimate, jackknife_interval
from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.metrics import roc_auc
from lesion.evaluation.point_summary import summarise_points
from lesion.evaluation.resampling import number_groups

OF_PROBABILITIES = {"brier", "log_loss", "observed_expected"}
BETA = 0.05  # of F_β of pixels: a pixel that is wrongly flagged weighs most
Json = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """How good the answers of rows are, in the words of their `unit`: `images` by `judge_images`, and the others by the
    functions of their names. `roc_auc` is that of however few rows, for a tuner; None without both kinds."""

    unit: str
    num_rows: int
    num_groups: int
    classes: dict[str, int]
    images: Json
    roc_auc: float | None
    false_positive_rate: Json
    pixel_false_positive_rate: Json
    pixels: Json

    @property
    def measures(self) -> dict[str, Json]:
        """What is said of these rows, by name: each a value with its interval, or why there is none."""
        of_pixels = self.pixels.get("pixel_roc_auc", {"value": None, "why": self.pixels.get("why")})
        return {
            "false_positive_rate": self.false_positive_rate,
            "pixel_roc_auc": of_pixels,
            **self.images["overall"],
        }


def judge_rows(
    rows: HeldOut,
    *,
    score_S: NDArray[np.float64],
    label_S: NDArray[np.bool_],
    is_flagged_Shw: NDArray[np.bool_],
    masks: Mapping[int, NDArray[np.bool_]],
    scale: float,
    unit: str,
    best_threshold: float | None = None,
    is_own_label_S: NDArray[np.bool_] | None = None,
    is_own_flag_S: NDArray[np.bool_] | None = None,
) -> Judged:
    """Judges rows by their scores, labels and flags. `masks` and `best_threshold` are as `judge_pixels` takes them, and
    `is_own_label_S` and `is_own_flag_S` as `Decision` has them, of rows that chose a threshold."""
    is_anomalous_S = rows.is_anomalous_S
    rate = _with_own(false_positive_rate(rows, label_S), rows, is_own_label_S)
    pixel_rate = _with_own(pixel_false_positive_rate(rows, is_flagged_Shw), rows, is_own_flag_S)
    num_anomalous = int(is_anomalous_S.sum())
    has_both = 0 < num_anomalous < len(is_anomalous_S)
    return Judged(
        unit=unit,
        num_rows=len(is_anomalous_S),
        num_groups=len(np.unique(rows.group_S)),
        classes={NORMAL: len(is_anomalous_S) - num_anomalous, ANOMALOUS: num_anomalous},
        images=in_units(judge_images(rows, score_S, label_S), unit),
        roc_auc=roc_auc(is_anomalous_S.astype(np.float64), score_S) if has_both else None,
        false_positive_rate=in_units(rate, unit),
        pixel_false_positive_rate=in_units(pixel_rate, unit),
        pixels=in_units(judge_pixels(rows, masks, scale, is_flagged_Shw, best_threshold=best_threshold), unit),
    )


def judge_images(rows: HeldOut, score_S: NDArray[np.float64], label_S: NDArray[np.bool_]) -> Json:
    """All that is said of the images, by `evaluation.judgement.judge`, without what only a probability has."""
    judged = judge(
        Rows(
            target_SQ=rows.is_anomalous_S.astype(np.float64)[:, None],
            prob_SQ=score_S[:, None],
            group_S=rows.group_S,
            name_Q=(ANOMALOUS,),
            is_multiclass=False,
            label_SQ=label_S[:, None],
        )
    )
    return {
        "overall": {name: known for name, known in judged["overall"].items() if name not in OF_PROBABILITIES},
        "cautions": [said for said in judged["cautions"] if "calibration" not in said],
    }


def false_positive_rate(rows: HeldOut, label_S: NDArray[np.bool_]) -> Json:
    """The share of normal images that are called anomalous, with its 95 % interval by group: 1 − the specificity of
    `point_summary.summarise_points`."""
    truth_S = rows.is_anomalous_S.astype(np.float64)
    known = summarise_points(truth_S[:, None], [label_S[:, None]], rows.group_S)[0][0]["specificity"]
    low, high = known.get("low"), known.get("high")
    ends = {} if low is None or high is None else {"low": 1 - high, "high": 1 - low}
    why = {"why": known["why"]} if known.get("why") else {}
    return {"value": None if known["value"] is None else 1 - known["value"], **ends, **why}


def pixel_false_positive_rate(rows: HeldOut, is_flagged_Shw: NDArray[np.bool_]) -> Json:
    """The share of normal images' pixels that is flagged, with its 95 % interval by group (jackknife)."""
    shape = rows.distance_Shw.shape[1:]
    normal = np.flatnonzero(~rows.is_anomalous_S).tolist()
    share_N = np.array([is_flagged_Shw[number].sum() / rows.seen_hw(number, *shape).sum() for number in normal])
    if not len(share_N):
        return {"value": None, "why": "there are no normal images"}
    code_N, num_groups = number_groups(rows.group_S[~rows.is_anomalous_S])
    share_G, num_G = np.bincount(code_N, share_N), np.bincount(code_N)
    without_G = (share_G.sum() - share_G) / (num_G.sum() - num_G) if num_groups > 1 else np.zeros(1)
    return jackknife_interval(float(share_N.mean()), without_G, num_groups, freedom=num_groups - 1).as_json()


def _with_own(rate: Json, rows: HeldOut, is_own_S: NDArray[np.bool_] | None) -> Json:
    """A false-positive rate that says how many of its images helped to choose the threshold that judges them."""
    num = 0 if is_own_S is None else int((is_own_S & ~rows.is_anomalous_S).sum())
    if not num:
        return rate
    of = f"{num:,} of {int((~rows.is_anomalous_S).sum()):,} normal images"
    own = f"{of} helped to choose the threshold that they are judged by, so new ones may be called anomalous more often"
    return {**rate, "why": "; ".join(filter(None, [rate.get("why"), own]))}


def judge_pixels(
    rows: HeldOut,
    masks: Mapping[int, NDArray[np.bool_]],
    scale: float,
    is_flagged_Shw: NDArray[np.bool_],
    *,
    best_threshold: float | None = None,
) -> Json:
    """ROC AUC of the pixels with its interval by group; of what is flagged [S, h, w] precision, recall and F_β; and F_β
    of a plain threshold that is best for it, `best_threshold` if other rows chose it, else these pixels' own.

    Of normal rows, whose pixels are all normal, and of anomalous rows with a mask; the map is brought to JUDGED_PX a
    side. None of it without masks.
    """
    is_masked_S = rows.is_anomalous_S & np.isin(rows.index_S, list(masks))
    if not is_masked_S.any():
        return {"why": "no anomalous row that was held out has a mask"}
    nothing_QQ = np.zeros((JUDGED_PX, JUDGED_PX), dtype=bool)

    def judged(number: int, map_hw: NDArray[np.floating]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which pixels of a row's image are anomalous [N], and a map at these pixels [N], of the judged square."""
        truth_QQ = masks[int(rows.index_S[number])] if is_masked_S[number] else nothing_QQ
        is_seen_QQ = rows.seen_hw(number, JUDGED_PX, JUDGED_PX)
        return truth_QQ[is_seen_QQ], _upscaled(map_hw)[is_seen_QQ]

    def counts_of(numbers: NDArray[np.intp]) -> Counts:
        return counted(judged(number, score_of(rows.distance_Shw[number], scale)) for number in numbers.tolist())

    known = np.flatnonzero(~rows.is_anomalous_S | is_masked_S)
    code_S, num_groups = number_groups(rows.group_S[known])
    numbers_of = np.split(known[np.argsort(code_S, kind="stable")], np.cumsum(np.bincount(code_S))[:-1])
    total_2B = counts_of(known)
    hits = np.zeros(3, dtype=np.int64)  # flagged, anomalous, and both
    for number in known.tolist():
        truth, flag = judged(number, is_flagged_Shw[number])
        hits += [(flag >= 0.5).sum(), truth.sum(), (truth & (flag >= 0.5)).sum()]
    precision, recall, f_beta = precision_recall_f(*hits.tolist())
    best = best_bin(total_2B, BETA) / NUM_BINS if best_threshold is None else best_threshold
    at_best_2B = total_2B[:, int(np.ceil(best * NUM_BINS)) :]
    at_best = precision_recall_f(int(at_best_2B.sum()), int(hits[1]), int(at_best_2B[1].sum()))
    return {
        "num_masked": int(is_masked_S.sum()),
        "pixel_roc_auc": pixel_area(total_2B, lambda group: counts_of(numbers_of[group]), num_groups).as_json(),
        "pixel_precision": {"value": precision},
        "pixel_recall": {"value": recall},
        f"pixel_f_{BETA}": {"value": f_beta},
        "best_threshold": best,
        f"pixel_f_{BETA}_best": {"value": at_best[2]},
    }


def area_under_roc(truth_S: NDArray[np.bool_], score_S: NDArray[np.floating], group_S: NDArray[Any]) -> Estimate:
    """ROC AUC with its 95 % interval, by leaving out a group at a time. Both classes must be there."""
    return area_estimate(areas(truth_S.astype(np.float64), np.asarray(score_S, np.float64)[:, None], group_S))


def precision_recall_f(num_flagged: int, num_anomalous: int, num_both: int) -> tuple[float, float, float]:
    """Precision, recall and F_β of so many flagged pixels; 0 where nothing is."""
    precision, recall, weight = num_both / max(num_flagged, 1), num_both / max(num_anomalous, 1), BETA**2
    return precision, recall, (1 + weight) * precision * recall / max(weight * precision + recall, 1e-12)


def _upscaled(value_hw: NDArray[Any]) -> NDArray[np.float32]:
    """The map in the judged square, linearly between the centres of places."""
    size = (JUDGED_PX, JUDGED_PX)
    return np.asarray(cv2.resize(value_hw.astype(np.float32), size, interpolation=cv2.INTER_LINEAR))
