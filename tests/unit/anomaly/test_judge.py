"""Judge: what is said of pixels is that of all of them, and takes no memory for each."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.metrics import fbeta_score, precision_recall_curve, roc_auc_score

from lesion.algorithms.anomaly.decide import HeldOut, decide
from lesion.algorithms.anomaly.judge import area_under_roc, judge_pixels, pixel_false_positive_rate
from lesion.algorithms.anomaly.masks import JUDGED_PX
from lesion.algorithms.anomaly.seen import seen_hw
from lesion.algorithms.anomaly.threshold import score_of


def rows_of(num: int, *, side: int) -> tuple[HeldOut, dict[int, np.ndarray]]:
    """Every fourth image has a square that is farther from normal, and every eighth no mask of it."""
    rng = np.random.default_rng(0)
    distance_Shw = rng.gamma(4, 1, (num, side, side)).astype(np.float32)
    is_anomalous_S = np.arange(num) % 4 == 3
    distance_Shw[is_anomalous_S, : side // 2, : side // 2] += 3
    mask_QQ = np.zeros((JUDGED_PX, JUDGED_PX), bool)
    mask_QQ[: JUDGED_PX // 2, : JUDGED_PX // 2] = True
    masks = dict.fromkeys(range(3, num, 8), mask_QQ)
    return HeldOut(
        np.arange(num), is_anomalous_S, np.array([f"slide {row % 5}" for row in range(num)]), distance_Shw
    ), masks


def test_pixels_are_judged_as_scikit_learn_does_and_their_interval_is_that_of_all_pixels():
    rows, masks = rows_of(24, side=16)
    is_flagged_Shw = rows.distance_Shw > 7
    told = judge_pixels(rows, masks, 4.0, is_flagged_Shw)
    known = np.flatnonzero(~rows.is_anomalous_S | np.isin(rows.index_S, list(masks)))
    size = (JUDGED_PX, JUDGED_PX)
    scores, flags = (
        np.concatenate([cv2.resize(one[row].astype(np.float32), size).ravel() for row in known])
        for one in (score_of(rows.distance_Shw, 4.0), is_flagged_Shw)
    )
    truth = np.concatenate([masks.get(row, np.zeros(size, bool)).ravel() for row in known])
    assert told["num_masked"] == 3
    assert told["pixel_roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    wanted = area_under_roc(truth, scores, rows.group_S[known].repeat(JUDGED_PX**2)).as_json()
    assert told["pixel_roc_auc"] == {key: pytest.approx(wanted[key], abs=1e-5) for key in wanted if key != "why"} | {
        "why": wanted["why"]
    }
    assert told["pixel_f_0.05"]["value"] == pytest.approx(fbeta_score(truth, flags >= 0.5, beta=0.05))
    precision_P, recall_P, _ = precision_recall_curve(truth, scores)
    best = np.nanmax(1.0025 * precision_P * recall_P / np.maximum(0.0025 * precision_P + recall_P, 1e-12))
    assert told["pixel_f_0.05_best"]["value"] == pytest.approx(best, abs=1e-3)
    at_best = fbeta_score(truth, scores >= told["best_threshold"], beta=0.05)
    assert told["pixel_f_0.05_best"]["value"] == pytest.approx(at_best)
    again = judge_pixels(rows, masks, 4.0, is_flagged_Shw, best_threshold=told["best_threshold"])
    assert again["pixel_f_0.05_best"] == told["pixel_f_0.05_best"]


def test_judging_holds_no_number_for_each_pixel():
    rows, masks = rows_of(240, side=16)
    peak_bytes = peak_of(lambda: judge_pixels(rows, masks, 4.0, rows.distance_Shw > 7))
    assert peak_bytes < 240 * JUDGED_PX**2 * 8  # one number for each pixel, of which sorting takes several


def test_deciding_holds_all_maps_once_more_in_the_type_that_they_have():
    rows, _ = rows_of(24, side=96)
    what = {"operating_point": "specificity=0.95", "area": 0.03, "pixel_specificity": 0.99, "seed": 0}
    assert peak_of(lambda: decide(rows, **what)) < 2 * rows.distance_Shw.nbytes  # type: ignore[arg-type]


def test_bars_beside_an_oblong_image_choose_and_change_nothing():
    """Images of 4:1 in maps of 16 × 16 places are decided on as the 4 × 16 places alone would be."""
    inner, _ = rows_of(60, side=16)
    inner = replace(inner, distance_Shw=inner.distance_Shw[:, 6:10])
    size_S2 = np.repeat([[25, 100]], 60, axis=0)
    for bar in (0.0, 99.0):
        distance_Shw = np.full((60, 16, 16), bar, np.float32)
        distance_Shw[:, 6:10] = inner.distance_Shw
        padded = replace(inner, distance_Shw=distance_Shw, size_S2=size_S2)
        what = {"operating_point": "sigma=2", "area": 0.05, "pixel_specificity": 0.95, "seed": 0}
        found, wanted = (decide(rows, **what) for rows in (padded, inner))  # type: ignore[arg-type]
        assert (found.scale, found.threshold) == (wanted.scale, wanted.threshold)
        assert found.pixel_threshold == wanted.pixel_threshold
        assert (found.label_S == wanted.label_S).all()
        assert (found.is_flagged_Shw[:, 6:10] == wanted.is_flagged_Shw).all() and wanted.is_flagged_Shw.any()
        assert not found.is_flagged_Shw[:, [*range(6), *range(10, 16)]].any()
        rates = [
            pixel_false_positive_rate(*one) for one in ((padded, found.is_flagged_Shw), (inner, wanted.is_flagged_Shw))
        ]
        assert rates[0] == rates[1]


def test_pixels_of_bars_are_not_judged():
    rows, masks = rows_of(24, side=16)
    rows = replace(rows, size_S2=np.repeat([[100, 25]], 24, axis=0))
    told = []
    for bar in (0.0, 99.0):
        distance_Shw = rows.distance_Shw.copy()
        distance_Shw[..., :5], distance_Shw[..., 11:] = bar, bar  # the image is places 6 to 9
        told.append(judge_pixels(replace(rows, distance_Shw=distance_Shw), masks, 4.0, distance_Shw > 7))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("size", "fit", "wanted"),
    [
        ((100, 400), "pad", (slice(3, 5), slice(0, 8))),
        ((400, 200), "pad", (slice(0, 8), slice(2, 6))),
        ((1, 400), "pad", (slice(3, 5), slice(0, 8))),
        ((100, 400), "crop", (slice(0, 8), slice(0, 8))),
    ],
)
def test_an_image_fills_the_places_whose_centres_it_covers(size, fit, wanted):
    is_seen_hw = np.zeros((8, 8), bool)
    is_seen_hw[wanted] = True
    assert (seen_hw(size, fit, 8, 8) == is_seen_hw).all()


def peak_of(do) -> int:
    tracemalloc.start()
    do()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes
