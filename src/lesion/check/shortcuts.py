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
from lesion.evaluation.enough import why_unranked
from lesion.evaluation.metrics import has_both_classes, roc_auc, score_all

GIVES_AWAY = 0.99  # the AUC from which on a column is the target in other words
MIN_ROWS = 30  # fewer reach it by chance
NUM_TREES = 50
MAX_DEPTH = 8
MAX_ROWS = 5000
MAX_FOLDS = 5
NO_CLAIM = (
    "If that is far above 0.5, look how images of the classes differ in how they were taken. "
    "It does not tell what a network uses, whatever the network scores."
)


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
    """The AUC of each group of shortcut features alone, and of all of them together, by a forest that can bend."""
    groups = {**features, "all": np.concatenate(list(features.values()), axis=1)}
    found = {name: forest_auc(values, targets_SQ, valid_FS) for name, values in groups.items()}
    return {name: round(auc, 4) for name, auc in found.items() if auc is not None}


def forest_auc(features_SD: NDArray[np.floating], targets_SQ: NDArray[np.floating], valid_FS: Folds) -> float | None:
    """Out-of-fold AUC of a small forest: of all pairs of a positive and a negative row of the same fold, the share in
    which the positive scores higher. Of several outputs the mean over those that have enough rows; None if none has.

    Extremely randomised trees (Geurts et al. 2006). Rows of two folds are not compared: with few rows a model's mean
    follows the training rows' prevalence, which is high where the validation rows' is low, and noise would look worse
    than chance. At most MAX_FOLDS folds, and MAX_ROWS rows drawn to learn from: this runs in every check.
    """
    num_outputs = targets_SQ.shape[1]
    positives_Q, negatives_Q, pairs_Q, ordered_Q = np.zeros((4, num_outputs))
    for valid_S in valid_FS[:MAX_FOLDS]:
        learned = np.flatnonzero(~valid_S)
        if len(learned) > MAX_ROWS:
            learned = np.random.default_rng(0).choice(learned, MAX_ROWS, replace=False)
        if not len(learned) or not valid_S.any():
            continue
        held_SQ = targets_SQ[valid_S]
        probs_SQ = _forest_probs(features_SD[learned], targets_SQ[learned], features_SD[valid_S])
        for q in np.flatnonzero(_has_both(held_SQ) & _has_both(targets_SQ[learned])):
            positives, negatives = (held_SQ[:, q] == 1).sum(), (held_SQ[:, q] == 0).sum()
            positives_Q[q] += positives
            negatives_Q[q] += negatives
            pairs_Q[q] += positives * negatives
            ordered_Q[q] += positives * negatives * roc_auc(held_SQ[:, q], probs_SQ[:, q])
    is_enough_Q = [why_unranked(*counts) is None for counts in zip(positives_Q, negatives_Q, strict=True)]
    return float(np.mean(ordered_Q[is_enough_Q] / pairs_Q[is_enough_Q])) if any(is_enough_Q) else None


def _forest_probs(
    learned_SD: NDArray[np.floating], learned_SQ: NDArray[np.floating], held_SD: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Probabilities [held rows, Q] of a forest that learned from the other rows."""
    from sklearn.ensemble import ExtraTreesClassifier

    forest = ExtraTreesClassifier(n_estimators=NUM_TREES, max_depth=MAX_DEPTH, min_samples_leaf=5, random_state=0)
    num_outputs = learned_SQ.shape[1]
    if num_outputs > 1 and (learned_SQ.sum(axis=1) == 1).all():  # one of several classes: one forest for all
        probs_SQ = np.zeros((len(held_SD), num_outputs))
        forest.fit(learned_SD, learned_SQ.argmax(axis=1))
        probs_SQ[:, forest.classes_] = forest.predict_proba(held_SD)
        return probs_SQ
    forest.fit(learned_SD, learned_SQ if num_outputs > 1 else learned_SQ[:, 0])
    found = forest.predict_proba(held_SD)
    return np.stack([probs[:, -1] for probs in (found if num_outputs > 1 else [found])], axis=1)


def _has_both(targets_SQ: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray(targets_SQ.min(axis=0) != targets_SQ.max(axis=0))


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
    """The finding about shortcuts: the AUC by size, border and colour alone; none of too few rows."""
    if "all" not in aucs:
        return []
    parts = ", ".join(f"{name} {auc:.3f}" for name, auc in aucs.items() if name != "all")
    return [
        Finding(
            "note",
            "shortcuts",
            f"a small forest on size, border and mean colour alone reaches ROC AUC {aucs['all']:.3f} ({parts}), "
            "out of fold",
            NO_CLAIM,
        )
    ]
