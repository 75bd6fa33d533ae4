"""Subgroups: bands of columns, statsmodels' correction, estimates by hand, and gaps that are and are not there."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.stats.multitest import multipletests

from lesion.evaluation.bands import banded
from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.metrics import roc_auc
from lesion.evaluation.subgroups import holm, judge_subgroups


def drawn(num_rows=2000, seed=0, shift=0.0):
    """Targets, probabilities and a column of two levels; in level b outcomes are likelier than said by `shift`."""
    rng = np.random.default_rng(seed)
    score_S, is_b_S = rng.normal(-1, 2, num_rows), rng.random(num_rows) < 0.4
    target_S = (rng.random(num_rows) < 1 / (1 + np.exp(-score_S - shift * is_b_S))).astype(float)
    return target_S, 1 / (1 + np.exp(-score_S)), np.where(is_b_S, "b", "a")


def judged(target_S, prob_S, columns, group_S=None):
    group_S = np.arange(len(target_S)) if group_S is None else group_S
    return judge_subgroups(columns, target_S, prob_S, prob_S >= 0.3, group_S)


@pytest.mark.parametrize("num_tests", [1, 2, 7, 50])
def test_the_correction_is_statsmodels(num_tests):
    p_M = np.random.default_rng(num_tests).beta(0.3, 1, num_tests).round(3).tolist()  # small ones, and equal ones
    assert holm(p_M) == pytest.approx(multipletests(p_M, method="holm")[1].tolist())
    assert holm([]) == []


def test_estimates_are_those_of_the_rows():
    target_S, prob_S, level_S = drawn()
    (of_a, of_b) = judged(target_S, prob_S, {"level": level_S})["columns"]["level"]
    is_b_S = level_S == "b"
    assert (of_a["level"], of_b["level"]) == ("a", "b") and of_b["rows"] == is_b_S.sum()
    assert of_b["auc"]["value"] == pytest.approx(roc_auc(target_S[is_b_S], prob_S[is_b_S]))
    is_yes_S = prob_S >= 0.3
    assert of_b["sensitivity"]["value"] == pytest.approx(is_yes_S[is_b_S & (target_S == 1)].mean())
    assert of_b["specificity"]["value"] == pytest.approx(1 - is_yes_S[is_b_S & (target_S == 0)].mean())
    assert of_b["observed_expected"]["value"] == pytest.approx(target_S[is_b_S].sum() / prob_S[is_b_S].sum())
    for measure in ("auc", "sensitivity", "specificity", "observed_expected"):
        assert of_b[measure]["low"] < of_b[measure]["value"] < of_b[measure]["high"]
    gap = of_b["gaps"]["auc"]
    assert gap["value"] == pytest.approx(of_b["auc"]["value"] - of_a["auc"]["value"])
    assert of_a["gaps"]["auc"]["value"] == -gap["value"] and of_a["gaps"]["auc"]["p"] == gap["p"]


def normal_rows(rng, auc, num_positives, num_negatives, rows_of_patient=1):
    """Targets, scores and patients, each with one class; scores of a patient are alike, and `auc` is the area in the
    limit of many rows."""
    target_S = np.repeat([1.0, 0.0], [num_positives, num_negatives])
    patient_S = np.r_[np.arange(num_positives), num_positives + np.arange(num_negatives)] // rows_of_patient
    patient_S += (1000 * (1 - target_S)).astype(int)
    noise_S = rng.normal(size=len(target_S))
    if rows_of_patient > 1:
        noise_S = (noise_S + rng.normal(size=2000)[patient_S]) / math.sqrt(2)
    return target_S, norm.cdf(noise_S + target_S * math.sqrt(2) * norm.ppf(auc)), patient_S


def area_of(target_S, prob_S, group_S):
    columns = {"sex": np.full(len(target_S), "female")}
    return judged(target_S, prob_S, columns, group_S)["columns"]["sex"][0]["auc"]


@pytest.mark.parametrize("auc", [0.8, 0.99])
@pytest.mark.parametrize(("num_positives", "num_negatives", "rows_of_patient"), [(12, 24, 1), (35, 67, 1), (30, 72, 3)])
def test_the_interval_of_an_area_holds_the_truth_at_both_ends(auc, num_positives, num_negatives, rows_of_patient):
    rng = np.random.default_rng(5)
    found = [area_of(*normal_rows(rng, auc, num_positives, num_negatives, rows_of_patient)) for _ in range(250)]
    is_above, is_below = ([one["high"] < auc for one in found], [one["low"] > auc for one in found])
    assert np.mean(is_above) < 0.06 and np.mean(is_below) < 0.07
    assert 1 - np.mean(is_above) - np.mean(is_below) > 0.91
    assert all(one["value"] < one["high"] or one["value"] > 1 - 1e-12 for one in found)


def test_the_interval_of_an_area_is_delongs_on_the_logit():
    """Where each row is a patient: DeLong et al. 1988, eq. 5, from all pairs."""
    target_S, prob_S, patient_S = normal_rows(np.random.default_rng(11), 0.97, 35, 67)
    found = area_of(target_S, prob_S, patient_S)
    pairs_MN = (prob_S[target_S == 1][:, None] > prob_S[target_S == 0]).astype(float)
    auc = pairs_MN.mean()
    variance = pairs_MN.mean(axis=1).var(ddof=1) / 35 + pairs_MN.mean(axis=0).var(ddof=1) / 67
    reach = t.ppf(0.975, 50) * math.sqrt(variance) / (auc * (1 - auc))
    ends = [1 / (1 + math.exp(-(math.log(auc / (1 - auc)) + side * reach))) for side in (-1, 1)]
    assert 0.95 < auc < 0.995 and found["value"] == pytest.approx(auc)
    assert [found["low"], found["high"]] == pytest.approx(ends, abs=0.003)


def test_a_subgroup_of_all_rows_has_the_interval_of_all_rows():
    target_S, prob_S, patient_S = normal_rows(np.random.default_rng(2), 0.95, 30, 72, 3)
    whole = judge(Rows(target_S[:, None], prob_S[:, None], patient_S.astype(str), ["yes"], False), num_draws=0)
    found, of_all = area_of(target_S, prob_S, patient_S), whole["overall"]["roc_auc"]
    assert [found[key] for key in ("value", "low", "high")] == pytest.approx(
        [of_all[k] for k in ("value", "low", "high")]
    )


def test_observed_to_expected_has_the_interval_of_its_logarithm():
    """At one probability for all, var log O : E is (1 − share) ∕ O (Debray et al. 2017)."""
    target_S, prob_S = np.repeat([1.0, 0.0], [300, 1700]), np.full(2000, 0.1)
    one = judged(target_S, prob_S, {"all": np.full(2000, "x")})["columns"]["all"][0]["observed_expected"]
    half = 1.96 * math.sqrt(0.85 / 300)
    assert (one["low"], one["high"]) == pytest.approx((1.5 * math.exp(-half), 1.5 * math.exp(half)), rel=2e-3)


def test_no_gap_is_not_flagged_and_a_real_one_is():
    nothing = judged(*drawn()[:2], {"level": drawn()[2]})
    assert not any(gap["is_flagged"] for one in nothing["columns"]["level"] for gap in one["gaps"].values())
    target_S, prob_S, level_S = drawn(shift=1.5)
    of_a, of_b = judged(target_S, prob_S, {"level": level_S})["columns"]["level"]
    gap = of_b["gaps"]["observed_expected"]
    assert gap["is_flagged"] and gap["value"] > 1.2 and gap["low"] > 1
    assert of_a["gaps"]["observed_expected"]["high"] < 1


def test_more_columns_make_a_gap_harder_to_flag_and_intervals_say_the_same():
    target_S, prob_S, level_S = drawn(700, shift=0.6)
    rng = np.random.default_rng(1)
    many = {f"column_{n}": rng.integers(0, 5, 700).astype(str) for n in range(8)}
    alone = judged(target_S, prob_S, {"level": level_S})
    among = judged(target_S, prob_S, {"level": level_S, **many})
    assert alone["num_tests"] == 4 and among["num_tests"] == 4 + 8 * 5 * 4
    gaps = [report["columns"]["level"][0]["gaps"]["observed_expected"] for report in (alone, among)]
    assert gaps[0]["p"] == gaps[1]["p"] and gaps[0]["p_corrected"] < gaps[1]["p_corrected"]
    for report in (alone, among):
        for levels in report["columns"].values():
            for gap in (gap for one in levels for gap in one["gaps"].values()):
                nothing = 1 if gap["is_ratio"] else 0
                assert gap["is_flagged"] == (not gap["low"] <= nothing <= gap["high"])


def test_an_interval_leaves_out_zero_exactly_where_its_gap_is_flagged():
    """Also behind the first gap that is not flagged, where a gap's own level would say otherwise."""
    behind = 0
    for seed in range(60):
        target_S, prob_S, level_S = drawn(400, shift=0.45, seed=seed)
        # Eight times the same gaps: equal p at growing levels.
        columns = judged(target_S, prob_S, {str(number): level_S for number in range(8)})["columns"]
        gaps = [gap for levels in columns.values() for gap in levels[0]["gaps"].values()]
        for rank, gap in enumerate(sorted(gaps, key=lambda gap: gap["p"])):
            nothing = 1 if gap["is_ratio"] else 0
            assert gap["is_flagged"] == (not gap["low"] <= nothing <= gap["high"])
            behind += not gap["is_flagged"] and gap["p"] < 0.05 / (32 - rank)
    assert behind


