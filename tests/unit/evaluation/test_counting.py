"""Counting: scikit-learn's numbers for labels as served, Bayes' rule by hand, and what has no denominator."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.counting import ClassLabels, Labels, RowMeans, label_measures
from lesion.evaluation.resampling import all_once, draws

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def of(target_S, is_yes_S, **options):
    groups = np.arange(len(target_S))
    found = Labels.of(target_S, is_yes_S, groups, len(groups), **options).measure(all_once(len(groups)))
    return {name: float(value_B[0]) for name, value_B in found.items()}


@given(pairs=PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_labels_are_judged_as_scikit_learn_judges_them(pairs):
    target_S, is_yes_S = (np.array(column) for column in zip(*pairs, strict=True))
    found = of(target_S, is_yes_S)
    undefined = {"zero_division": np.nan}
    has_both = len(np.unique(target_S)) == 2
    for name, function, positive in (
        ("sensitivity", sklearn.metrics.recall_score, True),
        ("specificity", sklearn.metrics.recall_score, False),
        *((("ppv", sklearn.metrics.precision_score, True),) if has_both else ()),
        *((("npv", sklearn.metrics.precision_score, False),) if has_both else ()),
    ):
        expected = function(target_S, is_yes_S, pos_label=positive, **undefined)
        assert found[name] == pytest.approx(expected, nan_ok=True), name
    assert found["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(target_S, is_yes_S))
    if has_both:
        assert found["balanced_accuracy"] == pytest.approx(sklearn.metrics.balanced_accuracy_score(target_S, is_yes_S))
        assert found["mcc"] == pytest.approx(sklearn.metrics.matthews_corrcoef(target_S, is_yes_S))
    else:
        # Of one class a predictive value is 0 or 1 whatever is answered, and balanced accuracy a recall: scikit-learn
        # says so, and we say nothing.
        assert np.isnan([found[name] for name in ("mcc", "ppv", "npv", "balanced_accuracy")]).all()


def test_predictive_values_at_another_prevalence_by_hand():
    """Sensitivity 0.9, specificity 0.8; of 1,000 people 10 ill: 9 of them and 198 of 990 others are called."""
    found = label_measures(*(np.array([count]) for count in (90.0, 20.0, 10.0, 80.0)), prevalence=0.01)
    assert found["ppv_at_prevalence"][0] == pytest.approx(9 / 207)
    assert found["npv_at_prevalence"][0] == pytest.approx(792 / 793)
    assert found["ppv"][0] == pytest.approx(90 / 110)


def test_at_the_prevalence_of_the_rows_bayes_rule_changes_nothing():
    rng = np.random.default_rng(0)
    target_S, is_yes_S = rng.random(200) < 0.3, rng.random(200) < 0.4
    found = of(target_S, is_yes_S, prevalence=float(target_S.mean()))
    assert found["ppv_at_prevalence"] == pytest.approx(found["ppv"])
    assert found["npv_at_prevalence"] == pytest.approx(found["npv"])


@given(seed=st.integers(0, 999), num_classes=st.integers(2, 6), rows=st.integers(1, 40))
@pytest.mark.filterwarnings("ignore")
def test_labels_of_several_classes_are_judged_as_scikit_learn_judges_them(seed, num_classes, rows):
    rng = np.random.default_rng(seed)
    class_S, named_S = rng.integers(0, num_classes, (2, rows))
    found = ClassLabels.of(class_S, named_S, num_classes, np.arange(rows), rows).measure(all_once(rows))
    assert found["accuracy"][0] == pytest.approx(sklearn.metrics.accuracy_score(class_S, named_S))
    assert np.isnan(found["balanced_accuracy"][0]) == (len(np.unique(class_S)) == 1)
    if len(np.unique(class_S)) > 1:
        assert found["balanced_accuracy"][0] == pytest.approx(sklearn.metrics.balanced_accuracy_score(class_S, named_S))
        assert found["mcc"][0] == pytest.approx(sklearn.metrics.matthews_corrcoef(class_S, named_S), abs=1e-12)


def test_a_mean_over_rows_weighs_patients_by_their_rows():
    values, code_S = {"loss": np.array([1.0, 2.0, 6.0, 7.0])}, np.array([0, 0, 1, 2])
    [weights_GB] = draws(3, 4, seed=1)
    found = RowMeans.of(values, code_S, 3).measure(weights_GB)["loss"]
    expected = [np.average(values["loss"], weights=weights_GB[code_S, b]) for b in range(4)]
    assert found == pytest.approx(expected)


def test_the_patients_that_bear_on_a_measure_are_counted():
    labels = Labels.of(np.array([1, 1, 0, 0, 0]), np.array([1, 1, 1, 0, 0], bool), np.array([0, 0, 1, 2, 3]), 4)
    assert labels.num_groups["sensitivity"] == 1 and labels.num_groups["specificity"] == 3
    assert labels.num_groups["ppv"] == 2 and labels.num_groups["npv"] == 2 and labels.num_groups["accuracy"] == 4
    # A mean over classes with 2 and 18 patients: its variance is that of one with 2 ∕ (1 ∕ 2 + 1 ∕ 18) = 3.6 in each.
    class_S = np.repeat([0, 1], [2, 18])
    classes = ClassLabels.of(class_S, class_S, 3, np.arange(20), 20)
    assert classes.num_groups == {"accuracy": 20, "balanced_accuracy": 3, "mcc": 3}
