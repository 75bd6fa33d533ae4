"""DeLong: areas under ROC curves of the same rows, and how they vary together, where rows of a patient are alike.

Without resampling, exact for any number of rows: two sorts an area.
"""

# S samples · M models or outputs, each with a score · G groups

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.resampling import number_groups

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Areas:
    """Areas [M] in 0 to 1, their covariance [M, M], and what each is without each group [G, M].

    `num_groups`: how many groups bear on them: those with positives, or with negatives where these are fewer.
    `freedom_M`: degrees of freedom of each variance (Welch 1947; Satterthwaite 1946), at most G − 1: those of the
    groups with positives where these are few and the negatives many.
    """

    value_M: Values
    covariance_MM: Values
    without_GM: Values
    freedom_M: Values
    num_groups: int


def areas(target_S: NDArray[Any], score_SM: NDArray[Any], group_S: NDArray[Any]) -> Areas:
    """The areas of several scores of the same rows, with Obuchowski's covariance for clusters.

    Obuchowski 1997 (Biometrics 53:567–578, eq. 4 and section 3); where each row is its own group, DeLong et al. 1988,
    eq. 5. By midranks (Sun & Xu 2014). Targets 0 or 1. Raises ValueError unless there are both, or for a NaN.
    """
    is_yes_S = np.asarray(target_S) == 1
    num_yes, num_no = int(is_yes_S.sum()), int((~is_yes_S).sum())
    if not num_yes or not num_no:
        raise ValueError("an area needs positive and negative rows")
    if not np.isfinite(score_SM).all():
        raise ValueError("scores contain NaN or infinity")
    code_S, num_groups = number_groups(group_S)
    placements = [_placements(is_yes_S, score_S) for score_S in np.asarray(score_SM, dtype=np.float64).T]
    yes_G = np.bincount(code_S[is_yes_S], minlength=num_groups)
    no_G = np.bincount(code_S[~is_yes_S], minlength=num_groups)
    won_GM = np.stack([np.bincount(code_S[is_yes_S], of_yes, num_groups) for of_yes, _ in placements], axis=1)
    lost_GM = np.stack([np.bincount(code_S[~is_yes_S], of_no, num_groups) for _, of_no in placements], axis=1)
    inside_GM = np.stack([_pairs_inside(is_yes_S, score_S, code_S, yes_G, no_G) for score_S in score_SM.T], axis=1)
    return areas_of_counts(yes_G, no_G, won_GM, lost_GM, inside_GM)


def areas_of_counts(
    yes_G: NDArray[Any], no_G: NDArray[Any], won_GM: NDArray[Any], lost_GM: NDArray[Any], inside_GM: NDArray[Any]
) -> Areas:
    """The same of each group's numbers of positives and negatives [G], and of scores that were counted: the sums over
    its positives of the share of all negatives that lie below, over its negatives of the share of all positives that
    lie above, and how many pairs of a positive and a negative of its own are in order, ties counted half [G, M]."""
    num_yes, num_no = yes_G.sum(), no_G.sum()
    value_M = won_GM.sum(axis=0) / num_yes
    apart_GM = (won_GM - yes_G[:, None] * value_M) / num_yes, (lost_GM - no_G[:, None] * value_M) / num_no
    has_yes, has_no = int((yes_G > 0).sum()), int((no_G > 0).sum())
    covariance_MM, freedom_M = _covariance(*apart_GM, has_yes, has_no)
    left_pairs_G = (num_yes - yes_G) * (num_no - no_G)
    pairs_GM = value_M * num_yes * num_no - won_GM * num_no - lost_GM * num_yes + inside_GM
    without_GM = np.full(pairs_GM.shape, np.nan)
    np.divide(pairs_GM, left_pairs_G[:, None], out=without_GM, where=left_pairs_G[:, None] > 0)
    return Areas(value_M, covariance_MM, without_GM, freedom_M, min(has_yes, has_no))


def jackknife_covariance(without_GM: Values) -> Values:
    """(G − 1) ∕ G Σ (θ₋g − θ̄)(θ₋g − θ̄)ᵀ of values without each group [G, M] (Efron & Tibshirani 1993, eq. 11.5).

    Of areas it is larger than DeLong's covariance where groups are few, and the one whose intervals hold the truth as
    often as they say (benchmarks/interval_coverage.py).
    """
    num_groups = len(without_GM)
    spread_GM = without_GM - without_GM.mean(axis=0)
    return np.asarray((num_groups - 1) / num_groups * _products(spread_GM, spread_GM))


def _products(one_GM: Values, other_GM: Values) -> Values:
    """AᵀB. By einsum: BLAS wakes its threads for so thin a product, and where cores are shared they wait."""
    return np.asarray(np.einsum("gm,gn->mn", one_GM, other_GM))


def _placements(is_yes_S: NDArray[np.bool_], score_S: Values) -> tuple[Values, Values]:
    """Of each positive the share of negatives below it, and of each negative the share of positives above it."""
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    rank_S, yes, no = rankdata(score_S), score_S[is_yes_S], score_S[~is_yes_S]
    return (
        (rank_S[is_yes_S] - rankdata(yes)) / len(no),
        1 - (rank_S[~is_yes_S] - rankdata(no)) / len(yes),
    )


def _covariance(won_GM: Values, lost_GM: Values, has_yes: int, has_no: int) -> tuple[Values, Values]:
    """S₁₀ ∕ m + S₀₁ ∕ n + (S₁₁ + S₁₁ᵀ) ∕ mn, and degrees of freedom; NaN where one group alone holds a class."""
    num_groups, num_scores = won_GM.shape
    if has_yes < 2 or has_no < 2:
        return np.full((num_scores, num_scores), np.nan), np.full(num_scores, np.nan)
    of_yes = has_yes / (has_yes - 1) * _products(won_GM, won_GM)
    of_no = has_no / (has_no - 1) * _products(lost_GM, lost_GM)
    of_both = num_groups / (num_groups - 1) * _products(won_GM, lost_GM)
    yes_M, no_M = np.diag(of_yes), np.diag(of_no)
    freedom_M = np.full(num_scores, float(min(has_yes, has_no) - 1))
    below_M = yes_M**2 / (has_yes - 1) + no_M**2 / (has_no - 1)
    np.divide((yes_M + no_M) ** 2, below_M, out=freedom_M, where=below_M > 0)
    return of_yes + of_no + of_both + of_both.T, np.minimum(freedom_M, num_groups - 1)


def _pairs_inside(
    is_yes_S: NDArray[np.bool_], score_S: Values, code_S: NDArray[np.intp], yes_G: NDArray[np.intp],
    no_G: NDArray[np.intp],
) -> Values:  # fmt: skip
    """How many pairs of a positive and a negative of the same group are in order [G], ties counted half."""
    from scipy.stats import rankdata

    dense_S = np.unique(score_S, return_inverse=True)[1].reshape(-1)
    rank_S = rankdata(code_S * (int(dense_S.max(initial=0)) + 1) + dense_S)  # by group, then by score
    sizes_G = yes_G + no_G
    rank_S -= (np.cumsum(sizes_G) - sizes_G)[code_S]  # within the group
    return np.asarray(np.bincount(code_S[is_yes_S], rank_S[is_yes_S], len(yes_G)) - yes_G * (yes_G + 1) / 2)
