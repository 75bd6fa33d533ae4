"""Selective prediction: what is gained where the most uncertain images are referred to a person instead of answered."""

# S samples · P points of a curve

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.linearised import share
from lesion.evaluation.metrics import Array

MOST_POINTS = 200


def certainty_of_point(prob_S: Array, threshold_S: Array | float) -> NDArray[np.float64]:
    """How sure a yes-or-no answer is, [S] in [0, 1]: how far the probability is from the threshold, as a share of the
    way to 0 or 1 on its side. A threshold need not be ½.
    """
    prob_S = np.asarray(prob_S, dtype=np.float64)
    way_S = np.where(prob_S >= threshold_S, 1 - np.asarray(threshold_S), threshold_S)
    return np.asarray(np.abs(prob_S - threshold_S) / np.where(way_S > 0, way_S, 1))


def risk_coverage(is_wrong_S: NDArray[np.bool_], certainty_S: Array) -> dict[str, Any]:
    """The risk–coverage curve: the share of wrong answers among the rows that are answered, the surest first.

    `aurc` is the area under it, the mean over all coverages (Geifman & El-Yaniv 2017); `best` that of an ordering that
    refers exactly the wrong ones, `random` that of one that knows nothing: the error rate. `excess` is aurc − best
    (Geifman et al. 2019). Rows that are equally sure are answered together, so their order does not count.
    """
    num_rows = len(is_wrong_S)
    if num_rows == 0:
        return {"aurc": None, "why": "there are no rows"}
    certainties, code_S = np.unique(-np.asarray(certainty_S, dtype=np.float64), return_inverse=True)
    rows_P = np.cumsum(np.bincount(code_S))
    wrong_P = np.cumsum(np.bincount(code_S, weights=is_wrong_S))
    risk_P = wrong_P / rows_P
    # Within equal ones the expected number of wrong rows rises in a straight line.
    expected_S = np.interp(np.arange(1, num_rows + 1), np.append(0, rows_P), np.append(0, wrong_P))
    num_wrong = int(np.sum(is_wrong_S))
    counts_S = np.arange(1, num_rows + 1)
    aurc = float(np.mean(expected_S / counts_S))
    best = float(np.mean(np.clip(counts_S - (num_rows - num_wrong), 0, None) / counts_S))
    kept = np.unique(np.linspace(0, len(certainties) - 1, MOST_POINTS).round().astype(int))
    return {
        "aurc": aurc,
        "best": best,
        "random": num_wrong / num_rows,
        "excess": aurc - best,
        "coverage": (rows_P[kept] / num_rows).tolist(),
        "risk": risk_P[kept].tolist(),
        "certainty": (-certainties[kept]).tolist(),
    }


def refer(
    is_wrong_S: NDArray[np.bool_], certainty_S: Array, group_S: NDArray[Any], *, share_referred: float
) -> dict[str, Any]:
    """What is wrong where the least sure `share_referred` of the rows, in [0, 1), are referred: the certainty up to
    which a row is, the share that this is (equal rows go together), and the error rates of those that are answered and
    of those that are referred, with 95 % intervals by patient.
    """
    if not len(is_wrong_S):
        return {"certainty": None, "why": "there are no rows"}
    certainty_S = np.asarray(certainty_S, dtype=np.float64)
    limit = float(np.quantile(certainty_S, share_referred, method="inverted_cdf")) if share_referred > 0 else -np.inf
    is_kept_S = certainty_S > limit
    return {
        "certainty": None if limit == -np.inf else limit,
        "share_referred": float(np.mean(~is_kept_S)),
        "answered": _error_rate(is_wrong_S[is_kept_S], group_S[is_kept_S]),
        "referred": _error_rate(is_wrong_S[~is_kept_S], group_S[~is_kept_S]),
    }


def _error_rate(is_wrong_S: NDArray[np.bool_], group_S: NDArray[Any]) -> dict[str, Any]:
    one = share(is_wrong_S, group_S)
    if one.value is None:
        return {"value": None, "why": one.why, "rows": 0}
    interval = {"why": one.why} if one.low is None else {"low": one.low, "high": one.high}
    return {"value": one.value, **interval, "rows": one.rows}
