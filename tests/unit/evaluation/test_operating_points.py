"""Operating points: specs in words, the best of all thresholds, the stored curve, and thresholds of other folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from sklearn.metrics import roc_curve as sklearn_roc_curve

from lesion.errors import UserError
from lesion.evaluation.operating_points import (
    KINDS,
    RocCurve,
    Spec,
    parse_spec,
    resolve,
    roc_curve,
)

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60)


def arrays(rows):
    target_S, prob_S = np.array([row[0] for row in rows], float), np.array([row[1] / 20 for row in rows])
    assume(0 < target_S.sum() < len(target_S))
    return target_S, prob_S


def rates(target_S, prob_S, threshold):
    is_yes_S = prob_S >= threshold
    return is_yes_S[target_S == 1].mean(), 1 - is_yes_S[target_S == 0].mean()


def youden_threshold(target_S, prob_S):
    """scikit-learn's curve, without its first point, which is nobody; of equal points the highest threshold."""
    false_P, true_P, threshold_P = sklearn_roc_curve(target_S, prob_S)
    return threshold_P[1:][np.argmax(np.round(true_P - false_P, 12)[1:])]  # 3 ∕ 6 − 1 ∕ 6 is 2 ∕ 6


def drawn(num_rows=3000, seed=0):
    rng = np.random.default_rng(seed)
    score_S = rng.normal(-1.5, 2, num_rows)
    return (rng.random(num_rows) < 1 / (1 + np.exp(-score_S))).astype(float), 1 / (1 + np.exp(-score_S))


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("youden", Spec("youden")),
        (" Youden ", Spec("youden")),
        ("sensitivity=0.95", Spec("sensitivity", 0.95)),
        ("SPECIFICITY = .9", Spec("specificity", 0.9)),
        ("cost=10", Spec("cost", 10.0)),
        ("f_beta=0.5", Spec("f_beta", 0.5)),
        ("threshold=0", Spec("threshold", 0.0)),
        ("threshold=1e-3", Spec("threshold", 0.001)),
    ],
)
def test_a_spec_is_read(text, spec):
    assert parse_spec(text) == spec


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no operating point"),
        ("sensitivty=0.9", "did you mean sensitivity"),
        ("0.3", "is no operating point"),
        ("youden=0.3", "takes no number"),
        ("sensitivity", "a share above 0"),
        ("sensitivity=0", "a share above 0"),
        ("sensitivity=95", "at most 1"),
        ("sensitivity=95%", "at most 1, not '95%'"),
        ("specificity=1.01", "at most 1"),
        ("cost=0", "a number above 0"),
        ("cost=inf", "a number above 0"),
        ("f_beta=0", "f_beta needs a number above 0"),
        ("cost=1=2", "a number above 0"),
        ("threshold=-0.1", "a probability from 0 to 1"),
        ("threshold=nan", "a probability from 0 to 1"),
    ],
)
def test_a_wrong_spec_is_refused_in_words(text, said):
    with pytest.raises(UserError, match=said) as caught:
        parse_spec(text, where="operating_point")
    assert "operating_point" in str(caught.value)


@given(st.text(max_size=30) | st.builds("{}={}".format, st.sampled_from(KINDS), st.floats() | st.text(max_size=5)))
def test_any_text_is_a_spec_or_refused(text):
    try:
        spec = parse_spec(text)
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert parse_spec(str(spec)) == pytest.approx(spec) if spec.value is None else True
        assert parse_spec(str(spec)).kind == spec.kind


@given(st.sampled_from(KINDS[1:4]), st.floats(0.001, 1))
def test_a_spec_is_written_as_it_is_read(kind, value):
    again = parse_spec(str(Spec(kind, value)))
    assert again.kind == kind and again.value == pytest.approx(value, rel=1e-11)


def test_several_classes_have_no_operating_point():
    with pytest.raises(UserError, match=r"most probable of several classes.*positive_class"):
        parse_spec("youden", is_multiclass=True)


