"""Answer: the networks' logits to probabilities, here and nowhere else, and to what a client reads.

Knows neither HTTP nor media types; imports neither torch nor pandas.
"""

# F folds · V views · K outputs, one a class (yes or no: one in all); … any dimensions before them

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Answer, Options, Output
from lesion.algorithms.classify.manifest import FinalModel
from lesion.algorithms.classify.prediction.point import Point
from lesion.evaluation.calibration import Calibration
from lesion.evaluation.conformal import PredictionSets, two_classes
from lesion.targets import Target

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@overload
def combine(
    target: Target, logits_FVK: NDArray[np.floating], calibration: Calibration | None = None
) -> NDArray[np.float32]: ...
@overload
def combine(target: Target, logits_FVK: Tensor, calibration: Calibration | None = None) -> Tensor: ...
def combine(
    target: Target, logits_FVK: NDArray[np.floating] | Tensor, calibration: Calibration | None = None
) -> NDArray[np.float32] | Tensor:
    """Probabilities [..., K] from logits [..., F, V, K]: activation, the mean over views (TTA), then over folds.

    With a calibration the folds are pooled and calibrated by it; without, their probabilities are averaged. Every
    probability that leaves this program is made here. NumPy's are computed in float64 and returned as float32; a tensor
    keeps its type.
    """
    if isinstance(logits_FVK, np.ndarray):
        return pooled(fold_probs(target, logits_FVK), calibration)
    probs_FK = _mean(target.activate(logits_FVK))
    return _mean(probs_FK) if calibration is None else calibration.apply(probs_FK)


