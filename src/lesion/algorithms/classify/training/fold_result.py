"""Fold result: what a finished fold gives to all that follows, and its checkpoint."""

# E epochs · K outputs · S validation rows · V views

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.data.metadata import ColumnEncoder, MetadataEncoder
from lesion.engine.checkpoint import State


@dataclass(frozen=True)
class FoldResult:
    """One fold's best weights, and their logits for the validation rows `index_S`.

    `prediction_settings` are the hyperparameters that the logits depend on beside the weights. `epoch_logits_ESK` are
    those rows' logits, without TTA, after each epoch from `first_epoch` on, which is -1 for a linear probe; None where
    they are too many. A refit and a soup have no validation rows of their own that chose an epoch: they keep the
    defaults.
    """

    fold: int
    weights: dict[str, Tensor]
    encoder: MetadataEncoder
    index_S: NDArray[np.intp]
    logits_SVK: NDArray[np.float32]
    prediction_settings: dict[str, Any]
    best_epoch: int
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    first_epoch: int = 0
    epoch_logits_ESK: NDArray[np.float32] | None = None

    @property
    def last_epoch(self) -> int:
        """The last epoch after which the held-out rows were evaluated."""
        return len(self.history) - 1

    @property
    def num_epochs(self) -> int:
        """Among how many networks the best was chosen, a linear probe included."""
        return self.last_epoch - self.first_epoch + 1

    def state(self) -> State:
        arrays = {"index_S": torch.from_numpy(self.index_S), "logits_SVK": torch.from_numpy(self.logits_SVK)}
        if self.epoch_logits_ESK is not None:
            arrays["epoch_logits_ESK"] = torch.from_numpy(self.epoch_logits_ESK)
        values = {
            "fold": self.fold,
            "encoder": [asdict(column) for column in self.encoder.columns],
            "prediction_settings": self.prediction_settings,
            "best_epoch": self.best_epoch,
            "metrics": self.metrics,
            "history": self.history,
            "first_epoch": self.first_epoch,
        }
        return State({**arrays, **{f"weights.{name}": tensor for name, tensor in self.weights.items()}}, values)

    @classmethod
    def of_bytes(cls, content: bytes) -> FoldResult:
        """The result whose state made `content`."""
        return cls.of_state(State.from_bytes(content))

    @classmethod
    def of_state(cls, state: State) -> FoldResult:
        values = state.values
        columns = [
            ColumnEncoder(**{**column, "categories": tuple(column["categories"])}) for column in values["encoder"]
        ]
        return cls(
            fold=values["fold"],
            weights=state.below("weights"),
            encoder=MetadataEncoder(tuple(columns)),
            index_S=state.tensors["index_S"].numpy(),
            logits_SVK=state.tensors["logits_SVK"].numpy(),
            prediction_settings=values["prediction_settings"],
            best_epoch=values["best_epoch"],
            metrics=values["metrics"],
            history=values["history"],
            first_epoch=values["first_epoch"],
            epoch_logits_ESK=epoch_logits.numpy()
            if (epoch_logits := state.tensors.get("epoch_logits_ESK")) is not None
            else None,
        )
