"""Slide scores: by hand."""

# S samples · G groups

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.evaluation.groups import SLIDE_SCORES, slide_scores

PROBS = np.array([0.5, 0.2, 0.5, 0.1, 0.8, 0.9])
SLIDES = np.array(["b", "a", "b", "a", "a", "c"])


@pytest.mark.parametrize(
    ("how", "k", "expected"),
    [
        ("max", 10, [0.8, 0.5, 0.9]),
        ("mean", 10, [1.1 / 3, 0.5, 0.9]),
        ("top_k", 1, [0.8, 0.5, 0.9]),
        ("top_k", 2, [0.5, 0.5, 0.9]),  # (0.8 + 0.2) / 2, and the one tile of c
        ("top_k", 10, [1.1 / 3, 0.5, 0.9]),
        ("noisy_or", 10, [1 - 0.8 * 0.9 * 0.2, 0.75, 0.9]),
    ],
)
def test_scores_by_hand(how, k, expected):
    groups_G, scores_G = slide_scores(PROBS, SLIDES, how, k)
    assert groups_G.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(scores_G, expected, rtol=1e-12)


def test_noisy_or_adds_up_what_rounding_would_lose():
    """1 − (1 − 1e-17)^1000 is 1e-14 to first order; in plain arithmetic 1 − 1e-17 is 1, and the score 0."""
    _, scores_G = slide_scores(np.full(1000, 1e-17), np.full(1000, "a"), "noisy_or")
    assert scores_G[0] == pytest.approx(1e-14, rel=1e-6)


def test_noisy_or_of_sure_tiles():
    _, scores_G = slide_scores(np.array([0.0, 0.0, 1.0, 0.3]), np.array(["no", "no", "yes", "yes"]), "noisy_or")
    assert scores_G.tolist() == [0.0, 1.0] and not np.signbit(scores_G[0])


@pytest.mark.parametrize("how", SLIDE_SCORES)
def test_no_samples_give_no_scores(how):
    groups_G, scores_G = slide_scores(np.array([]), np.array([], dtype=str), how)
    assert len(groups_G) == len(scores_G) == 0


@pytest.mark.parametrize("how", SLIDE_SCORES)
@given(
    probs=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
    seed=st.integers(0, 999),
    slides=st.integers(1, 4),
)
def test_scores_are_between_the_mean_and_one_and_know_no_order(how, probs, seed, slides):
    rng = np.random.default_rng(seed)
    prob_S = np.array(probs, dtype=np.float32)
    group_S = rng.integers(0, slides, len(probs)).astype(str)
    groups_G, scores_G = slide_scores(prob_S, group_S, how, 3)
    order_S = rng.permutation(len(probs))
    again_G, scores_again_G = slide_scores(prob_S[order_S], group_S[order_S], how, 3)
    assert groups_G.tolist() == again_G.tolist() == sorted(set(group_S.tolist()))
    np.testing.assert_allclose(scores_G, scores_again_G, rtol=1e-9, atol=1e-12)
    means_G = [prob_S[group_S == group].mean(dtype=np.float64) for group in groups_G]
    assert (scores_G >= np.array(means_G) - 1e-9).all() and (scores_G <= 1).all()
