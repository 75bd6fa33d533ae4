"""Explainer: where a picture is anomalous, for `lesion explain`. The map is a part of every answer."""

from __future__ import annotations

import math

from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.base import Explanation, Options
from lesion.data.decode.images import Pixels
from lesion.data.metadata import Row


class AnomalyExplainer:
    """An Explainer whose maps show by how much each place of a picture exceeds the threshold."""

    change_names: tuple[str, ...] = ()  # there is no metadata

    def __init__(self, predictor: AnomalyPredictor, *, class_name: str | None, method: str | None) -> None:
        """Raises UserError for a class or a method that there is no map of."""
        self.predictor = predictor
        self._options = Options(map=class_name or "", map_method=method)
        predictor.refuse_options(self._options)

    def explain(self, image: Pixels, row: Row) -> Explanation:
        """Of one picture (uint8 RGB [H, W, 3], any size)."""
        [output] = self.predictor.executors[0]([self.predictor.prepare(image, row, self._options)])
        answer = self.predictor.answer(output, Options())
        score = min(max(float(str(answer.columns["anomaly_score"])), 1e-12), 1 - 1e-12)
        return Explanation(
            answer, self.predictor.map_of(self.predictor.scored(output)), math.log(score / (1 - score)), {}
        )
