"""Targets: the task type, and what follows from it: number of outputs, activation, loss, predicted label."""

# N batch · S samples · K outputs, one a class (yes or no: one in all) · Q outputs that are judged

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

TaskType = Literal["binary", "multiclass", "multilabel"]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Target:
    """What is predicted. Targets and probabilities are rows [K] of numbers in 0 to 1.

    binary: class 1 of two, K = 1. multiclass: one of K classes, by softmax. multilabel: any of K, by K sigmoids.
    `one_of_many` names the positive class of a multiclass target: all classes are learned, this one against the rest
    is evaluated and served.
    """

    kind: TaskType
    class_names: tuple[str, ...]
    one_of_many: str | None = None

    @property
    def num_outputs(self) -> int:
        return 1 if self.kind == "binary" else len(self.class_names)

    @property
    def has_binary_answer(self) -> bool:
        """Whether the prediction is one probability, made positive or negative by a threshold."""
        return self.kind == "binary" or self.one_of_many is not None

    @property
    def has_multiclass_answer(self) -> bool:
        """Whether the prediction is one of several classes."""
        return self.kind == "multiclass" and self.one_of_many is None

    @property
    def positive_class(self) -> str | None:
        """The class that the probability of a binary answer is of; None where each class has a probability."""
        return self.answer_names[1] if self.has_binary_answer else None

    def as_json(self) -> dict[str, Any]:
        """What is asked, for people and programs: the task type, the classes, and which the probability is of."""
        return {"kind": self.kind, "classes": list(self.class_names), "positive_class": self.positive_class}

    @property
    def answer_names(self) -> tuple[str, str]:
        """The names of the negative and the positive class, for a binary answer."""
        if self.one_of_many is not None:
            return (f"not {self.one_of_many}", self.one_of_many)
        return (self.class_names[0], self.class_names[1])

    def judged_columns(self, values_SK: NDArray[Any]) -> NDArray[Any]:
        """The columns of targets or probabilities [S, K] that are evaluated [S, Q]."""
        if self.one_of_many is None:
            return values_SK
        index = self.class_names.index(self.one_of_many)
        return values_SK[:, index : index + 1]

    def class_of(self, targets_SK: NDArray[np.float32]) -> NDArray[np.intp]:
        """Each row's class as a number, to stratify by; of a multilabel row its rarest label, or K for none."""
        if self.kind == "binary":
            return targets_SK[:, 0].astype(np.intp)
        rarest_first = np.argsort(targets_SK.sum(axis=0), kind="stable")
        has_none_S = targets_SK.max(axis=1) == 0
        rarest_S = rarest_first[targets_SK[:, rarest_first].argmax(axis=1)]
        return np.asarray(np.where(has_none_S, targets_SK.shape[1], rarest_S), dtype=np.intp)

    def counts(self, targets_SK: NDArray[np.float32]) -> dict[str, int]:
        """How many rows each class has; a multilabel row counts for each of its labels."""
        positives_K = targets_SK.sum(axis=0).astype(int).tolist()
        if self.kind == "binary":
            return {self.class_names[0]: len(targets_SK) - positives_K[0], self.class_names[1]: positives_K[0]}
        return dict(zip(self.class_names, positives_K, strict=True))

    def classes(self, targets_SK: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
        """The rows [S] of each class that training needs: each class, and for each label also its absence."""
        if self.kind == "multiclass":
            return {name: is_S == 1 for name, is_S in zip(self.class_names, targets_SK.T, strict=True)}
        if self.kind == "binary":
            return {name: targets_SK[:, 0] == value for value, name in enumerate(self.class_names)}
        pairs = zip(self.class_names, targets_SK.T, strict=True)
        return {word: is_S == value for name, is_S in pairs for word, value in ((name, 1), (f"not {name}", 0))}

    def judged_classes(self, targets_SK: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
        """The rows [S] of each class that a ranking metric needs: positive and negative ones, or all classes."""
        if self.one_of_many is None:
            return self.classes(targets_SK)
        is_yes_S = self.judged_columns(targets_SK)[:, 0] == 1
        return {self.answer_names[0]: ~is_yes_S, self.answer_names[1]: is_yes_S}

    def label(self, probs_K: NDArray[np.floating], thresholds_Q: tuple[float, ...]) -> list[str]:
        """The names that probabilities [K] amount to: one, or for multilabel each that reaches its threshold."""
        if self.has_binary_answer:
            prob = float(self.judged_columns(probs_K[None])[0, 0])
            return [self.answer_names[int(prob >= thresholds_Q[0])]]
        if self.kind == "multiclass":
            return [self.class_names[int(np.argmax(probs_K))]]
        reached = zip(self.class_names, probs_K.tolist(), thresholds_Q, strict=True)
        return [name for name, prob, threshold in reached if prob >= threshold]

    def balanced(self, targets_SK: NDArray[np.float32]) -> Weights:
        """Weights [K] that make the classes of these rows count alike: negatives ÷ positives of each sigmoid;
        rows ÷ (K × rows of the class) of a softmax, whose mean over the rows is 1."""
        positives_K = np.maximum(targets_SK.sum(axis=0), 1)
        if self.kind == "multiclass":
            return np.asarray(len(targets_SK) / (len(positives_K) * positives_K), dtype=np.float32)
        return np.asarray((len(targets_SK) - positives_K) / positives_K, dtype=np.float32)

    @overload
    def activate(self, logits: NDArray[np.floating]) -> NDArray[np.float64]: ...
    @overload
    def activate(self, logits: Tensor) -> Tensor: ...
    def activate(self, logits: NDArray[np.floating] | Tensor) -> NDArray[np.float64] | Tensor:
        """Probabilities in [0, 1] of logits of any shape that ends in K: softmax, or a sigmoid each.

        NumPy's are computed in float64; a tensor keeps its type, so that the step can be exported.
        """
        if not isinstance(logits, np.ndarray):
            return logits.softmax(dim=-1) if self.kind == "multiclass" else logits.sigmoid()
        logits = logits.astype(np.float64)
        if self.kind == "multiclass":
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
        powers = np.exp(-np.abs(logits))  # never overflows
        return np.asarray(np.where(logits >= 0, 1, powers) / (1 + powers))

    def loss(self, logits_NK: Tensor, targets_NK: Tensor, *, weights_K: Weights, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy of each sample [N]: of the softmax, or the mean over the sigmoids.

        `weights_K` weigh a softmax's classes, and a sigmoid's positive targets; 1 changes nothing. `smoothing`
        is label smoothing: (1 − s) t + s ÷ K, where K is two for a sigmoid (Szegedy et al. 2016, section 7).
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        weights = logits_NK.new_tensor(weights_K)
        num_choices = self.num_outputs if self.kind == "multiclass" else 2
        targets_NK = (1 - smoothing) * targets_NK + smoothing / num_choices
        if self.kind == "multiclass":
            return -(weights * targets_NK * logits_NK.log_softmax(dim=1)).sum(dim=1)
        loss_NK = binary_cross_entropy_with_logits(logits_NK, targets_NK, pos_weight=weights, reduction="none")
        return loss_NK.mean(dim=1)
