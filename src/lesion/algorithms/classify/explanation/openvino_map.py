"""OpenVINO map: a picture's map by the CPU graph, which has no gradients: from the logits of each place, or occlusion.

The graph of places is compiled when the first map is asked for; a server that is asked for none never holds it.
"""

# F folds · V views · K outputs · H, W pixels · h, w places

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.explanation.maps import CAM, OCCLUSION, mean_map
from lesion.data.transforms import views
from lesion.errors import UserError
from lesion.explain.explained_class import class_activation
from lesion.explain.occlusion import occlusion_map
from lesion.explain.picture_map import PictureMap
from lesion.inference.batcher import note_progress

if TYPE_CHECKING:
    import openvino

    from lesion.algorithms.classify.prediction.predictor import Prepared


class PlaceGraph:
    """The logits of each place of the folds' last level. All executors share it, one at a time, on all cores."""

    def __init__(self, compiled: Callable[[], openvino.CompiledModel], folds: Sequence[int]) -> None:
        self._compiled, self._folds = compiled, folds
        self._request: openvino.InferRequest | None = None
        self._takes: set[str] = set()
        self._using = threading.Lock()

    def __call__(
        self, square_HWC: NDArray[np.uint8], features_FM: Sequence[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        """Logits [K, h, w] of each fold."""
        with self._using:
            if self._request is None:
                graph = self._compiled()
                self._request = graph.create_infer_request()
                self._takes = {name for port in graph.inputs for name in port.names}
            given = {f"metadata_{fold}": features_FM[f][None] for f, fold in enumerate(self._folds)}
            metadata = {name: features_1M for name, features_1M in given.items() if name in self._takes}
            answer = self._request.infer({"image": square_HWC[None], **metadata}, share_inputs=True)
            return [np.array(answer[f"places_{fold}"][0]) for fold in self._folds]


def graph_map(
    picture: Prepared,
    logits_FVK: NDArray[np.float32],
    places: PlaceGraph | None,
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> PictureMap:
    """The map of a picture whose logits are known; `logits` computes them of another square, [F, 1, K].

    Raises UserError for a method that needs gradients.
    """
    wanted = picture.wanted_map
    assert wanted is not None
    explained = wanted.explained_for(logits_FVK)
    method = wanted.without_gradient
    if method == CAM and places is not None:
        of_views = [
            places(square_HWC, picture.features_FM) for square_HWC in views(picture.pixels_HWC, picture.num_views)
        ]

        def make(fold: int, number: int) -> NDArray[np.float32]:
            return class_activation(of_views[number][fold], logits_FVK[fold, number], explained)

        values_hw = mean_map(make, num_folds=len(of_views[0]), num_views=picture.num_views, method=CAM)
        return wanted.made(values_hw, explained, CAM)
    if method not in {CAM, OCCLUSION}:
        raise UserError(f"the CPU graph has no gradients for method {method}", do="Use cam or occlusion, or torch.")

    def log_odds(square_HWC: NDArray[np.uint8]) -> float:
        note_progress()
        return float(explained.log_odds(logits(square_HWC)).mean())

    def score(squares_BHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.array([log_odds(square_HWC) for square_HWC in squares_BHWC])

    return wanted.made(occlusion_map(picture.pixels_HWC, score), explained, OCCLUSION)