@given(ROWS)
@example([(False, 0)] * 4 + [(False, 1), (False, 2), (True, 0), (True, 0), (True, 1), (True, 2), (True, 3), (True, 3)])
def test_youdens_point_is_scikit_learns(rows):
    target_S, prob_S = arrays(rows)
    found = resolve(roc_curve(target_S, prob_S), Spec("youden")).threshold
    assert rates(target_S, prob_S, found) == rates(target_S, prob_S, youden_threshold(target_S, prob_S))


@given(ROWS)
def test_rounding_decides_about_no_row_at_a_threshold(rows):
    """Probabilities are twentieths; torch and OpenVINO differ by up to 1e-6."""
    target_S, prob_S = arrays(rows)
    curve = roc_curve(target_S, prob_S)
    thresholds = [threshold for threshold in curve.thresholds if 0 < threshold < 1]  # where all rows or none are below
    for threshold in thresholds:
        assert np.abs(prob_S - threshold).min() > 0.02


@given(ROWS, st.sampled_from([0.25, 0.5, 0.8, 0.95, 1.0]))
def test_each_point_is_the_best_of_all_thresholds(rows, share):
    target_S, prob_S = arrays(rows)
    curve = roc_curve(target_S, prob_S)
    every = [rates(target_S, prob_S, threshold) for threshold in [*np.unique(prob_S), 2.0]]
    point = resolve(curve, Spec("sensitivity", share))
    assert (point.sensitivity, point.specificity) == pytest.approx(rates(target_S, prob_S, point.threshold))
    assert point.sensitivity >= share
    assert point.specificity == pytest.approx(max(one[1] for one in every if one[0] >= share))
    point = resolve(curve, Spec("specificity", share))
    if prob_S.max() < 1:  # else nobody's threshold would be above 1
        assert (point.sensitivity, point.specificity) == pytest.approx(rates(target_S, prob_S, point.threshold))
        assert point.sensitivity == pytest.approx(max(one[0] for one in every if one[1] >= share))
    point = resolve(curve, Spec("cost", 3.0))
    if prob_S.max() < 1:
        share_positive = target_S.mean()
        costs = [3 * share_positive * (1 - one[0]) + (1 - share_positive) * (1 - one[1]) for one in every]
        found = rates(target_S, prob_S, point.threshold)
        assert 3 * share_positive * (1 - found[0]) + (1 - share_positive) * (1 - found[1]) == pytest.approx(min(costs))


def test_points_by_hand():
    """Ranked by probability the targets read 1, 0, 1, 1, 0, 0."""
    target_S, prob_S = np.array([1.0, 0, 1, 1, 0, 0]), np.array([0.9, 0.8, 0.7, 0.6, 0.4, 0.2])
    curve = roc_curve(target_S, prob_S)
    high, low = (0.9 + 0.8) / 2, (0.6 + 0.4) / 2  # each halfway to the next row, which stays below
    assert curve == RocCurve((high, low), (1 / 3, 1.0), (0.0, 1 / 3), 3, 3)
    assert resolve(curve, Spec("youden")).threshold == low
    assert resolve(curve, Spec("sensitivity", 0.3)).threshold == high
    assert resolve(curve, Spec("sensitivity", 0.34)).threshold == low
    assert resolve(curve, Spec("specificity", 0.7)).threshold == high
    assert resolve(curve, Spec("cost", 10)).threshold == low
    # A missed positive as dear as a third of a false alarm: two missed cost 2 ∕ 3, one false alarm 1.
    assert resolve(curve, Spec("cost", 1 / 3)).threshold == high
    # At one positive in a thousand a missed one counts less: 10 · 0.001 · 2 ∕ 3 against 0.999 ∕ 3.
    assert resolve(curve, Spec("cost", 10), prevalence=0.001).threshold == high
    assert resolve(curve, Spec("threshold", 0.3)).threshold == 0.3


def test_the_threshold_of_a_cost_is_that_of_calibrated_probabilities():
    """With calibrated probabilities the least cost is at 1 ∕ (1 + cost) (Elkan 2001)."""
    point = resolve(roc_curve(*drawn(100_000)), Spec("cost", 9))
    assert point.threshold == pytest.approx(0.1, abs=0.02)


