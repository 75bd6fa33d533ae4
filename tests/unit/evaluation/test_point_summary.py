"""Point summary: counts and intervals by hand, by statsmodels and by Mercaldo's formula, and by patient."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.linearised import share
from lesion.evaluation.point_summary import summarise_points


def rows(true_positives, false_negatives, true_negatives, false_positives):
    counts = (true_positives, false_negatives, true_negatives, false_positives)
    target_S, is_yes_S = np.repeat([1.0, 1.0, 0.0, 0.0], counts), np.repeat([True, False, False, True], counts)
    return target_S, is_yes_S, np.arange(sum(counts))


def summarise_point(target_S, is_yes_S, group_S, **options):
    """Of one answer to one question."""
    [[told]] = summarise_points(target_S[:, None], [is_yes_S[:, None]], group_S, **options)
    return told


def test_the_interval_of_a_share_is_wilsons():
    is_hit_S = np.repeat([True, False], [4600, 400])
    one = share(is_hit_S, np.arange(5000))
    assert (one.low, one.high) == pytest.approx(proportion_confint(4600, 5000, method="wilson"), abs=2e-5)
    assert one.value == 0.92 and one.effective == pytest.approx(5000, rel=1e-3)
    few = share(np.arange(10) < 8, np.arange(10))  # Student's t of nine is 2.26, the normal's 1.96
    normal = proportion_confint(few.hits, 10, method="wilson")
    assert few.low < normal[0] and few.high > normal[1]


def test_copies_of_a_patients_rows_add_nothing():
    rng = np.random.default_rng(0)
    is_hit_S, group_S = rng.random(80) < 0.8, np.arange(80)
    once, thrice = share(is_hit_S, group_S), share(is_hit_S.repeat(3), group_S.repeat(3))
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert share(is_hit_S.repeat(3), np.arange(240)).low > once.low  # what rows would have claimed


def test_a_share_of_all_rows_is_not_sure():
    one = share(np.ones(100, bool), np.repeat(np.arange(20), 5))
    assert one.high == 1.0 and one.low == pytest.approx(20 / (20 + 2.093**2), abs=1e-3)
    assert share(np.zeros(100, bool), np.arange(100)).low == 0.0
    assert share(np.ones(5, bool), np.zeros(5)).why == "one group: no interval"
    assert share(np.ones(0, bool), np.zeros(0)).value is None


def test_counts_and_rates_by_hand():
    told = summarise_point(*rows(90, 10, 800, 100), prevalence=0.01)
    assert [told[name] for name in ("true_positives", "false_negatives", "true_negatives", "false_positives")] == [
        90, 10, 800, 100,
    ]  # fmt: skip
    assert told["sensitivity"]["value"] == 0.9 and told["specificity"]["value"] == pytest.approx(8 / 9)
    assert told["ppv"]["value"] == pytest.approx(0.01 * 0.9 / (0.01 * 0.9 + 0.99 / 9))
    assert told["npv"]["value"] == pytest.approx(0.99 * 8 / 9 / (0.99 * 8 / 9 + 0.01 * 0.1))
    assert told["per_1000"]["found"]["value"] == pytest.approx(9)
    assert told["per_1000"]["false_alarms"]["value"] == pytest.approx(110)
    assert told["sentence"].startswith("Of 1,000 images, 10 of them positive, 9")
    assert json.loads(json.dumps(told)) == told
    assert summarise_point(*rows(90, 10, 800, 100))["prevalence"] == 0.1


def test_predictive_values_have_nearly_mercaldos_intervals():
    """logit PPV ± z √((1 − se) ∕ (se · n₁) + sp ∕ ((1 − sp) · n₀)) (Mercaldo et al. 2007, section 2.2)."""
    told = summarise_point(*rows(900, 100, 8000, 1000), prevalence=0.05)
    for name, rate, other, num_same, num_other, prior in (
        ("ppv", 0.9, 8 / 9, 1000, 9000, 0.05),
        ("npv", 8 / 9, 0.9, 9000, 1000, 0.95),
    ):
        error = math.sqrt((1 - rate) / (rate * num_same) + other / ((1 - other) * num_other))
        middle = math.log(prior * rate / ((1 - prior) * (1 - other)))
        ends = [1 / (1 + math.exp(-(middle + sign * 1.96 * error))) for sign in (-1, 1)]
        assert [told[name]["low"], told[name]["high"]] == pytest.approx(ends, abs=0.1 * (ends[1] - ends[0]))


def test_one_answer_has_one_interval_wherever_it_is_told():
    """The report's table of thresholds and its table of metrics say the same, and metrics.json too."""
    rng = np.random.default_rng(3)
    group_S, target_S2 = np.arange(240) // 3, (rng.random((240, 2)) < 0.3).astype(float)
    prob_S2 = np.clip(0.3 * target_S2 + rng.random((240, 2)) * 0.7, 0, 1)
    answers = [prob_S2 >= 0.6, prob_S2 >= 0.4]
    told = summarise_points(target_S2, answers, group_S, prevalence=0.05)
    for is_yes_S2, of_answer in zip(answers, told, strict=True):
        judged = judge(Rows(target_S2, prob_S2, group_S, ["a", "b"], False, is_yes_S2, [0.05, 0.05]))
        for name, point in zip("ab", of_answer, strict=True):
            measures = judged["outputs"][name]["measures"]
            for of_point, of_measure in (
                ("sensitivity", "sensitivity"), ("specificity", "specificity"), ("ppv", "ppv_at_prevalence"),
            ):  # fmt: skip
                assert point[of_point] == measures[of_measure]
    assert told[0][0]["sensitivity"] != told[1][0]["sensitivity"]


