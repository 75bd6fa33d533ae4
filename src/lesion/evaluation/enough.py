"""Enough: from how many positives and negatives on an order of rows is a number. The one place that decides it.

With fewer there are counts and a reason, in metrics.json, reports, folds, curves, subgroups and comparisons alike
(issue 20). What training itself reads, the metric lines of a tuner and the choice of an epoch, stays a number: see
`metrics.score_all`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_ROWS = 10  # positives, and negatives


def why_unranked(num_positives: int, num_negatives: int) -> str | None:
    """In words, why such rows have no AUC, nor anything else that ranks them; None if they have."""
    few = [
        f"too few {name} ({count})"
        for name, count in (("positives", num_positives), ("negatives", num_negatives))
        if count < MIN_ROWS
    ]
    return f"{' and '.join(few)}: no AUC with fewer than {MIN_ROWS}" if few else None


def why_unranked_rows(target_S: NDArray[Any]) -> str | None:
    """The same of targets [S], 0 or 1; NaN is not known."""
    return why_unranked(int((np.asarray(target_S) == 1).sum()), int((np.asarray(target_S) == 0).sum()))


def said_of_mean(why_Q: Sequence[str | None]) -> str | None:
    """What is said of a mean over outputs, of each of which is given why it is not ranked: which are left out, or why
    there is no mean; None where all are ranked.
    """
    num_ranked = sum(why is None for why in why_Q)
    if num_ranked == len(why_Q):
        return None
    if num_ranked:
        return f"mean over {num_ranked} of {len(why_Q)} outputs: the others have fewer than {MIN_ROWS} of a class"
    return why_Q[0] if len(why_Q) == 1 else f"no output has {MIN_ROWS} positives and {MIN_ROWS} negatives: no AUC"
