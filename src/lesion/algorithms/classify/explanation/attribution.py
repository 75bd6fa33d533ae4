"""Attribution: by how much the log-odds of a class would change if one cell of the metadata were another.

Log-odds are those of the probability that is answered: calibrated, at the deployment's prevalence.
"""

# F folds · K outputs · M metadata features

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Output
from lesion.algorithms.classify.manifest import FoldRecord
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.prediction.predictor import Ensemble, Prepared, known_words
from lesion.data.metadata import ColumnEncoder
from lesion.explain.explained_class import ExplainedClass

MAX_WORDS = 12  # of a category that are tried as usual ones, spread over the alphabet

Cell = list[float] | str | None  # features, a word, or missing


class MetadataAttribution:
    """Two changes a column. `if_missing_…`: the cell is emptied (occlusion). `if_usual_…`: the cell gets a usual value,
    which is for a number training's mean, for a category each word that training knew, for a boolean both values; the
    mean over them is told.

    A missing cell is itself an input that training may hardly have seen, so the two may differ.
    """

    def __init__(self, ensemble: Ensemble, folds: Sequence[FoldRecord]) -> None:
        self._ensemble, self._folds = ensemble, folds
        words = known_words(folds)
        self._words = {name: _spread(known.categories) for name, known in words.items()}
        self.names = tuple(
            f"{what}_{name}" for name in ensemble.metadata_columns for what in ("if_missing", "if_usual")
        )

    def log_odds(self, output: Output, explained: ExplainedClass) -> float:
        """The log-odds of the class, as the answer to this output has its probability."""
        ensemble = self._ensemble
        return explained.log_odds_of_answer(combine(ensemble.target, output.logits_FVK, ensemble.calibration))

    def __call__(self, picture: Prepared, explained: ExplainedClass) -> Mapping[str, float]:
        """Each change by its name, without further views of the picture."""
        picture = replace(picture, num_views=1, wanted_map=None)
        changed: list[tuple[str, Prepared]] = []
        for place, name in enumerate(self._ensemble.metadata_columns):
            changed.append((f"if_missing_{name}", self._with(picture, place, None)))
            changed += [(f"if_usual_{name}", self._with(picture, place, cell)) for cell in self._usual(place, name)]
        pictures = [picture, *(each for _, each in changed)]
        size, executor = self._ensemble.max_batch, self._ensemble.executors[0]
        outputs = [
            output for start in range(0, len(pictures), size) for output in executor(pictures[start : start + size])
        ]
        whole, *others = (self.log_odds(output, explained) for output in outputs)
        changes: dict[str, list[float]] = {name: [] for name in self.names}
        for (name, _), value in zip(changed, others, strict=True):
            changes[name].append(value - whole)
        return {name: float(np.mean(values)) if values else 0.0 for name, values in changes.items()}

    def _usual(self, place: int, name: str) -> Iterator[Cell]:
        encoder = self._folds[0].metadata[place]
        if encoder.kind == "category":
            yield from self._words[name]
        elif encoder.kind == "boolean":
            yield from ([1.0, 0.0], [-1.0, 0.0])
        else:
            yield [0.0, 0.0]  # the mean, which is not missing

    def _with(self, picture: Prepared, place: int, cell: Cell) -> Prepared:
        """The picture with another cell in a column, as each fold encodes it."""
        features_FM = []
        for own_M, record in zip(picture.features_FM, self._folds, strict=True):
            start = sum(encoder.width for encoder in record.metadata[:place])
            encoder = record.metadata[place]
            features_FM.append(_replaced(own_M, start, _encoded(encoder, cell) if encoder.width else []))
        return replace(picture, features_FM=features_FM)


def _encoded(encoder: ColumnEncoder, cell: Cell) -> list[float]:
    return cell if isinstance(cell, list) else encoder.encode(cell)


def _replaced(features_M: NDArray[np.float32], start: int, values: Sequence[float]) -> NDArray[np.float32]:
    changed_M = features_M.copy()
    changed_M[start : start + len(values)] = values
    return changed_M


def _spread(words: Sequence[str]) -> list[str]:
    places = np.linspace(0, len(words) - 1, min(MAX_WORDS, len(words))).astype(int)
    return [words[place] for place in places]
