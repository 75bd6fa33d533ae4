"""Fold result: what one trained fold leaves, as a value, and as the state that a checkpoint or another host holds."""

# K outputs · S samples · V views

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesion.data.metadata import ColumnEncoder, MetadataEncoder
from lesion.engine.checkpoint import State


@dataclass(frozen=True)
class FoldResult:
    """One fold's best weights, and the logits that they give the rows `index_S` that it held out.

    `prediction_settings` are those that the logits follow from beside the weights.
    """

    fold: int
    weights: dict[str, Tensor]
    encoder: MetadataEncoder
    index_S: NDArray[np.intp]
    logits_SVK: NDArray[np.float32]
    prediction_settings: dict[str, Any]
    best_epoch: int
    metrics: dict[str, float]
    history: list[dict[str, Any]]

    def state(self) -> State:
        arrays = {"index_S": torch.from_numpy(self.index_S), "logits_SVK": torch.from_numpy(self.logits_SVK)}
        values = {
            "fold": self.fold,
            "encoder": [asdict(column) for column in self.encoder.columns],
            "prediction_settings": self.prediction_settings,
            "best_epoch": self.best_epoch,
            "metrics": self.metrics,
            "history": self.history,
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
        )