def fold_probs(target: Target, logits_FVK: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each fold's own probabilities [..., F, K] of logits [..., F, V, K], averaged over the views."""
    return _mean(target.activate(logits_FVK))


def pooled(probs_FK: NDArray[np.float64], calibration: Calibration | None) -> NDArray[np.float32]:
    """The ensemble's probabilities [..., K] of each fold's [..., F, K]; each fold has the same weight."""
    probs_K = _mean(probs_FK) if calibration is None else calibration.apply(probs_FK)
    return probs_K.astype(np.float32)


def answer_of(
    output: Output,
    options: Options,
    *,
    target: Target,
    calibration: Calibration | None,
    point: Point,
    prediction_sets: PredictionSets | None,
    folds: Sequence[int],
    final_model: FinalModel = "ensemble",
) -> Answer:
    """The prediction of one picture. Binary: "probability" of the positive class and "label". Multiclass:
    "probabilities" by class and "label". Multilabel: "probabilities" and "labels".

    A line holds a probability for each class, in class order, as SageMaker's built-in image classification does. A row
    of CSV holds the probability of the positive class, or one per class, then the label or labels. With details the
    object and the line also hold the positive class, the prediction of each of the `folds`, and the spread: largest
    minus smallest; where one network is served instead of the folds, what it is. A table names the positive class in
    each row.
    """
    probs_FK = fold_probs(target, output.logits_FVK)
    probs_K = pooled(probs_FK, calibration)
    labels = target.label(probs_K, point.thresholds_Q)
    exact_K = _exact(probs_K)
    fields = _probabilities(exact_K, target)
    if options.top_k is not None and "probabilities" in fields:
        likeliest = sorted(fields["probabilities"].items(), key=lambda item: -item[1])
        fields["probabilities"] = dict(likeliest[: options.top_k])
    fields |= {"labels": labels} if target.kind == "multilabel" else {"label": labels[0]}
    if options.details:
        fields |= _positive_class(target)
        if final_model == "ensemble":
            fields |= _folds(_each_fold(probs_FK, calibration), probs_K, target, folds)
        else:
            fields["final_model"] = final_model
        if prediction_sets is not None:
            at_rows_K = _mean(probs_FK) if calibration is None else calibration.of_rows(probs_FK)
            fields["prediction_set"] = _prediction_set(at_rows_K, prediction_sets, target)
    if point.spec is not None and (options.details or options.operating_point is not None):
        fields["operating_point"] = point.as_json(target)
    all_labels = "|".join(labels)
    return Answer(
        fields=fields,
        line={"prediction": _each_class(exact_K, target), **(fields if options.details else {})},
        cells=[*([_positive(exact_K, target)] if target.has_binary_answer else exact_K), all_labels],
        columns={**probability_columns(exact_K, target), **_positive_class(target), "label": all_labels},
        bare=_positive(exact_K, target) if target.has_binary_answer else fields,
        audit={"label": all_labels, "operating_point": point.as_json(target), "warnings": []},
    )


def has_warnings(options: Options, target: Target) -> bool:
    """Whether what will be read of the answer has a place for `with_warnings`."""
    if options.part == "line":
        return options.details
    is_number = options.part == "bare" and target.has_binary_answer and options.map is None
    return options.part != "cells" and not is_number


def with_warnings(answer: Answer, options: Options, familiarity: float | None, warnings: Sequence[str]) -> Answer:
    """The answer with what the safeguards found: in its object `familiarity`, and `warnings` where there are any; with
    details in its line too; in a table a column. A bare number and a row of CSV have no place for them."""
    more: dict[str, Any] = {} if familiarity is None else {"familiarity": _nine_digits(round(familiarity, 4))}
    more |= {"warnings": list(warnings)} if warnings else {}
    fields = {**answer.fields, **more}
    return replace(
        answer,
        fields=fields,
        line={**answer.line, **more} if options.details else answer.line,
        columns={**answer.columns, "warnings": "|".join(warnings)},
        bare=fields if isinstance(answer.bare, dict) else answer.bare,
        audit={**answer.audit, "warnings": list(warnings)},
    )


def _each_fold(probs_FK: NDArray[np.float64], calibration: Calibration | None) -> NDArray[np.float64]:
    """What each fold alone would answer, [F, K]."""
    return probs_FK if calibration is None else calibration.apply(probs_FK[:, None])


def _prediction_set(probs_K: NDArray[np.float64], sets: PredictionSets, target: Target) -> dict[str, Any]:
    """The classes that the image may have, so that `coverage` of the patients of each class are covered."""
    names: Sequence[str] = target.class_names
    probs_C = probs_K
    if target.has_binary_answer:
        names, probs_C = target.answer_names, two_classes(target.judged_columns(probs_K[None])[0, 0])
    is_in_C = sets.apply(probs_C)
    return {"classes": [name for name, is_in in zip(names, is_in_C, strict=True) if is_in], "coverage": sets.coverage}


def column_names(target: Target) -> list[str]:
    """What `Answer.columns` are called."""
    return [*probability_columns([0.0] * target.num_outputs, target), *_positive_class(target), "label"]


def probability_columns(probs_K: Sequence[T], target: Target) -> dict[str, T]:
    """The probability columns of a table: of the positive class for a binary answer, and one per class of several.

    Each of the `probs_K` is a number, or those of many rows.
    """
    columns = {"probability": _positive(probs_K, target)} if target.has_binary_answer else {}
    if target.kind != "binary":
        columns |= {f"probability_{name}": prob for name, prob in zip(target.class_names, probs_K, strict=True)}
    return columns


def _positive_class(target: Target) -> dict[str, str]:
    """What the bare probability of a binary answer is of; nothing where each class has a probability."""
    return {} if target.positive_class is None else {"positive_class": target.positive_class}


def _folds(
    probs_FK: NDArray[np.float64], probs_K: NDArray[np.float32], target: Target, folds: Sequence[int]
) -> dict[str, Any]:
    of_fold = {}
    for fold, fold_K in zip(folds, probs_FK.astype(np.float32), strict=True):
        told = _probabilities(_exact(fold_K), target)
        of_fold[str(fold)] = told.get("probability", told.get("probabilities"))
    spread_K = _exact(np.ptp(probs_FK, axis=0))
    spread: Any = spread_K[int(probs_K.argmax())]
    if target.kind == "multilabel":
        spread = dict(zip(target.class_names, spread_K, strict=True))
    elif target.has_binary_answer:
        spread = _positive(spread_K, target)
    return {"folds": of_fold, "spread": spread}


def _probabilities(exact_K: Sequence[float], target: Target) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if target.has_binary_answer:
        told["probability"] = _positive(exact_K, target)
    if target.kind != "binary":
        told["probabilities"] = dict(zip(target.class_names, exact_K, strict=True))
    return told


def _positive(values_K: Sequence[T], target: Target) -> T:
    """The value of the positive class, for a binary answer."""
    return values_K[0 if target.one_of_many is None else target.class_names.index(target.one_of_many)]


def _each_class(exact_K: list[float], target: Target) -> list[float]:
    """A probability for each class; two for binary."""
    return [_nine_digits(1 - exact_K[0]), exact_K[0]] if target.kind == "binary" else exact_K


def _exact(values_K: NDArray[np.floating]) -> list[float]:
    """Each float32 in the digits that bring it back, not those of its double."""
    return [_nine_digits(value) for value in values_K.tolist()]


def _nine_digits(value: float) -> float:
    return float(f"{value:.9g}")


Array = TypeVar("Array", bound="NDArray[np.float64] | Tensor")


def _mean(probs: Array) -> Array:
    """The mean over the last dimension but one, added in order. NumPy's own adds in an order that depends on how the
    array lies in memory, and the last bit with it: the same picture would have another answer by another door.
    """
    num_values = probs.shape[-2]
    return sum(probs[..., number, :] for number in range(num_values)) / num_values  # type: ignore[return-value]
