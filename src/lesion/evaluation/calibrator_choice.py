"""Calibrator choice: which calibrator out-of-fold rows support, learnt and judged on different patients.

Every method is fitted on some patients and judged on others; what has the best held-out log loss is fitted on all. The
parts are dealt by patient and not by fold: an endpoint shows new patients to these same networks, and one network's own
offset would decide what is chosen for the others. Rows with NaN, in target or probability, are left out.
"""

# S samples · K outputs · Q outputs that are fitted together: all classes of a softmax, or one sigmoid

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.calibrator_fits import fit
from lesion.evaluation.calibrators import METHODS, Calibrator, Method, OutputMap, no_calibration
from lesion.evaluation.metrics import Array, log_loss
from lesion.evaluation.parts import parts_by_group
from lesion.evaluation.resampling import number_groups

# Patients (slides) with rows of the rarest class: rows of one are alike, and an offset learnt of few is theirs. A
# temperature helps from five on (decision 54).
FEWEST_FOR_PLATT = 20
FEWEST_FOR_ISOTONIC = 100
MOST_CLASSES = 20  # for vector scaling and isotonic: two numbers a class and more
NUM_PARTS, NUM_NESTED_PARTS = 10, 5


@dataclass(frozen=True)
class CalibratorChoice:
    """A fitted calibrator, and for each of its outputs (of a softmax once) the held-out log loss in nats of each method
    that was tried, and why not all were.
    """

    calibrator: Calibrator
    log_losses: tuple[dict[Method, float], ...]
    why: tuple[str | None, ...]


def choose_calibrator(
    targets_SK: Array,
    probs_SK: Array,
    group_S: NDArray[Any],
    *,
    is_multiclass: bool,
    method: Method | Literal["auto"] = "auto",
) -> CalibratorChoice:
    """The calibrator of out-of-fold probabilities [S, K] in [0, 1] with the best held-out log loss; of equal ones the
    simpler.

    `targets_SK` are 0 or 1, one-hot for several classes; `group_S` is each row's patient. Labels are fitted and chosen
    each by itself. A `method` that is asked for is fitted without comparison; where rows are too few for it, the next
    simpler one.
    """
    return _choose(targets_SK, probs_SK, group_S, NUM_PARTS, is_multiclass=is_multiclass, method=method)


def nested_calibrators(
    targets_SK: Array,
    probs_SK: Array,
    group_S: NDArray[Any],
    *,
    is_multiclass: bool,
    method: Method | Literal["auto"] = "auto",
) -> list[tuple[NDArray[np.bool_], Calibrator]]:
    """For each fifth of the patients the mask [S] of their rows, and the calibrator that was chosen and fitted on all
    others: what it gives for these rows may be judged. Of a single patient nothing can be fitted: the method none.
    """
    part_S = parts_by_group(group_S, NUM_NESTED_PARTS)
    if len(np.unique(part_S)) == 1:
        return [(np.ones(len(part_S), dtype=bool), no_calibration(is_multiclass, probs_SK.shape[1]))]
    found = []
    for part in np.unique(part_S):
        is_held = part_S == part
        others = (targets_SK[~is_held], probs_SK[~is_held], group_S[~is_held])
        choice = _choose(*others, NUM_NESTED_PARTS, is_multiclass=is_multiclass, method=method)
        found.append((is_held, choice.calibrator))
    return found