DEGENERATE = [(0, 0, 0, 0), (5, 5, 0, 0), (0, 0, 5, 5), (10, 0, 10, 0), (0, 10, 10, 0), (0, 10, 0, 9), (9, 0, 0, 9)]


@pytest.mark.parametrize("counts", DEGENERATE)
def test_degenerate_counts_have_reasons(counts):
    told = summarise_point(*rows(*counts))
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        value = told[name]["value"]
        assert (value is None and told[name]["why"]) or told[name]["low"] <= value <= told[name]["high"]
    assert "NaN" not in json.dumps(told)
    if told["prevalence"] in (0, 1):
        assert told["ppv"]["value"] is told["npv"]["value"] is told["per_1000"] is None
    missing = summarise_point(np.full(4, np.nan), np.ones(4, bool), np.arange(4))
    assert missing["sensitivity"]["value"] is None and missing["per_1000"] is None


def test_one_patient_has_no_interval():
    target_S, is_yes_S, group_S = rows(5, 5, 5, 5)
    told = summarise_point(target_S, is_yes_S, np.zeros_like(group_S))
    assert told["sensitivity"]["value"] == 0.5 and "one group" in told["sensitivity"]["why"]
    assert "low" not in told["ppv"]


def test_predictive_values_know_that_a_patients_rows_are_alike():
    """The interval's width is that of a bootstrap over patients, some of whom are called positive in all rows."""
    rng = np.random.default_rng(0)
    group_S, target_S = np.repeat(np.arange(300), 4), np.tile([1.0, 1, 0, 0], 300)
    is_yes_S = rng.random(1200) < np.clip(0.45 * target_S + 0.25 + 0.3 * np.repeat(rng.normal(0, 1, 300), 4), 0, 1)
    told = summarise_point(target_S, is_yes_S, group_S, prevalence=0.1)

    def logit_ppv(patients):
        rows_S = (patients[:, None] * 4 + np.arange(4)).ravel()
        target, is_yes = target_S[rows_S], is_yes_S[rows_S]
        return math.log(is_yes[target == 1].mean() / is_yes[target == 0].mean())

    spread = np.std([logit_ppv(rng.integers(0, 300, 300)) for _ in range(1000)])
    low, high = (math.log(told["ppv"][end] / (1 - told["ppv"][end])) for end in ("low", "high"))
    assert high - low == pytest.approx(2 * 1.968 * spread, rel=0.1)
