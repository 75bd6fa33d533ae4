"""Conformal sets: MAPIE's and crepes' golden values, patients and not rows, and the stated coverage."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin

from lesion.evaluation.conformal import (
    ALL,
    PredictionSets,
    fit_sets,
    nested_sets,
    scores_of,
    two_classes,
    verify_sets,
)
from lesion.evaluation.parts import parts_by_group


def drawn(num_rows=400, num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    scores_SC = rng.normal(0, 2, (num_rows, num_classes))
    probs_SC = np.exp(scores_SC) / np.exp(scores_SC).sum(axis=1, keepdims=True)
    class_S = (rng.random(num_rows)[:, None] > probs_SC.cumsum(axis=1)).sum(axis=1).clip(max=num_classes - 1)
    return class_S, probs_SC


class Given(ClassifierMixin, BaseEstimator):
    """A classifier for MAPIE whose features are its probabilities."""

    def fit(self, X, y):
        self.classes_ = np.arange(X.shape[1])
        return self

    def predict_proba(self, X):
        return X

    def predict(self, X):
        return X.argmax(axis=1)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_of_rows_are_mapies(coverage):
    """With a patient a row both are split conformal sets; where MAPIE's is empty ours holds the most probable class."""
    from mapie.classification import SplitConformalClassifier

    (class_S, probs_SC), (_, new_SC) = drawn(), drawn(seed=1)
    model = SplitConformalClassifier(Given().fit(probs_SC, class_S), confidence_level=coverage, conformity_score="lac")
    _, theirs = model.conformalize(probs_SC, class_S).predict_set(new_SC)
    ours = fit_sets(class_S, probs_SC, np.arange(400), coverage=coverage)
    assert ours.quantiles[0] == pytest.approx(float(model._mapie_classifier.conformity_score_function_.quantiles_[0]))
    theirs_SC = theirs[:, :, 0]
    is_empty_S = ~theirs_SC.any(axis=1)
    assert np.array_equal(ours.apply(new_SC)[~is_empty_S], theirs_SC[~is_empty_S])
    assert (ours.apply(new_SC)[is_empty_S].sum(axis=1) == 1).all()


def test_adaptive_scores_are_mapies():
    from mapie.conformity_scores import APSConformityScore

    class_S, probs_SC = drawn()
    theirs, _ = APSConformityScore.get_true_label_cumsum_proba(class_S, probs_SC, np.arange(4))
    assert np.take_along_axis(scores_of(probs_SC, "aps"), class_S[:, None], 1) == pytest.approx(theirs)
    # By hand: of 0.2, 0.5, 0.3 the second alone, then with the third, then all.
    assert scores_of(np.array([0.2, 0.5, 0.3]), "aps") == pytest.approx([1.0, 0.5, 0.8])
    assert scores_of(np.array([0.2, 0.5, 0.3]), "lac") == pytest.approx([0.8, 0.5, 0.7])


def test_sets_by_class_are_crepes():
    from crepes import ConformalClassifier

    (class_S, probs_SC), (_, new_SC) = drawn(1000), drawn(300, seed=1)
    # At a share that no number of rows hits exactly: crepes takes a p value equal to it into the set.
    theirs = ConformalClassifier().fit(1 - probs_SC[np.arange(1000), class_S], bins=class_S)
    every = [theirs.predict_set(1 - new_SC, np.full(300, c), confidence=0.893, smoothing=False) for c in range(4)]
    theirs_SC = np.stack([sets[:, c] for c, sets in enumerate(every)], axis=1).astype(bool)
    ours = fit_sets(class_S, probs_SC, np.arange(1000), coverage=0.893, by_class=True)
    is_top_SC = np.arange(4) == new_SC.argmax(axis=1)[:, None]
    assert np.array_equal(ours.apply(new_SC), theirs_SC | is_top_SC)
    assert len(ours.quantiles) == 4 and sum(ours.num_patients) == 1000


def test_a_patient_counts_once_by_its_strangest_row():
    """Nine patients; the largest score of each is its number ∕ 10. ⌈10 · 0.8⌉ = 8: the eighth smallest is 0.8."""
    largest = np.arange(1, 10) / 10
    score_S = np.concatenate([largest, largest - 0.05, largest - 0.1])
    probs_S2 = np.stack([1 - score_S, score_S], axis=1)
    sets = fit_sets(np.zeros(27, int), probs_S2, np.tile(np.arange(9), 3), coverage=0.8)
    assert sets.quantiles == pytest.approx((0.8,)) and sets.num_patients == (9,)
    assert fit_sets(np.zeros(27, int), probs_S2, np.arange(27), coverage=0.8).quantiles[0] < 0.8  # rows would say less


def patients(num_patients, seed):
    """Patients of 1 to 6 rows that are alike, and truly as probable as they are said to be on average."""
    rng = np.random.default_rng(seed)
    group_S = np.repeat(np.arange(num_patients), rng.integers(1, 7, num_patients))
    score_S = rng.normal(-0.5, 1.5, num_patients)[group_S] + rng.normal(0, 1, len(group_S))
    class_S = (rng.random(num_patients)[group_S] < 1 / (1 + np.exp(-score_S))).astype(int)
    return class_S, two_classes(1 / (1 + np.exp(-score_S))), group_S


