"""Methods: the map of one square by one network, whatever the method's name. Those that need torch."""

# H, W pixels · h, w places · M metadata features

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.explain.explained_class import ExplainedClass
from lesion.explain.gradient import (
    CAM,
    FAMILY,
    INTEGRATED_GRADIENTS,
    OCCLUSION,
    cam,
    gradient_maps,
    integrated_gradients,
    level_named,
    predicted_logits,
)
from lesion.explain.occlusion import occlusion_map
from lesion.models.fusion import FusionNet

METHODS = (*FAMILY, CAM, OCCLUSION, INTEGRATED_GRADIENTS)


def map_by(
    network: FusionNet,
    square_HWC: Pixels,
    metadata_M: NDArray[np.float32],
    explained: ExplainedClass,
    *,
    method: str,
    level: str = "",
) -> NDArray[np.float32]:
    """How much each place [h, w] of a square speaks for a class, by one of METHODS; `level` is for those of FAMILY.

    Raises ValueError where the network has no such level, or no grid for the method.
    """
    if method in FAMILY:
        return gradient_maps(network, square_HWC, metadata_M, level_named(network, level), explained)[method]
    if method == CAM:
        return cam(network, square_HWC, metadata_M, explained)
    if method == INTEGRATED_GRADIENTS:
        return integrated_gradients(network, square_HWC, metadata_M, explained)
    if method == OCCLUSION:
        return occlusion_map(
            square_HWC, lambda squares: explained.log_odds(predicted_logits(network, squares, metadata_M))
        )
    raise ValueError(f"no method is called {method[:80]!r}")
