"""Comparison: differences by patient, beside scikit-learn's values, and what non-inferiority needs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from scipy.special import expit

from lesion.evaluation.comparison import compare
from lesion.evaluation.judgement import Rows


def two_models(num_rows=600, *, gain=0.3, rows_a_patient=3, seed=0):
    """B sees the truth `gain` better than A; both see the same noise."""
    rng = np.random.default_rng(seed)
    target_S1 = (rng.random((num_rows, 1)) < 0.3).astype(float)
    noise_S1 = rng.normal(size=(num_rows, 1))
    group_S = np.arange(num_rows) // rows_a_patient
    probs = [
        expit(-1 + (1.0 + more) * target_S1 + noise_S1 + rng.normal(scale=0.3, size=(num_rows, 1)))
        for more in (0.0, gain)
    ]
    return [Rows(target_S1, prob_S1, group_S, ["melanoma"], False, label_SQ=prob_S1 >= 0.4) for prob_S1 in probs]


def test_differences_are_those_of_the_measures_with_intervals_that_hold_them():
    a, b = two_models()
    found = compare(a, b, margin=0.02, num_draws=400)
    area = found["measures"]["roc_auc"]
    areas = [sklearn.metrics.roc_auc_score(rows.target_SQ, rows.prob_SQ) for rows in (a, b)]
    assert [area["a"], area["b"]] == pytest.approx(areas)
    assert area["difference"]["value"] == pytest.approx(areas[1] - areas[0])
    recalls = [sklearn.metrics.recall_score(rows.target_SQ, rows.label_SQ) for rows in (a, b)]
    assert found["measures"]["sensitivity"]["difference"]["value"] == pytest.approx(recalls[1] - recalls[0])
    for name, measure in found["measures"].items():
        difference = measure["difference"]
        assert difference["low"] < difference["value"] < difference["high"], name
    error = (area["difference"]["high"] - area["difference"]["low"]) / 2 / 1.96
    assert found["delong"]["error"] == pytest.approx(error, rel=0.05)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_difference_of_means_has_the_interval_of_a_paired_t_test():
    a, b = two_models(600, rows_a_patient=1)
    squares = [(rows.prob_SQ[:, 0] - rows.target_SQ[:, 0]) ** 2 for rows in (a, b)]
    expected = scipy.stats.ttest_rel(squares[1], squares[0]).confidence_interval()
    found = compare(a, b, margin=0.02, num_draws=4000)["measures"]["brier"]["difference"]
    width = expected.high - expected.low
    assert [found["low"], found["high"]] == pytest.approx([expected.low, expected.high], abs=0.05 * width)


def test_copies_of_a_patients_rows_make_no_difference_more_certain():
    a, b = two_models(200, rows_a_patient=1)
    copies = np.arange(200).repeat(3)
    tripled = [
        Rows(rows.target_SQ[copies], rows.prob_SQ[copies], rows.group_S[copies], rows.name_Q, False) for rows in (a, b)
    ]
    once, thrice = (compare(*pair, margin=0.02, num_draws=400)["measures"] for pair in ((a, b), tripled))
    for name in ("roc_auc", "brier", "average_precision"):
        widths = [found[name]["difference"]["high"] - found[name]["difference"]["low"] for found in (once, thrice)]
        assert widths[1] == pytest.approx(widths[0], rel=0.02), name


@pytest.mark.parametrize(("gain", "margin", "is_met", "is_superior"), [
    (0.6, 0.02, True, True), (0.0, 0.05, True, False), (0.0, 0.001, False, False), (-0.6, 0.02, False, False),
])  # fmt: skip
def test_what_is_shown_depends_on_the_margin(gain, margin, is_met, is_superior):
    verdict = compare(*two_models(3000, gain=gain, rows_a_patient=1), margin=margin, num_draws=200)["non_inferiority"]
    assert (verdict["is_met"], verdict["is_superior"]) == (is_met, is_superior)


def test_rows_that_changed_sides_are_counted_by_what_is_true():
    target_S1 = np.array([1, 1, 1, 0, 0, 0.0])[:, None]
    labels = [
        np.array(words)[:, None]
        for words in ([True, False, True, False, True, False], [False, True, True, True, False, False])
    ]
    a, b = (
        Rows(target_S1, np.full((6, 1), 0.5), np.arange(6), ["yes"], False, label_SQ=label_S1) for label_S1 in labels
    )
    changed = compare(a, b, margin=0, num_draws=200)["changed"]
    assert changed["rows"] == [0, 1, 3, 4]
    assert changed["outputs"]["yes"] == {
        "positives_won": 1,
        "positives_lost": 1,
        "negatives_won": 1,
        "negatives_lost": 1,
    }


def test_too_few_rows_or_patients_are_said_in_words():
    a, b = two_models(20, rows_a_patient=20)
    found = compare(a, b, margin=0.02)
    assert found["non_inferiority"]["is_met"] is None and found["non_inferiority"]["why"]
    assert found["measures"]["brier"]["difference"]["why"] == "one group alone gives no interval"
    few = compare(*two_models(12), margin=0.02, num_draws=200)
    assert "roc_auc" not in few["measures"] and few["non_inferiority"]["why"] == few["unranked"]["melanoma"]
    assert few["unranked"]["melanoma"].startswith("too few positives (")
    json.dumps([found, few], allow_nan=False)


def test_several_classes_are_compared_by_their_mean():
    rng = np.random.default_rng(0)
    class_S = rng.integers(0, 3, 300)
    probs = [
        rng.dirichlet(np.ones(3), 300) * 0.5 + 0.5 * share * np.eye(3)[class_S] + (1 - share) / 6
        for share in (0.3, 0.5)
    ]
    a, b = (Rows(np.eye(3)[class_S], prob_SQ, np.arange(300), list("xyz"), True) for prob_SQ in probs)
    found = compare(a, b, margin=0.02, num_draws=200)
    for name, function in (("accuracy", sklearn.metrics.accuracy_score),):
        values = [function(class_S, prob_SQ.argmax(axis=1)) for prob_SQ in probs]
        assert [found["measures"][name][side] for side in "ab"] == pytest.approx(values)
    assert found["delong"] is None and found["measures"]["roc_auc"]["difference"]["low"] > 0


def test_ten_positives_that_both_find_prove_nothing_and_more_are_counted_as_ten():
    """500 patients, ten of them ill, whom both models rank first: no difference, and no interval to show it by."""
    target_S1 = (np.arange(500) < 10).astype(float)[:, None]
    rng = np.random.default_rng(0)
    a, b = (Rows(target_S1, 0.6 * target_S1 + 0.3 * rng.random((500, 1)), np.arange(500), ["ill"], False) for _ in "ab")
    a, b = (replace(rows, label_SQ=rows.prob_SQ >= 0.5) for rows in (a, b))
    found = compare(a, b, margin=0.001, num_draws=200)
    assert found["measures"]["roc_auc"]["difference"] == {"value": 0, "why": found["non_inferiority"]["why"]}
    assert found["non_inferiority"]["is_met"] is None and "do not differ" in found["non_inferiority"]["why"]
    assert "low" not in found["measures"]["sensitivity"]["difference"]

    itself = compare(a, a, margin=0.001, num_draws=200)  # but a model is not inferior to itself
    assert itself["non_inferiority"] == {"is_met": True, "is_superior": False, "low": 0}

    missed_S1 = b.label_SQ & (np.arange(500) >= 3)[:, None]  # B misses three of the ten: a paired t of 10, not of 500
    difference = compare(a, replace(b, label_SQ=missed_S1), margin=0.1, num_draws=4000)["measures"]["sensitivity"]
    expected = scipy.stats.ttest_1samp(np.repeat([-1.0, 0.0], [3, 7]), 0).confidence_interval()
    low, high = (difference["difference"][end] for end in ("low", "high"))
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.08)