def _choose(
    targets_SK: Array,
    probs_SK: Array,
    group_S: NDArray[Any],
    num_parts: int,
    *,
    is_multiclass: bool,
    method: Method | Literal["auto"],
) -> CalibratorChoice:
    part_S, code_S = parts_by_group(group_S, num_parts), number_groups(group_S)[0]
    columns = [slice(None)] if is_multiclass else [slice(k, k + 1) for k in range(targets_SK.shape[1])]
    maps: list[OutputMap] = []
    losses, reasons = [], []
    for of_output in columns:
        targets_SQ, probs_SQ = targets_SK[:, of_output], probs_SK[:, of_output]
        is_known_S = ~(np.isnan(targets_SQ).any(axis=1) | np.isnan(probs_SQ).any(axis=1))
        known = (targets_SQ[is_known_S], probs_SQ[is_known_S], code_S[is_known_S], part_S[is_known_S])
        found = _choose_one(*known, is_multiclass=is_multiclass, method=method)
        maps += found[0]
        losses.append(found[1])
        reasons.append(found[2])
    return CalibratorChoice(Calibrator(is_multiclass, tuple(maps)), tuple(losses), tuple(reasons))


def _choose_one(
    targets_SQ: Array,
    probs_SQ: Array,
    code_S: NDArray[np.intp],
    part_S: NDArray[np.intp],
    *,
    is_multiclass: bool,
    method: Method | Literal["auto"],
) -> tuple[tuple[OutputMap, ...], dict[Method, float], str | None]:
    parts = np.unique(part_S).tolist()
    possible, why = _possible(targets_SQ, code_S, part_S, is_multiclass)
    if method != "auto":
        simpler = [name for name in METHODS[: METHODS.index(method) + 1] if name in possible]
        maps = fit(targets_SQ, probs_SQ, simpler[-1], is_multiclass=is_multiclass)
        return maps, {}, why if method != simpler[-1] else None
    if len(possible) == 1:
        return (OutputMap("none"),), {}, why
    losses: dict[Method, float] = {}
    for name in possible:
        held_SQ = np.empty(probs_SQ.shape, dtype=np.float64)
        for part in parts:
            is_held = part_S == part
            maps = fit(targets_SQ[~is_held], probs_SQ[~is_held], name, is_multiclass=is_multiclass)
            held_SQ[is_held] = Calibrator(is_multiclass, maps).apply(np.asarray(probs_SQ[is_held]))
        losses[name] = log_loss(targets_SQ, held_SQ, is_multiclass)
    best = min(losses, key=lambda name: round(losses[name], 9))  # the first of equal ones
    return fit(targets_SQ, probs_SQ, best, is_multiclass=is_multiclass), losses, why


def _possible(
    targets_SQ: Array, code_S: NDArray[np.intp], part_S: NDArray[np.intp], is_multiclass: bool
) -> tuple[list[Method], str | None]:
    """The methods that the patients outside each part are enough for, and why these are not all."""
    parts = np.unique(part_S)
    if len(parts) < 2:
        return ["none"], "there are fewer than two groups, so no rows that could judge a calibrator"
    fewest = min(_rarest(targets_SQ[part_S != part], code_S[part_S != part], is_multiclass) for part in parts)
    num_classes = targets_SQ.shape[1] if is_multiclass else 2
    if fewest == 0 and not is_multiclass:
        return ["none"], "outside one of the parts all rows are of one class"
    if num_classes > MOST_CLASSES:
        return ["none", "temperature"], f"more than {MOST_CLASSES} classes: a temperature at most"
    of_the_rarest = f"{fewest} groups with the rarest class outside one of the parts"
    if fewest < FEWEST_FOR_PLATT:
        return [
            "none",
            "temperature",
        ], f"{of_the_rarest}: a temperature at most"
    if fewest < FEWEST_FOR_ISOTONIC:
        return [
            "none",
            "temperature",
            "platt",
        ], f"{of_the_rarest}: not isotonic"
    return list(METHODS), None


def _rarest(targets_SQ: Array, code_S: NDArray[np.intp], is_multiclass: bool) -> int:
    """In how many groups the class occurs that occurs in the fewest."""
    of_classes = targets_SQ.T == 1 if is_multiclass else (targets_SQ[:, 0] == 1, targets_SQ[:, 0] != 1)
    return min(len(np.unique(code_S[is_class_S])) for is_class_S in of_classes)
