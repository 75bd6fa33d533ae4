"""Served answer: what a client was told, read back: the inverse of answer.py, for answers that were recorded.

Refuses what another model told. Knows neither HTTP nor media types; imports neither torch nor pandas.
"""

# K scores that are compared

from __future__ import annotations

import math
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lesion.targets import Target


def score_names(target: Target) -> dict[str, str]:
    """The names of the scores that are compared, and the class that each is the probability of."""
    if target.positive_class is not None:
        return {"probability": target.positive_class}
    return {f"probability_{name}": name for name in target.class_names}


def read_probabilities(told: object, target: Target) -> NDArray[np.float64] | None:
    """The probabilities [K] of an answer by `score_names`: of an object or line of JSON, the cells of a CSV row as a
    list, or a bare number. None where the answer does not hold all classes (top_k).

    Raises ValueError for other classes, other labels and what is no probability: another model's answer.
    """
    _refuse_other_labels(told, target)
    found: Any = told
    if isinstance(told, dict):
        if target.positive_class is not None and "probability" in told:
            found = told["probability"]
        elif "probabilities" in told and target.positive_class is None:
            found = _by_class(told["probabilities"], target)
            if found is None:
                return None
        elif isinstance(told.get("prediction"), list):
            found = _of_line(told["prediction"], target)
        else:
            raise ValueError(f"it holds no {' and no '.join(score_names(target))}")
    elif isinstance(told, list):
        found = told[:-1]
        if len(found) != len(score_names(target)):
            raise ValueError(f"it has {len(told)} cells, and this model's have {len(score_names(target)) + 1}")
        found = [float(cell) for cell in found]
    numbers = found if isinstance(found, list) else [found]
    if len(numbers) != len(score_names(target)) or not all(is_number(n) and 0 <= n <= 1 for n in numbers):
        raise ValueError("its probabilities are not those of this model's classes")
    return np.array(numbers, dtype=np.float32).astype(np.float64)  # as they were before nine digits were written


def _by_class(told: object, target: Target) -> list[Any] | None:
    """The probabilities in class order; None where some classes are left out (top_k)."""
    if not isinstance(told, dict) or not told or set(told) - set(target.class_names):
        names = ", ".join(sorted(map(str, told))) if isinstance(told, dict) else "none"
        raise ValueError(f"its classes are {names[:200]}")
    return [told[name] for name in target.class_names] if len(told) == len(target.class_names) else None


def _of_line(told: list[Any], target: Target) -> list[Any]:
    """The compared probabilities of a line of JSON Lines, which has one for each class."""
    if len(told) != len(target.class_names):
        raise ValueError(f"it has {len(told)} probabilities, and this model has {len(target.class_names)} classes")
    if target.positive_class is None:
        return told
    return [told[target.class_names.index(target.positive_class)]]


def _refuse_other_labels(told: object, target: Target) -> None:
    """Raises ValueError for an answer with a label that is no answer of this model's."""
    known = set(target.answer_names if target.has_binary_answer else target.class_names)
    labels: list[Any] = []
    if isinstance(told, dict):
        labels = told["labels"] if isinstance(told.get("labels"), list) else [told["label"]] if "label" in told else []
    elif isinstance(told, list):
        labels = [told[-1]] if target.kind != "multilabel" else [label for label in told[-1].split("|") if label]
    if strangers := [str(label) for label in labels if not isinstance(label, str) or label not in known]:
        raise ValueError(f"its label is {strangers[0][:80]}")


def is_number(value: object) -> TypeGuard[float]:
    # Not math.isfinite, which refuses an integer that is too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
