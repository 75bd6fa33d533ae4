"""Readings: what evaluation says stands in the report as it was said, and what it could not say keeps its reason."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.evaluation.judgement import Rows, judge
from lesion.report.model_card import model_card
from lesion.report.page import render
from lesion.report.readings import (
    calibration_curves,
    calibration_from,
    calibration_of,
    classes_from,
    decision_curves,
    explanation_from,
    metrics_from,
    number_of,
    point_from,
    subgroups_from,
    uncertainty_from,
)
from lesion.report.sections import Missing, Number, OperatingPoint, Subgroups
from lesion.report.words import doubts
from report_facts import binary

KNOWN = {"value": 0.91, "low": 0.86, "high": 0.94}
UNKNOWN = {"value": None, "why": "fewer than 10 positives"}
JUDGED = {
    "counts": {"rows": 400, "groups": 200},
    "overall": {"mcc": KNOWN, "roc_auc": KNOWN, "sensitivity": UNKNOWN},
    "outputs": {
        "melanoma": {
            "rows": 400,
            "positives": 81,
            "groups_with_positives": 76,
            "measures": {"roc_auc": KNOWN, "mcc": KNOWN},
            "calibration": {
                "intercept": KNOWN,
                "slope": KNOWN,
                "observed_to_expected": UNKNOWN,
                "ece": {"value": 0.02, "debiased": 0.01, "noise_line": 0.043, "bins": []},
                "curve": {"probability": [0.1, 0.5], "observed": [0.2, 0.6], "low": [0.1, 0.5], "high": [0.3, 0.7]},
            },
            "decision_curve": {
                "threshold": [0.1, 0.2],
                "net_benefit": [0.1, 0.05],
                "low": [0, 0],
                "high": [0.2, 0.1],
                "all": [0.1, 0],
            },
        }
    },
}
POINT = {
    "true_positives": 74,
    "false_negatives": 7,
    "true_negatives": 235,
    "false_positives": 84,
    "prevalence": 0.2025,
    "sensitivity": KNOWN,
    "specificity": KNOWN,
    "ppv": KNOWN,
    "npv": UNKNOWN,
    "per_1000": {"positives": 202.5, "found": {"value": 185.0}, "false_alarms": {"value": 210.0}},
}


def test_a_value_keeps_its_interval_and_none_its_reason():
    assert number_of(KNOWN) == Number(value=0.91, interval=(0.86, 0.94))
    assert number_of(UNKNOWN) == Number(why="fewer than 10 positives")
    assert number_of({"value": 0.5, "why": "one patient: no interval"}) == Number(value=0.5)


def test_measures_stand_in_the_readers_order_beside_the_flattered_ones():
    found = metrics_from(JUDGED["overall"], {"roc_auc": {"value": 0.95}})
    assert [metric.key for metric in found] == ["roc_auc", "sensitivity", "mcc"]
    assert found[0].flattered == Number(value=0.95) and found[1].number.why == "fewer than 10 positives"
    at = metrics_from({"ppv": KNOWN, "ppv_at_prevalence": KNOWN, "npv": UNKNOWN, "npv_at_prevalence": UNKNOWN})
    assert [metric.note for metric in at] == ["at the prevalence of these rows", "", "", ""]
    noted = metrics_from({"roc_auc": {**KNOWN, "why": "mean over 3 of 5 outputs"}})
    assert noted[0].note == "mean over 3 of 5 outputs"


def test_calibration_is_told_with_what_chance_makes_of_it_and_drawn_with_its_band():
    keys = {metric.key: metric for metric in calibration_from(JUDGED["outputs"]["melanoma"])}
    assert keys["ece"].note.startswith("by chance up to 0.043") and keys["ece"].number.value == 0.02
    assert keys["calibration_observed_to_expected"].number.value is None
    [curve] = calibration_curves(JUDGED)
    assert (curve.x, curve.y, curve.low, curve.high) == ((0.1, 0.5), (0.2, 0.6), (0.1, 0.5), (0.3, 0.7))
    assert [one.name for one in decision_curves(JUDGED)] == ["the model", "act on all", "act on none"]
    of_three = {**JUDGED, "outputs": {"nevus": {}, **JUDGED["outputs"], "wart": {}}}
    model = decision_curves(of_three)[0]
    assert (model.name, model.note) == ("the model, for melanoma", "1 of 3 labels")
    assert decision_curves({**of_three, "calibration_slope": KNOWN})[0].note == "1 of 3 classes"


def test_several_classes_have_one_slope_and_the_error_of_the_answered_class_and_labels_have_none():
    """By evaluation itself, on drawn rows."""
    rng = np.random.default_rng(0)
    class_S, score_SQ = rng.integers(0, 3, 300), rng.normal(0, 1, (300, 3))
    score_SQ[np.arange(300), class_S] += 1.5
    prob_SQ = np.exp(score_SQ) / np.exp(score_SQ).sum(axis=1, keepdims=True)
    of_classes, of_labels = (
        judge(Rows(np.eye(3)[class_S], prob_SQ, np.arange(300), ["a", "b", "c"], is_multiclass), num_draws=20)
        for is_multiclass in (True, False)
    )
    found = {metric.key: metric for metric in calibration_of(of_classes)}
    assert set(found) == {"calibration_slope", "ece"} and found["calibration_slope"].number.interval is not None
    assert found["calibration_slope"].number.value == pytest.approx(1.5, abs=0.4)
    assert calibration_of(of_labels) == ()
    assert calibration_of(JUDGED) == calibration_from(JUDGED["outputs"]["melanoma"])


def test_what_cannot_be_drawn_keeps_its_reason():
    odd = {
        "outputs": {"a": {"calibration": {"curve": {"why": "one class only"}}, "decision_curve": {"why": "no rows"}}}
    }
    assert calibration_curves(odd) == Missing(why="One class only.") and decision_curves(odd) == Missing(why="No rows.")
    assert isinstance(calibration_curves({"outputs": {"a": {}}}), Missing)  # of many classes each has no curves


def test_a_threshold_stands_as_it_was_judged():
    point = point_from(POINT, name="youden", output="melanoma", threshold=0.3, is_chosen=True, how="By other folds.")
    assert isinstance(point, OperatingPoint) and point.confusion.fn == 7 and point.npv.value is None
    assert (point.per_1000.positives, point.per_1000.found, point.per_1000.missed) == (202, 185, 17)
    nobody = point_from({**POINT, "per_1000": None}, name="a", output="b", threshold=0, is_chosen=False, how="")
    assert nobody.per_1000 is None
    none = point_from({**POINT, "prevalence": None}, name="a", output="b", threshold=0, is_chosen=False, how="")
    assert isinstance(none, Missing)


def test_subgroups_are_flagged_where_a_gap_is():
    level = {
        "level": "dark",
        "rows": 31,
        "groups": 9,
        "positives": 12,
        "negatives": 19,
        "auc": KNOWN,
        "sensitivity": UNKNOWN,
        "specificity": KNOWN,
        "observed_expected": KNOWN,
    }
    gap = {"value": -0.081, "is_ratio": False, "is_flagged": True}
    ratio = {"value": 1.5, "is_ratio": True, "is_flagged": False}
    levels = [{**level, "gaps": {"auc": gap, "observed_expected": ratio}}, {**level, "level": "light", "gaps": {}}]
    judged = {"columns": {"skin tone": levels}, "num_tests": 4, "alpha": 0.05, "correction": "Holm"}
    found = subgroups_from(judged, unit="lesion")
    assert isinstance(found, Subgroups) and [row.is_flagged for row in found.rows] == [True, False]
    assert found.rows[0].note == "ROC AUC -0.081 beside all others" and "Holm for 4 tests" in found.how
    assert "by lesion" in found.how and "certain" not in found.how
    toned = subgroups_from({**judged, "share_of_certain_tones": 0.41}, unit="image", at_rows="at 2 %")
    assert "certain" in toned.how and "41%" in toned.how and "Observed : expected is at 2 %." in toned.how
    assert isinstance(subgroups_from({**judged, "columns": {}}, unit="lesion"), Missing)


def test_prediction_sets_say_what_was_asked_and_found():
    verified = {"stated": 0.9, "coverage": KNOWN, "mean_size": 1.95, "share_of_one_class": 0.05}
    verified |= {"is_by_class": True, "by_class": [KNOWN, {"value": 0.8, "low": 0.6, "high": 0.9}]}
    served = {"mean_size": 1.74, "share_of_one_class": 0.26}
    risk = {"aurc": 0.03, "coverage": [0.5, 1.0], "risk": [0.02, 0.1], "certainty": [0.4, 0.0]}
    referral = {
        "share_referred": 0.1,
        "answered": {"value": 0.04, "low": 0.02, "high": 0.07},
        "referred": {"value": 0.31, "low": 0.2, "high": 0.45},
    }
    found = uncertainty_from(
        {"classes": ["no", "yes"], "served": served, "verified": verified, "risk": risk, "referral": referral},
        unit="patient",
        how="Least ambiguous sets.",
    )
    assert (
        "least certain 10% of the images are referred to a person, 4.0 % (2.0 to 7.0 %) of the other" in found.referral
    )
    assert found.target_coverage == 0.9 and found.selective.y == (0.02, 0.1)
    assert "sets. 1.95 classes in a set on average, 5% of sets hold one class." in found.how
    assert "made by all patients, those told here by fewer; served: 1.74 classes" in found.how and "26%" in found.how
    page = render(binary().model_copy(update={"uncertainty": found}))
    assert "Asked, of each class: 90 % of the patients with images of it have it in the sets of all these" in page
    assert "no 91.0 % (86.0 to 94.0 %); yes 80.0 % (60.0 to 90.0 %); all patients, with all their images" in page
    nothing = {"stated": 0.9, "coverage": UNKNOWN, "mean_size": None, "share_of_one_class": None}
    no_rows = {"why": "there are no rows"}
    empty = uncertainty_from({"verified": nothing, "risk": no_rows, "referral": no_rows}, unit="patient", how="")
    assert empty.selective == Missing(why="There are no rows.") and empty.referral == ""


def test_maps_are_told_beside_a_random_one():
    record = {
        "method": "gradcam",
        "level": "stage 3",
        "insertion": 0.81,
        "deletion": 0.22,
        "num_pictures": 8,
        "chance": {"insertion": 0.5, "deletion": 0.49},
        "agreement": None,
        "randomised": 0.34,
        "randomised_other": 0.31,
        "warning": "",
    }
    found = {metric.key: metric for metric in explanation_from(record).metrics}
    assert found["deletion"].number.value == 0.22 and found["deletion"].note == "a random map 0.490"
    assert found["agreement"].number.why == "not measured" and found["randomised"].number.value == 0.34
    assert found["randomised"].note == "maps of different images 0.31"
    assert explanation_from(record).how.startswith("gradcam on stage 3, chosen by deletion and insertion on 8 ")


def test_maps_that_are_no_better_than_random_ones_are_warned_of_on_page_and_card():
    record = {
        "method": "cam",
        "insertion": 0.5,
        "deletion": 0.5,
        "num_pictures": 12,
        "chance": {"insertion": 0.52, "deletion": 0.48},
        "warning": "on 12 images no map was clearly better than a random one",
    }
    facts = binary().model_copy(update={"explanation": explanation_from(record)})
    said = record["warning"]
    assert ("warning", f"do not read the maps: {said}.") in doubts(facts)
    assert said in render(facts) and said in model_card(facts)
    better = explanation_from({**record, "warning": ""})
    assert better.warning == "" and said not in render(binary().model_copy(update={"explanation": better}))


def test_the_page_of_real_judgements_is_whole():
    """Once evaluation/judgement.py and its neighbours are here, with what they really say."""
    judgement = pytest.importorskip("lesion.evaluation.judgement")
    subgroups = pytest.importorskip("lesion.evaluation.subgroups")
    rng = np.random.default_rng(0)
    group_S, target_S = np.repeat(np.arange(100), 2), (rng.random(200) < 0.3).astype(float)
    prob_S = 1 / (1 + np.exp(-(rng.normal(0, 1, 200) + 2 * target_S - 1)))
    says_S = prob_S >= 0.4
    rows = judgement.Rows(target_S[:, None], prob_S[:, None], group_S, ["melanoma"], False, says_S[:, None])
    judged = judgement.judge(rows, parts={"fold": np.arange(200) % 3}, num_draws=50)
    levels = {"sex": np.where(np.arange(200) % 2, "male", "female")}
    facts = binary().model_copy(
        update={
            "metrics": metrics_from(judged["overall"]) + calibration_from(judged["outputs"]["melanoma"]),
            "classes": classes_from(judged),
            "subgroups": subgroups_from(
                subgroups.judge_subgroups(levels, target_S, prob_S, says_S, group_S), unit="patient"
            ),
        }
    )
    assert f"{judged['overall']['roc_auc']['value']:.3f}" in render(facts)


def test_curves_of_a_single_patient_have_no_band():
    rng = np.random.default_rng(0)
    is_yes_S1, group_S = rng.random((80, 1)) < 0.4, np.full(80, "P")
    prob_S1 = np.clip(0.4 + 0.3 * is_yes_S1 + rng.normal(0, 0.2, (80, 1)), 0, 1)
    judged = judge(Rows(is_yes_S1.astype(float), prob_S1, group_S, ["melanoma"], False, prob_S1 >= 0.5))
    decision = decision_curves(judged)
    assert not isinstance(decision, Missing) and decision[0].low is None and len(decision[0].y) > 10
    for curve in () if isinstance(found := calibration_curves(judged), Missing) else found:
        assert curve.low is None


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        ({"slope": {"value": 3.92, "low": 1.61, "high": 6.24}}, "too cautious: slope 3.9 (1.6 to 6.2)"),
        ({"slope": {"value": 0.5, "low": 0.3, "high": 0.7}}, "too extreme: slope 0.5 (0.3 to 0.7)"),
        ({"intercept": {"value": -0.9, "low": -1.4, "high": -0.4}}, "too high: intercept -0.9 (-1.4 to -0.4)"),
        ({"intercept": {"value": 0.9, "low": 0.4, "high": 1.4}}, "too low: intercept 0.9 (0.4 to 1.4)"),
        ({"ece": {"value": 0.09, "noise_line": 0.04}}, "0.090 from the observed shares on average (ECE), more than"),
        ({"slope": {"value": 1.5, "low": 0.7, "high": 2.3}, "ece": {"value": 0.02, "noise_line": 0.04}}, ""),
        ({"slope": {"value": None, "why": "one class only"}, "ece": {"value": None, "why": "none"}}, ""),
    ],
)
def test_a_calibration_that_chance_does_not_explain_is_a_doubt_on_the_first_screen(calibration, said):
    facts = binary().model_copy(update={"metrics": calibration_from({"calibration": calibration})})
    doubted = [text for level, text in doubts(facts) if level == "warning" and text.startswith("probabilities are")]
    assert (said in doubted[0]) if said else doubted == []
