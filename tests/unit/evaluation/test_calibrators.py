"""Calibrators: scikit-learn's golden values, a row's answer by itself, ranking, the export, and hopeless rows."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from lesion.errors import UserError
from lesion.evaluation.calibrator_choice import choose_calibrator, nested_calibrators
from lesion.evaluation.calibrator_fits import fit
from lesion.evaluation.calibrators import (
    METHODS,
    Calibrator,
    OutputMap,
    deployment_of_one,
    no_calibration,
    shift_prior,
)
from lesion.evaluation.links import log_odds
from lesion.evaluation.parts import parts_by_group


def sigmoid(scores):
    return 1 / (1 + np.exp(-scores))


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def binary(num_rows=4000, slope=0.4, offset=-2.0, seed=0):
    """Targets [S, 1] and probabilities [S, 1] whose log-odds z mean slope · z + offset."""
    rng = np.random.default_rng(seed)
    score_S = rng.normal(0, 3, num_rows)
    target_S = (rng.random(num_rows) < sigmoid(slope * score_S + offset)).astype(float)
    return target_S[:, None], sigmoid(score_S)[:, None]


def multiclass(num_rows=3000, num_classes=4, slope=0.5, seed=1):
    rng = np.random.default_rng(seed)
    scores_SK = rng.normal(0, 2, (num_rows, num_classes))
    cumulative_SK = softmax(slope * scores_SK).cumsum(axis=1)
    class_S = (rng.random(num_rows)[:, None] > cumulative_SK).sum(axis=1).clip(max=num_classes - 1)
    return np.eye(num_classes)[class_S], softmax(scores_SK)


def fitted(targets, probs, method, is_multiclass=False):
    return Calibrator(is_multiclass, fit(targets, probs, method, is_multiclass=is_multiclass))


def sklearn_probs(scores, class_S, method):
    """scikit-learn's calibration of a classifier whose decision function is the scores themselves."""
    num_classes = scores.shape[1]
    model = LogisticRegression()
    model.coef_, model.intercept_ = np.eye(num_classes), np.zeros(num_classes)
    model.classes_, model.n_features_in_ = np.arange(max(2, num_classes)), num_classes
    calibrated = CalibratedClassifierCV(FrozenEstimator(model), method=method, ensemble=False, cv=2)
    return calibrated.fit(scores, class_S).predict_proba(scores)


def test_platt_is_scikit_learns_sigmoid():
    targets, probs = binary()
    ours = fitted(targets, probs, "platt").apply(probs)
    assert ours[:, 0] == pytest.approx(sklearn_probs(log_odds(probs), targets[:, 0], "sigmoid")[:, 1], abs=2e-5)


def test_platt_is_a_logistic_regression_on_the_log_odds():
    targets, probs = binary(20000)
    model = LogisticRegression(C=np.inf).fit(log_odds(probs), targets[:, 0])
    (one,) = fit(targets, probs, "platt", is_multiclass=False)
    assert (one.slope, one.offset) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), rel=2e-3)


def test_temperature_is_scikit_learns():
    targets, probs = multiclass()
    theirs = sklearn_probs(np.log(probs), targets.argmax(1), "temperature")
    assert fitted(targets, probs, "temperature", True).apply(probs) == pytest.approx(theirs, abs=1e-3)


def test_the_temperature_of_one_score_by_hand():
    """Half the rows at log-odds ±z are right to 3 ∕ 4: σ(slope · z) = 3 ∕ 4, so slope = log 3 ∕ z."""
    probs = sigmoid(np.repeat([2.0, -2.0], 4000))[:, None]
    targets = np.tile([1.0, 1, 1, 0], 1000)
    targets = np.concatenate([targets, 1 - targets])[:, None]
    (one,) = fit(targets, probs, "temperature", is_multiclass=False)
    assert one.slope == pytest.approx(math.log(3) / 2, abs=1e-3)


def test_isotonic_has_scikit_learns_values_in_the_middle_of_its_steps():
    targets, probs = binary(1500)
    calibrator = fitted(targets, probs, "isotonic")
    score_S = log_odds(probs[:, 0])
    theirs_S = IsotonicRegression().fit(score_S, targets[:, 0]).predict(score_S)
    values = [value for value in np.unique(theirs_S) if 0.001 < value < 0.999]
    assert len(values) > 10
    middles = np.array([score_S[theirs_S == value].mean() for value in values])
    assert calibrator.apply(sigmoid(middles)[:, None])[:, 0] == pytest.approx(values, abs=1e-6)


def test_isotonic_of_many_steps_keeps_64_knots_and_stays_near():
    targets, probs = binary(200_000, slope=1.0, offset=0.0)
    (one,) = fit(targets, probs, "isotonic", is_multiclass=False)
    assert len(one.knots_x) <= 64
    theirs = IsotonicRegression().fit(probs[:, 0], targets[:, 0]).predict(probs[:, 0])
    assert np.abs(Calibrator(False, (one,)).apply(probs)[:, 0] - theirs).mean() < 0.01


