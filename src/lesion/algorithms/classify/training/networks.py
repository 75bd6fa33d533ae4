"""Networks: which networks a job serves, and which predictions say what these are worth, by `final_model`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lesion.algorithms.classify.manifest import FinalModel
from lesion.algorithms.classify.training.fold_result import FoldResult

# Whose predictions the metrics are of, where there are several folds.
JUDGED: dict[FinalModel, str] = {
    "ensemble": "Each image by the network of the fold that held it out. All networks together are served, and were "
    "not judged as such.",
    "refit": "Each image by the network of the fold that held it out. One network is served, which was trained again "
    "on all rows, as those of the folds were on fewer: this is its cross-validation estimate, mostly a little too low.",
    "soup": "Images that were held back from all folds, by the network that is served.",
}


@dataclass(frozen=True)
class Networks:
    """The folds of a job, those networks that its artifact holds, and those whose predictions are judged.

    An ensemble is all folds, judged by the rows that each held out. A refit is one network, judged by the folds, which
    were trained as it was. A soup is one network too, judged by rows that no fold was trained on.
    """

    kind: FinalModel
    folds: Sequence[FoldResult]
    served: Sequence[FoldResult]
    judged: Sequence[FoldResult]

    @property
    def is_refit(self) -> bool:
        return self.kind == "refit"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The epochs of all that was trained: the folds', then a refit's."""
        more = [network.history for network in self.served if self.is_refit]
        return [row for rows in (*(fold.history for fold in self.folds), *more) for row in rows]

    def as_json(self) -> dict[str, Any]:
        """For metrics.json: what is served, and whose predictions the metrics are of."""
        epochs = {"epochs": len(self.served[0].history)} if self.is_refit else {}
        return {"kind": self.kind, "networks": len(self.served), **epochs, "judged": JUDGED[self.kind]}

    @classmethod
    def ensemble(cls, folds: Sequence[FoldResult]) -> Networks:
        return cls("ensemble", folds, folds, folds)

    @classmethod
    def refit(cls, folds: Sequence[FoldResult], network: FoldResult) -> Networks:
        return cls("refit", folds, [network], folds)

    @classmethod
    def soup(cls, folds: Sequence[FoldResult], network: FoldResult) -> Networks:
        return cls("soup", folds, [network], [network])
