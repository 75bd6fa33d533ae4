"""Targets: what kind of question the target column asks, and what follows: outputs, activation, loss."""

# N batch · K outputs

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Target:
    """One question and its answers' names, in the order of class 0, class 1."""

    kind: Literal["binary"]
    class_names: tuple[str, str]

    @property
    def num_outputs(self) -> int:
        return 1

    def activation(self, logits_NK: Tensor) -> Tensor:
        """Probabilities in [0, 1] of logits of any shape that ends in K."""
        return logits_NK.sigmoid()

    def loss(self, logits_NK: Tensor, targets_NK: Tensor, *, positive_weight: float) -> Tensor:
        """Binary cross-entropy [N, K], not reduced; class 1 counts `positive_weight` times."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        weight = logits_NK.new_tensor(positive_weight)
        return binary_cross_entropy_with_logits(logits_NK, targets_NK, pos_weight=weight, reduction="none")