def test_copies_of_a_patients_rows_flag_nothing():
    target_S, prob_S, level_S = drawn(150, shift=0.8, seed=4)
    copies = np.arange(150).repeat(20)
    once = judged(target_S, prob_S, {"level": level_S})
    of_patients = judged(target_S[copies], prob_S[copies], {"level": level_S[copies]}, group_S=copies)
    of_rows = judged(target_S[copies], prob_S[copies], {"level": level_S[copies]})

    def p(report):
        return report["columns"]["level"][0]["gaps"]["observed_expected"]["p"]

    assert p(of_patients) == pytest.approx(p(once), rel=1e-6) and p(of_rows) < p(once) / 10


def test_a_small_subgroup_has_counts_and_a_reason():
    target_S, prob_S, level_S = drawn()
    level_S = level_S.astype("<U5")
    positives, negatives = np.flatnonzero(target_S == 1), np.flatnonzero(target_S == 0)
    level_S[np.concatenate([positives[:9], negatives[:50]])] = "small"
    level_S[positives[20:25]] = "alone"
    told = {one["level"]: one for one in judged(target_S, prob_S, {"level": level_S})["columns"]["level"]}
    assert told["small"]["positives"] == 9 and told["small"]["negatives"] == 50
    assert told["small"]["auc"] == {"value": None, "why": "too few positives (9): no AUC with fewer than 10"}
    assert told["small"]["specificity"]["value"] is not None and set(told["small"]["gaps"]) == {"specificity"}
    assert told["alone"]["auc"]["why"].startswith("too few positives (5) and too few negatives (0): no AUC")
    assert told["alone"]["gaps"] == {}
    one_patient = judged(target_S, prob_S, {"level": level_S}, group_S=np.zeros(2000, int))["columns"]["level"][0]
    assert "of one group" in one_patient["auc"]["why"] and one_patient["groups"] == 1