def test_none_returns_its_input_itself():
    probs = binary(50)[1].astype(np.float32)
    assert no_calibration(False, 1).apply(probs) is probs
    mixed = Calibrator(False, (OutputMap("none"), OutputMap("platt", 0.5, 1.0)))
    probs_S2 = np.random.default_rng(0).random((100, 2))
    assert np.array_equal(mixed.apply(probs_S2)[:, 0], probs_S2[:, 0])
    assert mixed.apply(probs_S2)[:, 1] == pytest.approx(sigmoid(0.5 * log_odds(probs_S2[:, 1]) + 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_a_row_is_calibrated_by_itself(method, is_multiclass):
    targets, probs = multiclass() if is_multiclass else binary()
    calibrator = fitted(targets, probs, method, is_multiclass)
    together = calibrator.apply(probs[:301])
    alone = np.concatenate([calibrator.apply(row[None]) for row in probs[:301]])
    strided = np.repeat(probs[:301], 3, axis=0)[::3]
    for other in (alone, calibrator.apply(np.asfortranarray(probs[:301])), calibrator.apply(strided)):
        assert np.array_equal(other, together)
    assert np.array_equal(calibrator.apply(probs[:300].reshape(5, 60, -1)).reshape(300, -1), together[:300])


@pytest.mark.parametrize("method", METHODS)
def test_the_ranking_of_one_probability_is_kept(method):
    targets, probs = binary()
    rising = sigmoid(np.linspace(-25, 15, 5000))[:, None]
    calibrated = fitted(targets, probs, method).apply(rising)
    assert (np.diff(calibrated[:, 0]) > 0).all() and calibrated.min() >= 0 and calibrated.max() <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*", "ignore:The feature will be removed")
@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_tensors_are_calibrated_alike_and_can_be_exported(method, is_multiclass):
    import onnx
    from onnx.reference import ReferenceEvaluator

    targets, probs = multiclass() if is_multiclass else binary()
    calibrator = fitted(targets, probs, method, is_multiclass)
    probs = np.concatenate([probs[:200], np.eye(probs.shape[1])]).astype(np.float32)
    expected = calibrator.apply(probs.astype(np.float64))
    assert calibrator.apply(torch.from_numpy(probs)).numpy() == pytest.approx(expected, abs=2e-4)
    assert calibrator.apply(torch.from_numpy(probs)).dtype == torch.float32

    class Step(torch.nn.Module):
        def forward(self, given):
            return calibrator.apply(given)

    file = io.BytesIO()
    torch.onnx.export(Step(), (torch.from_numpy(probs),), file, input_names=["probs"], dynamo=False)
    (exported,) = ReferenceEvaluator(onnx.load_from_string(file.getvalue())).run(None, {"probs": probs})
    assert exported == pytest.approx(expected, abs=2e-4)


def test_the_best_on_held_out_rows_is_chosen():
    """What distorts the log-odds says which method can repair it."""
    targets, probs = binary(6000, slope=0.4, offset=-2)
    bent = sigmoid(np.cbrt(log_odds(probs)))
    steps = sigmoid(0.5 * log_odds(probs) + np.where(log_odds(probs) > -4, 3.0, -3.0))
    for distorted, expected in ((sigmoid(0.4 * log_odds(probs) - 2), {"none", "temperature"}), (probs, {"platt"})):
        choice = choose_calibrator(targets, distorted, np.arange(6000), is_multiclass=False)
        assert choice.calibrator.method in expected and choice.why == (None,)
        assert min(choice.log_losses[0].values()) == choice.log_losses[0][choice.calibrator.method]
    for distorted in (bent, steps):
        assert (
            choose_calibrator(targets, distorted, np.arange(6000), is_multiclass=False).calibrator.method == "isotonic"
        )


def test_equal_losses_take_the_simpler():
    """Probabilities of ½ have log-odds of 0, which no temperature changes."""
    targets, probs = np.tile([0.0, 1.0], 30)[:, None], np.full((60, 1), 0.5)
    choice = choose_calibrator(targets, probs, np.arange(60) // 2, is_multiclass=False)
    assert choice.calibrator.method == "none"


def nested_probs(targets, probs, group_S, **options):
    """A fifth of the patients' probabilities by the calibrator of the others."""
    calibrated = np.array(probs, dtype=float)
    for is_held, calibrator in nested_calibrators(targets, probs, group_S, is_multiclass=False, **options):
        calibrated[is_held] = calibrator.apply(np.asarray(probs[is_held]))
    return calibrated


def test_nested_calibrators_use_no_patient_that_they_judge():
    """Whatever the targets of a part's patients are, their calibrated probabilities are the same."""
    targets, probs = binary(600)
    group_S = np.arange(600) // 3
    part_S = parts_by_group(group_S, 5)
    assert all(len(np.unique(part_S[group_S == group])) == 1 for group in range(200))
    before = nested_probs(targets, probs, group_S)
    other = np.where((part_S == 1)[:, None], 1 - targets, targets)
    after = nested_probs(other, probs, group_S)
    assert np.array_equal(before[part_S == 1], after[part_S == 1])
    assert not np.allclose(before[part_S == 0], after[part_S == 0])
    assert np.abs(before - sigmoid(0.4 * log_odds(probs) - 2)).mean() < 0.05


def test_labels_are_calibrated_each_by_itself_and_missing_ones_are_left_out():
    targets, probs = binary(3000)
    other_targets, other_probs = binary(3000, slope=1.0, offset=0.0, seed=3)
    both = np.hstack([targets, other_targets])
    both[:1000, 1] = np.nan
    choice = choose_calibrator(both, np.hstack([probs, other_probs]), np.arange(3000), is_multiclass=False)
    alone = choose_calibrator(targets, probs, np.arange(3000), is_multiclass=False)
    assert choice.calibrator.maps[0] == alone.calibrator.maps[0]
    assert choice.calibrator.maps[1].method in ("none", "temperature", "platt")
    assert choice.calibrator.apply(other_probs.repeat(2, axis=1))[:, 1] == pytest.approx(other_probs[:, 0], abs=0.05)


HOPELESS = {
    "separated": (np.repeat([0.0, 1.0], 200), np.repeat([0.01, 0.99], 200)),
    "zeros and ones": (np.repeat([0.0, 1.0], 200), np.repeat([0.0, 1.0], 200)),
    "all wrong, surely": (np.repeat([0.0, 1.0], 200), np.repeat([1.0, 0.0], 200)),
    "one score": (np.tile([0.0, 1.0], 200), np.full(400, 0.3)),
    "one class": (np.zeros(400), np.linspace(0, 1, 400)),
    "three positives": (np.arange(400) >= 397, np.linspace(0, 1, 400)),
    "five rows": (np.array([0.0, 1, 0, 1, 1]), np.array([0.2, 0.3, 0.4, 0.1, 0.9])),
    "no row": (np.zeros(0), np.zeros(0)),
    "all NaN": (np.full(20, np.nan), np.full(20, np.nan)),
}


@pytest.mark.parametrize("method", ["auto", *METHODS])
@pytest.mark.parametrize("name", HOPELESS)
def test_hopeless_rows_give_a_finite_calibrator(name, method):
    target_S, prob_S = (np.asarray(values, dtype=float)[:, None] for values in HOPELESS[name])
    group_S = np.arange(len(target_S))
    choice = choose_calibrator(target_S, prob_S, group_S, is_multiclass=False, method=method)
    probs = choice.calibrator.apply(np.array([[0.0], [1e-9], [0.5], [1.0]]))
    assert np.isfinite(probs).all() and (np.diff(probs[:, 0]) > 0).all()
    nested = nested_probs(target_S, prob_S, group_S, method=method)
    assert np.array_equal(np.isnan(nested), np.isnan(prob_S))
    targets_S2, probs_S2 = np.hstack([1 - target_S, target_S]), np.hstack([1 - prob_S, prob_S])
    choice = choose_calibrator(targets_S2, probs_S2, group_S, is_multiclass=True, method=method)
    assert choice.calibrator.apply(np.eye(2)).sum(axis=1) == pytest.approx([1, 1])


def test_separated_rows_stay_inside_the_bounds():
    probs, targets = np.repeat([0.4, 0.6], 200)[:, None], np.repeat([0.0, 1.0], 200)[:, None]
    (line,) = fit(targets, probs, "temperature", is_multiclass=False)
    assert 5 < line.slope < 19
    (line,) = fit(targets, probs, "platt", is_multiclass=False)
    assert 5 < line.slope < 19 and abs(line.offset) < 0.01


def test_few_rows_of_a_class_allow_simple_methods_alone():
    targets, probs = binary(400, offset=-3.5, seed=5)
    assert 0 < targets.sum() < 40
    few = np.concatenate([np.flatnonzero(targets[:, 0] == 1)[:15], np.flatnonzero(targets[:, 0] == 0)])
    choice = choose_calibrator(targets[few], probs[few], np.arange(len(few)), is_multiclass=False, method="isotonic")
    assert choice.calibrator.method == "temperature" and "12 groups with the rarest class" in choice.why[0]
    one_patient = choose_calibrator(targets, probs, np.zeros(400, int), is_multiclass=False)
    assert one_patient.calibrator.method == "none" and "fewer than two groups" in one_patient.why[0]


def test_few_slides_allow_a_temperature_alone_however_many_rows_they_have():
    """An offset learnt of few slides is theirs: rows of one slide are alike."""
    targets, probs = binary(2000, slope=2.0, seed=6)
    for num_slides, methods in (
        (8, {"none", "temperature"}),
        (40, {"none", "temperature", "platt"}),
        (400, set(METHODS)),
    ):
        choice = choose_calibrator(targets, probs, np.arange(2000) % num_slides, is_multiclass=False)
        assert set(choice.log_losses[0]) == methods
        assert choice.calibrator.method != "none"
    assert choice.why == (None,)


def test_a_thousand_classes_get_a_temperature():
    targets, probs = multiclass(2000, 1000, slope=2.0)
    choice = choose_calibrator(targets, probs, np.arange(2000), is_multiclass=True)
    assert choice.calibrator.method == "temperature" and len(choice.calibrator.maps) == 1
    assert choice.calibrator.maps[0].slope == pytest.approx(2, rel=0.1) and choice.calibrator.fits(1000)


def test_vector_scaling_repairs_a_bias_of_a_class():
    targets, probs = multiclass(6000, slope=1.0)
    biased = softmax(np.log(probs) + np.array([2.0, 0, 0, -1.0]))
    choice = choose_calibrator(targets, biased, np.arange(6000), is_multiclass=True)
    assert choice.calibrator.method in ("platt", "isotonic")
    assert fitted(targets, biased, "platt", True).apply(biased) == pytest.approx(probs, abs=0.05)


class Payload(BaseModel):
    calibrator: Calibrator | None = None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_multiclass", [False, True])
def test_a_calibrator_is_stored_as_json(method, is_multiclass):
    targets, probs = multiclass() if is_multiclass else binary()
    calibrator = fitted(targets, probs, method, is_multiclass)
    again = Payload.model_validate_json(Payload(calibrator=calibrator).model_dump_json()).calibrator
    assert again == calibrator and np.array_equal(again.apply(probs), calibrator.apply(probs))


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "temperature", "slope": -1.0},
        {"method": "platt", "offset": float("nan")},
        {"method": "isotonic"},
        {"method": "isotonic", "knots_x": [0.0, 1.0], "knots_y": [1.0, 1.0]},
        {"method": "isotonic", "knots_x": [1.0, 0.0], "knots_y": [0.0, 1.0]},
        {"method": "isotonic", "knots_x": [0.0], "knots_y": [0.0, 1.0]},
        {"method": "isotonic", "knots_x": list(range(65)), "knots_y": list(range(65))},
        {"method": "beta"},
    ],
)
def test_a_record_that_is_no_calibrator_is_refused(wrong):
    with pytest.raises(ValidationError):
        Payload.model_validate({"calibrator": {"is_multiclass": False, "maps": [wrong]}})


