"""Maps: what is asked for when an answer shall come with a map of the picture, and how the folds' maps become one.

Imports no torch: the CPU graph draws maps too.
"""

# F folds · V views · K outputs · h, w places of a grid

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Answer
from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.algorithms.classify.prediction.answer import combine
from lesion.data.decode.images import Pixels
from lesion.evaluation.calibration import Calibration
from lesion.explain.explained_class import ExplainedClass, named_class, usual_class
from lesion.explain.picture_map import PictureMap, mean_of_views
from lesion.explain.record import ExplanationRecord
from lesion.geometry import Fit
from lesion.targets import Target

OCCLUSION = "occlusion"  # of the methods those that follow from many predictions: the picture as it is, no views
CAM = "cam"
SLOW = {OCCLUSION, "integrated_gradients"}


@dataclass(frozen=True)
class WantedMap:
    """A map of one picture: of which class (None: the usual one), by which method, and the picture's own shape.

    `method` and `level` are for torch, `without_gradient` for the CPU graph.
    """

    target: Target
    calibration: Calibration | None
    explained: ExplainedClass | None
    method: str
    level: str
    without_gradient: str
    height: int
    width: int
    fit: Fit

    def explained_for(self, logits_FVK: NDArray[np.float32]) -> ExplainedClass:
        """The class, where the picture's answer may decide it."""
        return self.explained or usual_class(self.target, combine(self.target, logits_FVK, self.calibration))

    def made(self, values_hw: NDArray[np.float32], explained: ExplainedClass, method: str) -> PictureMap:
        """The map, with what is known of the picture."""
        return PictureMap(values_hw, explained.name, method, self.height, self.width, self.fit)


def wanted_map(model: ClassifierRecord, image: Pixels, class_name: str, method: str | None) -> WantedMap:
    """What to draw for a picture. `class_name` "" stands for the usual class, `method` None for the artifact's choice.

    An artifact that chose none is explained by occlusion, which needs no level. Raises UserError of kind
    `custom_attributes` for an unknown class.
    """
    chosen = model.explanation
    level = "final" if chosen is None else chosen.level or "final"
    by_torch = OCCLUSION if chosen is None else chosen.method
    by_graph = OCCLUSION if chosen is None else chosen.without_gradient
    return WantedMap(
        target=model.question,
        calibration=model.calibration,
        explained=named_class(model.question, class_name) if class_name else None,
        method=method or by_torch,
        level=level,
        without_gradient=method or by_graph,
        height=image.shape[0],
        width=image.shape[1],
        fit=model.preprocessing.fit,
    )


def mean_map(
    make: Callable[[int, int], NDArray[np.float32]], *, num_folds: int, num_views: int, method: str
) -> NDArray[np.float32]:
    """The mean [h, w] of `make(fold, view)` over folds and views, as probabilities are averaged; a slow method sees the
    picture as it is and no other view."""
    seen = range(1 if method in SLOW else num_views)
    of_folds = [mean_of_views([make(fold, number) for number in seen]) for fold in range(num_folds)]
    return np.asarray(np.mean(of_folds, axis=0), dtype=np.float32)


def with_map(answer: Answer, picture_map: PictureMap, chosen: ExplanationRecord | None) -> Answer:
    """The answer with its map in the objects of JSON and JSON Lines: a PNG in base64, its class and its method; and a
    warning where training found that such maps are not to be read."""
    drawn = {
        "map": base64.b64encode(picture_map.png()).decode("ascii"),
        "map_class": picture_map.class_name,
        "map_method": picture_map.method,
    }
    if chosen is not None and chosen.is_of(picture_map.method) and chosen.warning:
        drawn["map_warning"] = f"do not read the maps: {chosen.warning}"
    fields = {**answer.fields, **drawn}
    return replace(answer, fields=fields, line={**answer.line, **drawn}, bare=fields)