@pytest.mark.parametrize("prob", ["perfect", "zeros", "ones", "same"])
def test_extreme_probabilities_stay_finite(prob):
    target_S, _, level_S = drawn(400)
    prob_S = {"perfect": target_S, "zeros": np.zeros(400), "ones": np.ones(400), "same": np.full(400, 0.3)}[prob]
    report = judged(target_S, prob_S, {"level": level_S})
    text = json.dumps(report)
    assert "NaN" not in text and "Infinity" not in text
    assert not any(one["gaps"]["auc"]["is_flagged"] for one in report["columns"]["level"])


def test_missing_rows_and_no_rows():
    target_S, prob_S, level_S = drawn(400)
    target_S[::2] = np.nan
    report = judged(target_S, prob_S, {"level": level_S})
    assert sum(one["rows"] for one in report["columns"]["level"]) == 200
    assert judged(np.zeros(0), np.zeros(0), {"level": np.zeros(0, str)})["columns"] == {"level": []}
    assert judged(target_S, prob_S, {})["num_tests"] == 0


def test_bands_of_ages():
    ages = [3, "17", 18, 39.9, "40", 60, 79, 80, 101, None, "", float("nan"), "unknown"]
    assert banded("age_approx", ages).tolist() == [
        *["under 18"] * 2, *["18 to 39"] * 2, "40 to 59", *["60 to 79"] * 2, *["80 and above"] * 2, *["unknown"] * 4,
    ]  # fmt: skip
    assert banded("Age", [5])[0] == "under 18" and banded("image", ["5"])[0] == "5" and banded("stage", [3])[0] == "3"


def test_bands_of_numbers_are_quarters():
    bands = banded("width", np.arange(1, 101))
    names, counts = np.unique(bands, return_counts=True)
    assert counts.tolist() == [25] * 4
    assert set(names) == {"up to 25", "above 25 to 50", "above 50 to 75", "above 75"}
    mostly_equal = banded("width", [600.0] * 90 + list(range(601, 611)))
    assert set(mostly_equal) == {"up to 600", "above 600"}
    assert set(banded("width", [1, 2, 2, 3, None])) == {"1", "2", "3", "unknown"}


def test_numbers_that_differ_in_late_digits_alone_are_different_bands():
    names, counts = np.unique(banded("acquired", np.arange(20200101, 20200121)), return_counts=True)
    assert counts.tolist() == [5] * 4 and "above 20200105 to 20200110" in names
    assert set(banded("camera", ["1234567", "1234568", None])) == {"1234567", "1234568", "unknown"}
    assert set(banded("dose", ["0.12345", "0.12346"])) == {"0.12345", "0.12346"}


def test_words_are_levels_and_the_rarest_are_other():
    assert banded("sex", ["male", "female ", None]).tolist() == ["male", "female", "unknown"]
    words = [f"site {n}" for n in range(30) for _ in range(n + 1)]
    levels = set(banded("site", words))
    assert len(levels) == 20 and "other" in levels and "site 29" in levels and "site 0" not in levels


@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.floats(), st.integers()), max_size=40))
def test_any_column_has_bands(values):
    bands = banded("age", values)
    assert len(bands) == len(values) and len(set(bands)) <= 22
