"""Label errors: rows whose label is likely wrong, by confident learning (Northcutt et al. 2021, JAIR 70) with cleanlab.

Given probabilities of networks that did not learn from these rows, else the errors were learned too.
"""

# S samples · Q outputs that are judged: one for yes or no, one a class otherwise

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray


def likely_label_errors(
    targets_SQ: NDArray[np.floating], probs_SQ: NDArray[np.floating], *, is_multiclass: bool
) -> list[tuple[int, int]]:
    """(row, output) of labels that are likely wrong, the likeliest first: those whose own label has the least
    probability. Of a multiclass row `output` is the class that it is likely of.

    `targets_SQ` holds 0 and 1, `probs_SQ` probabilities in 0 to 1; where just one class is true they sum to 1.
    """
    if not len(targets_SQ):
        return []
    if is_multiclass:
        class_S = targets_SQ.argmax(axis=1)
        return [(row, int(probs_SQ[row].argmax())) for row in _issues(class_S, probs_SQ.astype(np.float64))]
    found = []
    for q in range(targets_SQ.shape[1]):
        is_yes_S, prob_S = targets_SQ[:, q].astype(np.intp), probs_SQ[:, q].astype(np.float64)
        for row in _issues(is_yes_S, np.stack([1 - prob_S, prob_S], axis=1)):
            own = prob_S[row] if is_yes_S[row] else 1 - prob_S[row]
            found.append((float(own), row, q))
    return [(row, q) for _, row, q in sorted(found)]


def _issues(class_S: NDArray[np.intp], probs_SC: NDArray[np.float64]) -> list[int]:
    """The rows, the likeliest first; none where only one class has rows."""
    from cleanlab.filter import find_label_issues  # type: ignore[import-untyped]

    if len(np.unique(class_S)) < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with few rows: fewer errors are found there
        rows = find_label_issues(class_S, probs_SC, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [int(row) for row in rows]