@pytest.mark.parametrize("score", ["lac", "aps"])
def test_the_stated_share_of_new_patients_is_covered(score):
    """99 patients and 0.9: by the theory 0.9 on average; 6,000 patients in 60 draws have a deviation of about 0.006."""
    covered, of_rows, of_class = [], [], []
    for draw in range(60):
        class_S, probs_S2, group_S = patients(99, [draw, 0])
        new_S, new_probs_S2, new_group_S = patients(100, [draw, 1])

        def coverage(groups, by_class=False):
            sets = fit_sets(class_S, probs_S2, groups, coverage=0.9, score=score, by_class=by_class)  # noqa: B023
            return verify_sets(new_S, sets.apply(new_probs_S2), new_group_S, coverage=0.9)  # noqa: B023

        covered.append(coverage(group_S)["coverage"]["value"])
        of_rows.append(coverage(np.arange(len(class_S)))["coverage"]["value"])
        of_class.append([one["value"] for one in coverage(group_S, by_class=True)["by_class"]])
    assert np.mean(covered) > 0.885
    assert np.mean(of_class, axis=0).min() > 0.885
    if score == "lac":
        assert np.mean(covered) < 0.92 and np.mean(of_rows) < 0.87  # what quantiles of rows would give


def test_verification_by_hand():
    """Patient 0 has a row that is not covered; 1 and 2 are covered. Clopper and Pearson's interval is scipy's."""
    is_in_S2 = np.array([[True, False], [True, False], [True, True], [False, True]])
    told = verify_sets(np.array([0, 1, 1, 1]), is_in_S2, np.array([0, 0, 1, 2]), coverage=0.9)
    exact = binomtest(2, 3).proportion_ci(method="exact")
    assert told["coverage"]["value"] == pytest.approx(2 / 3)
    assert (told["coverage"]["low"], told["coverage"]["high"]) == pytest.approx((exact.low, exact.high))
    assert told["is_held"] and told["mean_size"] == 1.25 and told["share_of_one_class"] == 0.75
    assert [one["value"] for one in told["by_class"]] == pytest.approx([1.0, 2 / 3])
    missed = verify_sets(np.zeros(100, int), np.tile([False, True], (100, 1)), np.arange(100), coverage=0.9)
    assert missed["coverage"]["value"] == 0 and not missed["is_held"] and missed["by_class"][1]["why"]


def test_a_part_does_not_judge_itself():
    class_S, probs_S2, group_S = patients(200, 3)
    part_S = group_S % 4
    before = nested_sets(class_S, probs_S2, part_S, group_S)
    after = nested_sets(np.where(part_S == 2, 1 - class_S, class_S), probs_S2, part_S, group_S)
    assert np.array_equal(before[part_S == 2], after[part_S == 2]) and not np.array_equal(before, after)
    of_groups = nested_sets(class_S, probs_S2, parts_by_group(group_S), group_S)
    assert verify_sets(class_S, of_groups, group_S, coverage=0.9)["is_held"]


def test_too_few_patients_leave_no_class_out():
    class_S, probs_S2, group_S = patients(5, 0)
    sets = fit_sets(class_S, probs_S2, group_S, coverage=0.9)
    assert sets.quantiles == (ALL,) and sets.apply(probs_S2).all()
    assert nested_sets(class_S, probs_S2, np.zeros(len(class_S), int), np.zeros(len(class_S), int)).all()
    none = fit_sets(np.zeros(0, int), np.zeros((0, 3)), np.zeros(0), by_class=True)
    assert none.quantiles == (ALL,) * 3
    empty = verify_sets(np.zeros(0, int), np.zeros((0, 3), bool), np.zeros(0), coverage=0.9)
    assert empty["coverage"]["value"] is None and not empty["is_held"]


def test_no_set_is_empty():
    """A quantile of 0.3 lets in what has 0.7 or more, which here nothing has: the most probable class is kept."""
    sets = PredictionSets("lac", 0.9, (0.3,), (99,))
    assert sets.apply(np.array([[0.4, 0.35, 0.25], [0.1, 0.2, 0.7]])).tolist() == [
        [True, False, False],
        [False, False, True],
    ]


def test_a_row_has_the_same_set_alone():
    class_S, probs_SC = drawn()
    for score in ("lac", "aps"):
        sets = fit_sets(class_S, probs_SC, np.arange(400), score=score)
        alone = np.concatenate([sets.apply(row[None]) for row in np.asfortranarray(probs_SC)])
        assert np.array_equal(sets.apply(probs_SC), alone)
        assert np.array_equal(sets.apply(probs_SC[0]), alone[0])


class Payload(BaseModel):
    sets: PredictionSets | None = None


def test_sets_are_stored_as_json_and_impossible_ones_refused():
    class_S, probs_SC = drawn()
    sets = fit_sets(class_S, probs_SC, np.arange(400), by_class=True)
    assert Payload.model_validate_json(Payload(sets=sets).model_dump_json()).sets == sets
    right = {"score": "lac", "coverage": 0.9, "quantiles": [0.5], "num_patients": [9]}
    for wrong in (
        {"coverage": 1.0},
        {"quantiles": []},
        {"quantiles": [float("nan")]},
        {"quantiles": [3]},
        {"score": "x"},
    ):
        with pytest.raises(ValidationError):
            Payload.model_validate({"sets": {**right, **wrong}})
