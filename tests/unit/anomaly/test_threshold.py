"""Threshold: scores, curves of normal images, and the points that are resolved on them."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.algorithms.anomaly.decide import Decision, HeldOut, decide
from lesion.algorithms.anomaly.judge import Judged, false_positive_rate, judge_rows
from lesion.algorithms.anomaly.regions import flagged
from lesion.algorithms.anomaly.report import how_judged
from lesion.algorithms.anomaly.results import Results
from lesion.algorithms.anomaly.threshold import (
    NormalCurve,
    Threshold,
    Thresholds,
    image_distance,
    scale_of,
    score_of,
)
from lesion.errors import UserError
from lesion.evaluation.operating_points import roc_curve

HUNDRED = np.arange(1, 101) / 101


def held_out(distance_S: np.ndarray, is_anomalous_S: np.ndarray, group_S: list[str]) -> HeldOut:
    maps_Shw = np.asarray(distance_S, np.float32)[:, None, None]
    return HeldOut(np.arange(len(maps_Shw)), np.asarray(is_anomalous_S, bool), np.array(group_S), maps_Shw)


def test_a_score_is_a_half_at_the_distance_that_five_of_a_hundred_normal_images_reach():
    distance_S = np.arange(1.0, 101.0)
    scale = scale_of(distance_S)
    assert (distance_S >= scale).sum() == 5
    assert score_of(np.array([0.0, scale, 1e9]), scale).tolist() == [0.0, 0.5, pytest.approx(1.0)]
    assert NormalCurve.of(score_of(distance_S, scale)).threshold_of(0.95) == pytest.approx(0.5)


def test_few_normal_images_are_all_below_a_half():
    score_S = score_of(np.array([3.0, 1.0, 2.0]), scale_of(np.array([3.0, 1.0, 2.0])))
    assert (score_S < 0.5).all()
    assert NormalCurve.of(score_S).threshold_of(0.95) == pytest.approx(0.5)


@pytest.mark.parametrize("num_normal", [3, 19, 20, 60, 700])
@pytest.mark.parametrize("operating_point", ["specificity=0.95", "specificity=1", "youden", "sensitivity=0.9"])
def test_rounding_decides_about_no_held_out_image(num_normal, operating_point):
    """OpenVINO's distances differ from torch's in the seventh digit."""
    rng = np.random.default_rng(num_normal)
    is_anomalous_S = np.arange(num_normal + 12) >= num_normal
    distance_S = rng.gamma(4, 1 + is_anomalous_S)
    rows = held_out(distance_S, is_anomalous_S, list(map(str, range(len(distance_S)))))
    told = decide(rows, operating_point=operating_point, area=0.0, pixel_specificity=0.99, seed=0)
    for factor in (1 - 1e-6, 1 + 1e-6):
        maps_Shw = rows.distance_Shw.astype(np.float64) * factor
        score_S = score_of(maps_Shw[:, 0, 0], told.scale)
        assert ((score_S >= told.threshold.score) == (told.score_S >= told.threshold.score)).all()
        flags = [flagged(one, told.pixel_threshold, 0.0) for one in score_of(maps_Shw, told.scale)]
        assert np.mean(np.array(flags)[~is_anomalous_S]) <= 0.01
    if operating_point == "specificity=0.95":
        assert (told.score_S[~is_anomalous_S] >= told.threshold.score).sum() == num_normal // 20


@pytest.mark.parametrize(("area", "wanted"), [(0.0, 9.0), (0.1, 9.0), (0.11, 8.0), (0.3, 7.0), (0.99, 0.0)])
def test_an_images_distance_is_that_which_a_share_of_its_places_reaches(area, wanted):
    assert image_distance(np.arange(10.0)[None], area).tolist() == [wanted]


@pytest.mark.parametrize(("specificity", "num_alarms"), [(0.95, 5), (0.9, 10), (0.99, 1), (0.999, 0), (1.0, 0)])
def test_a_specificity_lets_so_many_normal_images_be_false_alarms(specificity, num_alarms):
    threshold = NormalCurve.of(HUNDRED).threshold_of(specificity)
    assert (threshold <= HUNDRED).sum() == num_alarms


def test_a_curve_of_many_images_is_short_and_keeps_the_usual_rates_exactly():
    score_S = np.random.default_rng(0).random(20_000)
    curve = NormalCurve.of(score_S)
    assert len(curve.thresholds) <= 500
    for rate in (0.001, 0.01, 0.05):
        assert (score_S >= curve.threshold_of(1 - rate)).mean() == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [((0.5, 0.6), (0.1, 0.2), 9), ((0.6, 0.5), (0.2, 0.1), 9), ((0.6,), (1.2,), 9), ((), (), 9), ((0.6,), (0.1,), 0)],
)
def test_numbers_that_are_no_curve_are_refused(wrong):
    with pytest.raises(ValueError, match="curve"):
        NormalCurve(*wrong)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 50 / 101, 0.5, 0.999, 1.0])
def test_the_rate_of_a_threshold_is_the_share_of_normal_images_that_reach_it_or_one_image_more(threshold):
    more = NormalCurve.of(HUNDRED).rate_of(threshold)["value"] - (threshold <= HUNDRED).mean()
    assert more == pytest.approx(0) or more == pytest.approx(0.01)


def test_the_rate_of_a_chosen_threshold_is_exact():
    curve = NormalCurve.of(HUNDRED)
    for threshold in curve.thresholds:
        assert curve.rate_of(threshold)["value"] == pytest.approx((threshold <= HUNDRED).mean())


def test_a_curve_of_an_older_artifact_has_scores_of_images_as_thresholds():
    older = NormalCurve((0.9, 0.5, 0.2), (1 / 3, 2 / 3, 1.0), 3)
    assert older.threshold_of(0.5) == 0.9
    strictest = older.threshold_of(0.95)
    assert 0.9 < strictest < 0.9 + 1e-9
    assert [older.rate_of(one)["value"] for one in (strictest, 0.9, 0.5, 0.1)] == [0.0, 1 / 3, 2 / 3, 1.0]


def test_points_that_need_anomalous_images_are_refused_without_them():
    thresholds = Thresholds(Threshold("specificity=0.95", 0.5), NormalCurve.of(HUNDRED), None)
    assert thresholds.of("specificity=0.9").score < thresholds.of("specificity=0.99").score
    assert thresholds.of("threshold=0.7").score == 0.7
    for text in ("youden", "sensitivity=0.9", "f_beta=0.05", "cost=3"):
        with pytest.raises(UserError, match="needs anomalous images") as refused:
            thresholds.of(text)
        assert refused.value.kind == "custom_attributes"
    with pytest.raises(UserError, match="no operating point"):
        thresholds.of("specifity=0.9")


def test_with_anomalous_images_each_point_is_found_on_the_roc_curve():
    score_S, target_S = np.array([0.1, 0.2, 0.3, 0.8, 0.9]), np.array([0, 0, 1, 0, 1])
    thresholds = Thresholds(
        Threshold("youden", 0.3), NormalCurve.of(score_S[target_S == 0]), roc_curve(target_S, score_S)
    )
    assert 0.2 < thresholds.of("sensitivity=1").score <= 0.3
    assert 0.8 < thresholds.of("f_beta=0.05").score <= 0.9  # the only one without a false alarm


def test_each_row_is_judged_by_the_threshold_of_other_groups():
    """One group's normal images are all higher: by the others' threshold all of them are alarms."""
    distance_S = np.concatenate([np.linspace(1, 2, 20), np.linspace(1, 2, 20), np.linspace(5, 6, 20)])
    rows = held_out(distance_S, np.zeros(60), ["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    decision = decide(rows, operating_point="specificity=0.95", area=0.0, pixel_specificity=0.99, seed=0)
    assert (decision.score_S >= decision.threshold.score).sum() == 3
    assert decision.label_S[40:].all() and not decision.label_S[:40].any()
    assert decision.roc is None


SLIDES = np.concatenate([np.linspace(1, 2, 20), np.linspace(5, 6, 20)])  # the normal images of A and B


@pytest.mark.parametrize("point", ["specificity=0.95", "threshold=0.5", "sigma=2"])
@pytest.mark.parametrize("num_anomalous", [0, 20])
def test_anomalous_images_of_one_slide_alone_change_nothing_of_a_rate_that_needs_none(point, num_anomalous):
    rows = held_out(
        np.append(SLIDES, np.full(num_anomalous, 9.0)),
        np.arange(40 + num_anomalous) >= 40,
        ["A"] * 20 + ["B"] * 20 + ["A"] * num_anomalous,
    )
    decision, told = judged_slides(rows, point)
    assert told.false_positive_rate["value"] == 0.5 and "helped" not in told.false_positive_rate["why"]
    assert decision.is_flagged_Shw[20:40].mean() > 0.9  # by the threshold of A's places


def judged_slides(rows: HeldOut, point: str) -> tuple[Decision, Judged]:
    decision = decide(rows, operating_point=point, area=0.0, pixel_specificity=0.99, seed=0)
    told = judge_rows(
        rows,
        score_S=decision.score_S,
        label_S=decision.label_S,
        is_flagged_Shw=decision.is_flagged_Shw,
        masks={},
        scale=decision.scale,
        unit="slide",
        is_own_label_S=decision.is_own_label_S,
        is_own_flag_S=decision.is_own_flag_S,
    )
    return decision, told


def test_images_that_helped_to_choose_their_threshold_are_counted_beside_the_rate():
    own = "normal images helped to choose the threshold that they are judged by"
    rows = held_out(np.append(SLIDES, [9.0, 9.0]), np.arange(42) >= 40, ["A"] * 20 + ["B"] * 20 + ["A", "A"])
    decision, told = judged_slides(rows, "youden")  # B has no anomalous image that could choose for A
    how = how_judged(Results(rows, decision, told, num_learned=9, weights_file=None), "slide")
    assert "judge it themselves where no other slides could choose one" in how and "that of new" not in how
    assert f"20 of 40 {own}" in told.false_positive_rate["why"]
    assert "helped" not in told.pixel_false_positive_rate["why"]
    _, told = judged_slides(held_out(SLIDES[:20], np.zeros(20), ["A"] * 20), "specificity=0.95")
    assert told.false_positive_rate["value"] == pytest.approx(0.05)
    assert f"20 of 20 {own}" in told.false_positive_rate["why"]
    assert "one slide" in told.false_positive_rate["why"] and f"20 of 20 {own}" in told.pixel_false_positive_rate["why"]


def test_the_stated_interval_holds_the_rate_of_new_groups():
    """Groups differ, as slides do. Of 30 jobs of 16 groups the interval misses the true rate in at most 5."""
    misses = 0
    for job in range(30):
        rng = np.random.default_rng(job)
        group_S = np.repeat(np.arange(16), 12)
        rows = held_out(
            np.exp(rng.normal(0, 0.3, 16)[group_S] + rng.normal(0, 0.3, 192)), np.zeros(192), list(map(str, group_S))
        )
        decision = decide(rows, operating_point="specificity=0.95", area=0.0, pixel_specificity=0.99, seed=0)
        new = np.exp(rng.normal(0, 0.3 * 2**0.5, 20_000))
        true_rate = (score_of(new, decision.scale) >= decision.threshold.score).mean()
        stated = false_positive_rate(rows, decision.label_S)
        misses += not stated["low"] <= true_rate <= stated["high"]
    assert misses <= 5
