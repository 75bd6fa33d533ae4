"""Finite: refuses what a network computed where it is no number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.errors import PlatformError


def finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits or distances of any shape as they are: finite. Raises PlatformError for NaN and infinity.

    A sigmoid would make a sure yes of infinity, and every comparison makes a no of NaN.
    """
    if not np.isfinite(logits).all():
        raise PlatformError(
            "the network's output holds NaN or infinity",
            do="Try again; if it happens again, the artifact or this machine's memory is damaged: use another copy or "
            "machine.",
            kind="no_number",
        )
    return logits
