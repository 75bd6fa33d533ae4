"""Intervals: their width by the binomial, and that groups are resampled, not rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.counting import RowMeans
from lesion.evaluation.delong import areas
from lesion.evaluation.intervals import Estimate, area_estimate, draws_interval, t_interval
from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.metrics import roc_auc
from lesion.evaluation.resampling import draws


def auc_interval(target_S, prob_S, group_S) -> Estimate:
    return area_estimate(areas(target_S, prob_S[:, None], group_S))


def judged(target_S, prob_S, group_S):
    """Every measure with its interval, of labels at a half."""
    columns = (target_S[:, None], prob_S[:, None], group_S, ["yes"], False, prob_S[:, None] >= 0.5)
    return judge(Rows(*columns), num_draws=1000)["overall"]


def roc_auc_interval(target_S, prob_S, group_S):
    found = judged(target_S, prob_S, group_S)["roc_auc"]
    return found["low"], found["high"]


def test_the_interval_holds_the_point():
    rng = np.random.default_rng(1)
    target_S = (rng.random(200) < 0.3).astype(np.float32)
    prob_S = np.clip(0.3 * target_S + rng.random(200) * 0.7, 0, 1)
    low, high = roc_auc_interval(target_S, prob_S, np.arange(200).astype(str))
    assert 0.5 < low < roc_auc(target_S, prob_S) < high <= 1


def test_the_interval_has_the_width_of_the_binomial():
    """The mean of n outcomes has the standard error √(p (1 − p) ∕ n); 95 % lie within ± 1.96 of it."""
    found = judged(np.zeros(100), np.repeat([0.0, 1.0], [70, 30]), np.arange(100).astype(str))["accuracy"]
    low, high = found["low"], found["high"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.3 * 0.7 / 100), rel=0.15)


def test_copies_of_a_patient_add_no_certainty():
    rng = np.random.default_rng(2)
    target_S = (rng.random(60) < 0.4).astype(np.float32)
    prob_S = np.clip(0.3 * target_S + rng.random(60) * 0.7, 0, 1)
    group_S = np.array([f"P{row:02d}" for row in range(60)])
    copies = np.arange(60).repeat(5)

    def width(groups: np.ndarray, rows: np.ndarray) -> float:
        low, high = roc_auc_interval(target_S[rows], prob_S[rows], groups)
        return high - low

    once = width(group_S, np.arange(60))
    assert width(group_S[copies], copies) == pytest.approx(once, rel=1e-6)  # the same draws, each row five times
    assert width(np.arange(300).astype(str), copies) < 0.7 * once  # what drawing rows would have claimed


def test_an_interval_that_no_draw_defines_is_left_out_and_three_right_answers_prove_little():
    """Three of three: Clopper and Pearson's lower end is 0.025 to the power 1/3."""
    of_one = judged(np.zeros(3), np.zeros(3), np.array(["a", "b", "c"]))
    exact = scipy.stats.binomtest(3, 3).proportion_ci(0.95, method="exact")
    found = of_one["accuracy"]
    assert of_one["roc_auc"]["value"] is None and (found["low"], found["high"]) == pytest.approx(
        (exact.low, exact.high)
    )


def test_an_interval_by_hand():
    """0.8 ± t(4 degrees) · 0.05 on the logit's scale, whose slope at 0.8 is 1 ∕ 0.16."""
    found, reach = t_interval(0.8, 0.05, 5), 2.776445 * 0.05 / 0.16
    ends = [1 / (1 + math.exp(-(math.log(4) + side * reach))) for side in (-1, 1)]
    assert [found.low, found.high] == pytest.approx(ends, rel=1e-6) and "only 5 groups" in found.why


def test_the_interval_of_a_mean_of_patients_is_students():
    """Rows that are patients: in the limit of many draws the t interval of a mean (Student 1908), as SciPy has it."""
    values_S = np.array([0.1, 0.4, 0.35, 0.9, 0.2])
    mean = RowMeans.of({"loss": values_S}, np.arange(5), 5)
    drawn_B = np.concatenate([mean.measure(weights_GB)["loss"] for weights_GB in draws(5, 40_000, seed=0)])
    found = draws_interval(values_S.mean(), drawn_B, 5, bounds=(-math.inf, math.inf))
    student = scipy.stats.ttest_1samp(values_S, 0).confidence_interval()
    assert [found.low, found.high] == pytest.approx([student.low, student.high], abs=0.01)


@given(st.floats(-1, 1), st.floats(0, 2), st.integers(2, 100))
def test_no_interval_leaves_the_range_of_its_measure(value, error, num_groups):
    found = t_interval(value, error, num_groups, bounds=(-1, 1))
    assert -1 <= found.low <= value + 1e-9 and value - 1e-9 <= found.high <= 1


def test_one_patient_or_a_class_of_one_patient_gives_a_number_without_interval():
    alone = auc_interval(np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.05, 0.4]), np.zeros(4))
    assert alone.value == 0.25 and alone.low is None and "one group" in alone.why
    shared = auc_interval(np.array([0, 1, 1, 0]), np.array([0.1, 0.2, 0.05, 0.4]), np.array([0, 1, 1, 2]))
    assert shared.value == 0.25 and shared.low is None and "all rows of a class" in shared.why


def test_few_patients_get_intervals_that_hold_the_truth():
    """Seven slides of some 20 tiles that shift together: the pooled area is 0.805 in the limit (400,000 tiles).
    Percentiles of the bootstrap held it in 0.85 of such draws (benchmarks/interval_coverage.py)."""
    rng = np.random.default_rng(3)
    held = []
    for _ in range(300):
        group_S = np.repeat(np.arange(7), 20)
        chance_G = 1 / (1 + np.exp(1 - rng.normal(size=7)))
        target_S = (rng.random(140) < chance_G[group_S]).astype(float)
        score_S = 1.4 * target_S + 0.6 * rng.normal(size=7)[group_S] + rng.normal(size=140)
        found = auc_interval(target_S, score_S, group_S)
        held.append(found.low <= 0.805 <= found.high)
    assert 0.91 <= np.mean(held) <= 0.995


@pytest.mark.parametrize("num_yes", [10, 490])
def test_all_pairs_in_order_are_as_certain_as_the_scarce_class_has_patients(num_yes):
    """Ten patients are on the scarce side: Clopper and Pearson's end of 10 of 10."""
    target_S = np.arange(500) < num_yes
    found = auc_interval(target_S, target_S.astype(float), np.arange(500))
    exact = scipy.stats.binomtest(10, 10).proportion_ci(0.95, method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((1, exact.low, 1)) and "only 10 groups" in found.why
    label_S1 = target_S[:, None]
    both = Rows(np.c_[target_S, ~target_S], np.c_[label_S1, ~label_S1].astype(float), np.arange(500), list("ab"), False)
    mean = judge(both, num_draws=200)["overall"]["roc_auc"]  # of two outputs as of one
    assert (mean["low"], mean["high"]) == pytest.approx((exact.low, 1))
