"""Familiarity: pictures like those of training are familiar, others are not, and the false alarms are as stated."""

# N rows · D features · A numbers of appearance

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from lesion.evaluation.familiarity import RANK, RARE, Components, Familiarity, fit_familiarity, unit_roots


def rows(num: int, *, seed: int, width: int = 48, shift: float = 0.0) -> np.ndarray:
    """Features that are not negative, with some directions that vary more than others, as after a ReLU."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(0, 1, (8, width))
    values = rng.normal(0, 1, (num, 8)) @ mixing + rng.normal(0, 0.5, (num, width)) + shift
    return np.maximum(values + 2, 0).astype(np.float32)


def fitted(num_of_fold: int = 300, num_folds: int = 3) -> Familiarity:
    folds = range(num_folds)
    found = fit_familiarity(
        {fold: rows(num_of_fold, seed=fold) for fold in folds},
        {fold: rows(num_of_fold, seed=10 + fold, width=12) for fold in folds},
        {fold: np.repeat(np.arange(num_of_fold // 3), 3) + 1000 * fold for fold in folds},
    )
    assert isinstance(found, Familiarity)
    return found


def asked(model: Familiarity, num: int, *, seed: int, shift: float = 0.0) -> np.ndarray:
    """The familiarity of new pictures, which all folds see alike."""
    features, appearances = rows(num, seed=seed, shift=shift), rows(num, seed=seed + 1, width=12, shift=shift)
    folds = list(model.folds)
    return np.array(
        [
            model.of(np.repeat(one[None, None], len(folds), axis=0), look[None], folds)
            for one, look in zip(features, appearances, strict=True)
        ]
    )


def test_the_distance_is_that_of_scikit_learns_probabilistic_pca():
    """Its log-likelihood is −½ (distance² + what is the same for all); it divides variances by n − 1, ours by n."""
    values_ND = np.random.default_rng(0).normal(0, np.linspace(0.2, 3, 50), (200, 50))
    model, theirs = Components.fit(values_ND), PCA(n_components=RANK).fit(values_ND)
    points = np.random.default_rng(1).normal(0, 3, (20, 50))
    centre = theirs.score_samples(values_ND.mean(axis=0, keepdims=True))
    expected = -2 * (theirs.score_samples(points) - centre) * 200 / 199
    np.testing.assert_allclose(model.distance(points) ** 2, expected, rtol=1e-4)


def test_new_pictures_of_the_same_kind_are_rarely_called_unfamiliar():
    """At most as often as stated, up to three standard errors of 1,000 pictures."""
    shares = asked(fitted(), 1000, seed=500)
    assert (shares < RARE).mean() <= RARE + 3 * (RARE * (1 - RARE) / 1000) ** 0.5
    assert 0.3 < np.median(shares) < 0.7


def test_a_stranger_is_less_familiar_the_farther_it_is_away():
    model = fitted()
    means = [asked(model, 50, seed=500, shift=shift).mean() for shift in (0.0, 1.0, 2.0, 4.0)]
    assert means == sorted(means, reverse=True)
    assert (asked(model, 200, seed=500, shift=6.0) < RARE).mean() > 0.95


def test_a_strange_look_alone_is_enough():
    model, features = fitted(), rows(1, seed=500)[0]
    usual, strange = rows(1, seed=501, width=12), rows(1, seed=501, width=12, shift=30)
    of_folds = np.repeat(features[None, None], 3, axis=0)
    assert model.of(of_folds, strange, [0, 1, 2]) < RARE < model.of(of_folds, usual, [0, 1, 2])


def test_rows_of_one_patient_never_judge_themselves():
    """Every patient has three equal rows: were one of them in the fit, the others would look more usual than anybody
    new, and new pictures would be called strange."""
    rng = np.random.default_rng(0)
    features = np.repeat(rng.normal(0, 1, (60, 400)), 3, axis=0).astype(np.float32)
    appearances = np.repeat(rng.normal(0, 1, (60, 100)), 3, axis=0).astype(np.float32)
    model = fit_familiarity({0: features}, {0: appearances}, {0: np.repeat(np.arange(60), 3)})
    new = [
        model.of(one[None, None], look[None], [0])
        for one, look in zip(rng.normal(0, 1, (200, 400)), rng.normal(0, 1, (200, 100)), strict=True)
    ]
    assert np.median(new) > 0.3  # 0.1 if the rows of a patient were on both sides


def test_of_a_fold_without_a_model_nothing_is_said():
    model = fitted()
    assert model.of(rows(1, seed=0)[None], rows(1, seed=1, width=12), [7]) is None


@pytest.mark.parametrize(
    ("num_rows", "num_groups", "why"),
    [(0, 1, "0 held-out images"), (23, 23, "0 held-out images"), (99, 99, "99 held-out"), (120, 1, "too few groups")],
)
def test_too_few_rows_or_groups_give_none_with_the_reason(num_rows, num_groups, why):
    groups = np.arange(num_rows) % num_groups
    found = fit_familiarity({0: rows(num_rows, seed=0)}, {0: rows(num_rows, seed=1, width=12)}, {0: groups})
    assert isinstance(found, str) and why in found


def test_features_that_never_vary_or_are_not_numbers_break_nothing():
    constant = np.ones((120, 20), np.float32)
    found = fit_familiarity({0: constant}, {0: constant}, {0: np.arange(120)})
    assert found.of(constant[:1, None], constant[:1], [0]) == 1
    assert found.of(2 - 3 * constant[:1, None], constant[:1], [0]) == 0
    broken = np.full((120, 20), np.nan, np.float32)
    assert "NaN" in fit_familiarity({0: broken}, {0: constant}, {0: np.arange(120)})


@given(st.floats(0.1, 100))
@settings(max_examples=20)
def test_unit_roots_have_length_1_whatever_the_scale(scale):
    values = rows(5, seed=0)
    np.testing.assert_allclose(np.linalg.norm(unit_roots(scale * values), axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(unit_roots(scale * values), unit_roots(values), atol=1e-5)
    assert (unit_roots(-values) == -unit_roots(values)).all()


def test_it_comes_back_from_its_arrays():
    model = fitted()
    again = Familiarity.of_arrays(model.arrays(), [0, 1, 2])
    np.testing.assert_allclose(asked(again, 20, seed=500), asked(model, 20, seed=500), atol=2e-3)
    assert all(array.dtype == np.float32 for array in model.arrays().values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("held_out", np.zeros(0, np.float32)),
        ("held_out", np.array([2, 1], np.float32)),
        ("fold_1.mean", np.full(48, np.nan, np.float32)),
        ("fold_1.basis", np.zeros((3, 3), np.float32)),
        ("fold_1.variance", np.zeros(RANK, np.float32)),
        ("appearance.scale", np.array([0, 0, 1], np.float32)),
        ("appearance.scale", np.array([1, 0], np.float32)),
        ("appearance.mean", np.zeros(12, np.float64)),
        ("appearance.mean", None),
    ],
)
def test_arrays_that_cannot_be_used_are_refused_by_name(name, value):
    arrays = {**fitted().arrays(), name: value}
    with pytest.raises(ValueError, match=name.split(".")[0]):
        Familiarity.of_arrays({key: array for key, array in arrays.items() if array is not None}, [0, 1, 2])


def test_folds_that_are_scored_together_have_the_scores_that_each_has_alone():
    """Of different ranks too: half of 24 rows, and RANK."""
    rng = np.random.default_rng(3)
    models = [Components.fit(rng.normal(size=(num_rows, 50)).astype(np.float32)) for num_rows in (24, 300)]
    values_FVD = rng.normal(size=(2, 3, 50)).astype(np.float32)
    assert len({model.basis_RD.shape for model in models}) == 2
    alone_FV = np.stack([model.distance(values_VD) for model, values_VD in zip(models, values_FVD, strict=True)])
    np.testing.assert_allclose(Components.stacked(models).distance(values_FVD), alone_FV, rtol=1e-5)
