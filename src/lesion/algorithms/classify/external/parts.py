"""Parts: what single networks, and the image in a single view, would have answered of a set that none of them knows."""

# F folds · V views · K outputs · S samples

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.report.gains import OF_MEANS, ensemble_named, gains_between, views_named
from lesion.algorithms.classify.results.evaluation import MANY_CLASSES, Answers
from lesion.algorithms.classify.results.summary import metrics_of
from lesion.report.sections import Gain, Missing

ONE = Missing(why="One network and one view: nothing is averaged.")
TOO_MANY = Missing(why=f"Single networks are not compared on more than {MANY_CLASSES} classes.")


@dataclass(frozen=True)
class PartAnswers:
    """Probabilities as they would be served: of each network alone [F, S, K], as `lesion predict --fold` answers, and
    of all networks by the image as it is [S, K]. Without networks where there are too many classes to keep them."""

    predictor: Ensemble
    probs_FSK: NDArray[np.float32]
    one_view_SK: NDArray[np.float32]

    @classmethod
    def of(cls, predictor: Ensemble, num_rows: int) -> PartAnswers:
        num_outputs = predictor.target.num_outputs
        num_folds = len(predictor.folds) if num_outputs <= MANY_CLASSES else 0
        empty = np.full((num_folds + 1, num_rows, num_outputs), np.nan, dtype=np.float32)
        return cls(predictor, empty[1:], empty[0])

    def add(self, row: int, logits_FVK: NDArray[np.float32]) -> None:
        """What the parts answer of one row."""
        target, calibration = self.predictor.target, self.predictor.calibration
        self.one_view_SK[row] = combine(target, logits_FVK[:, :1], calibration)
        for fold, probs_SK in enumerate(self.probs_FSK):
            probs_SK[row] = combine(target, logits_FVK[fold : fold + 1], calibration)

    def gains(self, answers: Answers) -> tuple[Gain, ...] | Missing:
        """The views' and the ensemble's gain: the served answer beside one view, and beside the networks' mean."""
        if not len(self.probs_FSK):
            return TOO_MANY
        num_views, num_folds = self.predictor.model.num_views, len(self.probs_FSK)
        parts, calibration = [self.one_view_SK, *self.probs_FSK], self.predictor.calibration
        if calibration is not None:  # at the prevalence of the training rows, as the answers are judged
            parts = [calibration.for_rows(probs_SK) for probs_SK in parts]
        whole, one_view, *single = (
            metrics_of(probs_SK, answers.labelled, answers.known_S, None)["metrics"]
            for probs_SK in (answers.probs_SK, *parts)
        )
        found = gains_between(views_named(num_views), one_view, whole) if num_views > 1 else []
        if num_folds > 1:
            known = [key for key in OF_MEANS if all(key in one for one in single)]
            mean = {key: float(np.mean([one[key] for one in single])) for key in known}
            found += gains_between(f"{ensemble_named(num_folds)} (without: mean of single ones)", mean, whole)
        return tuple(found) or ONE