def test_prior_shift_by_hand():
    """Odds of ½ at a prevalence of ½ become odds of 1 ∕ 9 ÷ 2 at one of 1 ∕ 10: 1 ∕ 19."""
    assert shift_prior(np.array([[1 / 3]]), [0.5], [0.1], is_multiclass=False) == pytest.approx(np.array([[1 / 19]]))
    two = shift_prior(np.array([[2 / 3, 1 / 3]]), [0.5, 0.5], [0.9, 0.1], is_multiclass=True)
    assert two == pytest.approx(np.array([[18 / 19, 1 / 19]]))
    probs = np.array([[0.0], [0.3], [1.0]])
    assert shift_prior(probs, [0.2], [0.2], is_multiclass=False) is probs
    assert shift_prior(probs, [0.2], [0.4], is_multiclass=False)[[0, 2], 0].tolist() == [0, 1]
    assert deployment_of_one([0.2, 0.3, 0.5], 0, 0.6) == pytest.approx((0.6, 0.15, 0.25))


@settings(max_examples=50)
@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9))
def test_prior_shift_there_and_back_changes_nothing(here, there, probs):
    given_S1 = np.array(probs)[:, None]
    shifted = shift_prior(given_S1, [here], [there], is_multiclass=False)
    assert shift_prior(shifted, [there], [here], is_multiclass=False) == pytest.approx(given_S1, abs=1e-9)
    tensor = shift_prior(torch.from_numpy(given_S1), [here], [there], is_multiclass=False)
    assert tensor.numpy() == pytest.approx(shifted)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, float("nan")])
def test_a_prevalence_that_cannot_be_is_refused(wrong):
    with pytest.raises(UserError, match="prevalence"):
        shift_prior(np.array([[0.5]]), [0.5], [wrong], is_multiclass=False)
    with pytest.raises(UserError, match="prevalence"):
        shift_prior(np.array([[0.5, 0.5]]), [0.5, 0.5], [0.5, 0.6], is_multiclass=True)