def test_scikit_learn_has_the_same_curve():
    target_S, prob_S = drawn(300)
    curve = roc_curve(target_S, prob_S)
    false_P, true_P, threshold_P = sklearn_roc_curve(target_S, prob_S, drop_intermediate=False)
    for point in zip(curve.thresholds, curve.true_positive_rates, curve.false_positive_rates, strict=True):
        theirs = np.flatnonzero(threshold_P >= point[0])[-1]  # the last row that reaches ours
        assert (true_P[theirs], false_P[theirs]) == pytest.approx(point[1:])


def test_a_long_curve_is_thinned_and_still_near():
    target_S, prob_S = drawn(60_000)
    curve = roc_curve(target_S, prob_S)
    assert 400 < len(curve.thresholds) <= 500
    found = resolve(curve, Spec("youden")).threshold
    assert rates(target_S, prob_S, found) == rates(target_S, prob_S, youden_threshold(target_S, prob_S))
    for share in (0.8, 0.95, 0.99):
        sensitivity, _ = rates(target_S, prob_S, resolve(curve, Spec("sensitivity", share)).threshold)
        assert share <= sensitivity <= share + 0.005
        _, specificity = rates(target_S, prob_S, resolve(curve, Spec("specificity", share)).threshold)
        assert share <= specificity <= share + 0.005
    point = resolve(curve, Spec("threshold", 0.3))
    assert (point.sensitivity, point.specificity) == pytest.approx(rates(target_S, prob_S, 0.3), abs=0.005)


def test_hopeless_rows_have_a_point_and_a_reason():
    for target_S in (np.zeros(5), np.ones(5), np.zeros(0), np.full(5, np.nan)):
        assert roc_curve(target_S, np.full(len(target_S), 0.4)) is None
    point = resolve(None, Spec("sensitivity", 0.95))
    assert point.threshold == 0.5 and point.sensitivity is None and "both classes" in point.why
    assert resolve(None, Spec("threshold", 0.3)).threshold == 0.3
    of_zeros_and_ones = roc_curve(np.array([0.0, 1, 0, 1]), np.array([0.0, 1, 1, 0]))
    assert resolve(of_zeros_and_ones, Spec("specificity", 1.0)).why.startswith("no threshold reaches")
    backwards = resolve(roc_curve(np.array([1.0, 0.0]), np.array([0.1, 0.9])), Spec("specificity", 1.0))
    assert "nobody is positive" in backwards.why and backwards.sensitivity == 0


class Payload(BaseModel):
    curve: RocCurve | None = None


def test_a_curve_is_stored_as_json():
    curve = roc_curve(*drawn())
    assert Payload.model_validate_json(Payload(curve=curve).model_dump_json()).curve == curve


@pytest.mark.parametrize(
    "wrong",
    [
        {"thresholds": []},
        {"thresholds": [0.9, 1.2]},
        {"thresholds": [0.5, 0.9]},
        {"true_positive_rates": [0.9, 0.8]},
        {"false_positive_rates": [0.0, float("nan")]},
        {"num_positives": 0},
        {"thresholds": [0.5]},
    ],
)
def test_a_record_that_is_no_curve_is_refused(wrong):
    right = {
        "thresholds": [0.9, 0.5],
        "true_positive_rates": [0.5, 1.0],
        "false_positive_rates": [0.0, 0.5],
        "num_positives": 2,
        "num_negatives": 2,
    }
    assert Payload.model_validate({"curve": right}).curve is not None
    with pytest.raises(ValidationError):
        Payload.model_validate({"curve": {**right, **wrong}})


@pytest.mark.parametrize("beta", [0.05, 0.5, 1.0, 2.0])
def test_f_beta_is_the_largest_that_scikit_learn_finds_at_any_threshold(beta):
    from sklearn.metrics import fbeta_score

    target_S, prob_S = drawn(400, seed=4)
    curve = roc_curve(target_S, prob_S)
    found = resolve(curve, Spec("f_beta", beta)).threshold
    best = max(fbeta_score(target_S, prob_S >= threshold, beta=beta) for threshold in prob_S)
    assert fbeta_score(target_S, prob_S >= found, beta=beta) == pytest.approx(best)
