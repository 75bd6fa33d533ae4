"""Shortcuts: how far one gets on the same folds without looking at what a picture shows, or by one column alone."""

# S samples · F folds · D features · Q outputs that are judged

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lesion.check.finding import Finding
from lesion.data.folds import Folds
from lesion.data.metadata import ColumnType, MetadataEncoder, Row
from lesion.errors import UserError
from lesion.evaluation.metrics import has_both_classes, score_all

GIVES_AWAY = 0.99  # the AUC from which on a column is the target in other words
MIN_ROWS = 30  # fewer reach it by chance


def out_of_fold_auc(
    features_SD: NDArray[np.floating], targets_SQ: NDArray[np.floating], valid_FS: Folds
) -> float | None:
    """Out-of-fold AUC of logistic regression on `features_SD`.

    For several outputs the mean of one-vs-rest. None if the validation rows lack a class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sums_SQ = np.zeros(targets_SQ.shape)
    for valid_S in valid_FS:
        for output, target_S in enumerate(targets_SQ.T):
            learned_S = target_S[~valid_S]
            if len(np.unique(learned_S)) < 2:
                return None
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(features_SD[~valid_S], learned_S)
            sums_SQ[valid_S, output] += model.predict_proba(features_SD[valid_S])[:, 1]
    is_valid_S = valid_FS.any(axis=0)
    probs_SQ = sums_SQ[is_valid_S] / valid_FS.sum(axis=0)[is_valid_S, None]
    if not has_both_classes(targets_SQ[is_valid_S]):
        return None
    return score_all(targets_SQ[is_valid_S], probs_SQ, is_multiclass=False)["roc_auc"]


def shortcuts(
    features: Mapping[str, NDArray[np.floating]], targets_SQ: NDArray[np.floating], valid_FS: Folds
) -> dict[str, float]:
    """The AUC of each group of shortcut features alone, and of all of them together."""
    groups = {**features, "all": np.concatenate(list(features.values()), axis=1)}
    found = {name: out_of_fold_auc(values, targets_SQ, valid_FS) for name, values in groups.items()}
    return {name: round(auc, 4) for name, auc in found.items() if auc is not None}


def columns_that_give_away(
    rows: Sequence[Row], kinds: Mapping[str, ColumnType], targets_SQ: NDArray[np.floating], valid_FS: Folds
) -> dict[str, float]:
    """The metadata columns that predict the target on their own (target leakage), with their AUC."""
    if len(rows) < MIN_ROWS:
        return {}
    found = {}
    for name, kind in kinds.items():
        features_SD = MetadataEncoder.fit(rows, {name: kind}).encode(rows)
        auc = out_of_fold_auc(features_SD, targets_SQ, valid_FS) if features_SD.shape[1] else None
        if auc is not None and auc >= GIVES_AWAY:
            found[name] = auc
    return found


def refuse_answers(aucs: Mapping[str, float], *, where: str) -> None:
    """Raises UserError that names the columns with target leakage, if there are any."""
    if aucs:
        listed = ", ".join(f"{name} (ROC AUC {auc:.3f})" for name, auc in aucs.items())
        raise UserError(
            f"metadata columns predict the target almost perfectly on their own (target leakage): {listed}",
            where=where,
            do="Take them out of metadata_columns, or set on_leak=warn if they are known before the diagnosis.",
        )


def shortcut_findings(aucs: Mapping[str, float]) -> list[Finding]:
    """The finding about shortcuts: the AUC by size, border and colour alone; none if it is undefined."""
    if "all" not in aucs:
        return []
    parts = ", ".join(f"{name} {auc:.3f}" for name, auc in aucs.items() if name != "all")
    return [
        Finding(
            "note",
            "shortcuts",
            f"logistic regression on size, border and mean colour alone reaches ROC AUC {aucs['all']:.3f} ({parts})",
            "The network may use them too, even if it scores higher: this model finds only straight lines.",
        )
    ]
