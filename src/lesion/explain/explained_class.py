"""Explained class: which class a map is of, and the score that the map takes apart: the log-odds of that class."""

# K outputs · h, w places of a grid · … any dimensions before them

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import shortened

if TYPE_CHECKING:
    from torch import Tensor

CLIP = 1e-7  # probabilities are kept so far from 0 and 1, float32's own reach


@dataclass(frozen=True)
class ExplainedClass:
    """A class by its name and its output. `sign` is −1 where the class is the absence of what the output stands for."""

    name: str
    index: int
    sign: int
    is_softmax: bool

    def log_odds(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """log(p ÷ (1 − p)) of the class, [...], for logits [..., K] of any kind of target: never infinite."""
        logits = logits.astype(np.float64)
        odds = logits[..., self.index]
        if self.is_softmax:
            others = np.delete(logits, self.index, axis=-1)
            most = others.max(axis=-1)
            odds = odds - most - np.log(np.exp(others - most[..., None]).sum(axis=-1))
        return np.asarray(self.sign * odds)

    def slopes(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """∂ log-odds ÷ ∂ logits, [..., K], at logits [..., K]: by how much a change of each logit changes them."""
        slopes = np.zeros(logits.shape)
        if self.is_softmax:
            others = logits.astype(np.float64)
            others[..., self.index] = -np.inf
            powers = np.exp(others - others.max(axis=-1, keepdims=True))
            slopes -= powers / powers.sum(axis=-1, keepdims=True)
        slopes[..., self.index] = 1.0
        return self.sign * slopes

    def log_odds_of_tensor(self, logits: Tensor) -> Tensor:
        """As `log_odds`, with a gradient."""
        import torch

        odds = logits[..., self.index]
        if self.is_softmax:
            others = torch.cat([logits[..., : self.index], logits[..., self.index + 1 :]], dim=-1)
            odds = odds - others.logsumexp(dim=-1)
        return self.sign * odds

    def log_odds_of_answer(self, probs_K: NDArray[np.floating]) -> float:
        """The log-odds of the class where the answer's probabilities are [K]: calibrated, which logits are not."""
        prob = float(np.clip(probs_K[self.index], CLIP, 1 - CLIP))
        return self.sign * math.log(prob / (1 - prob))

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of the class, [...], for logits [..., K]."""
        return 1 / (1 + np.exp(-np.clip(self.log_odds(logits), -700, 700)))


def class_activation(
    place_logits_Khw: NDArray[np.floating], logits_K: NDArray[np.floating], explained: ExplainedClass
) -> NDArray[np.float32]:
    """What each place [h, w] adds to the log-odds of a class, to first order, of the logits of each place and those of
    the picture (Zhou et al. 2016, eq. 2)."""
    return np.tensordot(explained.slopes(logits_K), place_logits_Khw, axes=1).astype(np.float32)


def class_names(target: Target) -> list[str]:
    """The classes that can be explained; of a binary answer also the negative one."""
    names = list(target.class_names)
    return [*names, target.answer_names[0]] if target.one_of_many is not None else names


def named_class(target: Target, name: str, *, or_else: str = "map=true") -> ExplainedClass:
    """The class of that name, compared without case. Raises UserError of kind `custom_attributes` for another word;
    `or_else` is what whoever named it can say for the usual class."""
    known = class_names(target)
    found = [one for one in known if one == name] or [one for one in known if one.casefold() == name.casefold()]
    if len(found) != 1:
        shown = ", ".join(shortened(one, 80) for one in known[:20]) + (", …" if len(known) > 20 else "")
        raise UserError(
            f"no class to explain is called '{shortened(name, 80)}'",
            do=f"Name one of {shown}; or {or_else}, for the positive or most probable one.",
            kind="custom_attributes",
        )
    softmax = target.kind == "multiclass"
    if target.kind == "binary":
        return ExplainedClass(found[0], 0, 1 if found[0] == target.class_names[1] else -1, softmax)
    if found[0] in target.class_names:
        return ExplainedClass(found[0], target.class_names.index(found[0]), 1, softmax)
    assert target.one_of_many is not None
    return ExplainedClass(found[0], target.class_names.index(target.one_of_many), -1, softmax)


def usual_class(target: Target, probs_K: NDArray[np.floating]) -> ExplainedClass:
    """What is explained unless a class is named: the positive class of a binary answer, else the most probable one."""
    name = target.positive_class
    return named_class(target, target.class_names[int(probs_K.argmax())] if name is None else name)
