"""Picture map: how much each place of a picture speaks for a class, in the coordinates of the picture as it was sent.

NumPy and OpenCV alone: a server without torch draws maps too.
"""

# h, w places of a grid over the network's square · H, W pixels · V views

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.data.transforms import undo_view
from lesion.geometry import Fit

LONGEST_PX = 256  # of a map's longer side: a grid has 4 to 30 places a side, so more pixels would show no more
OPACITY = 0.6  # of the hottest place of an overlay


@dataclass(frozen=True)
class PictureMap:
    """A map of the square that the networks saw, and how that square was made of a picture of `height` × `width`.

    `values_hw` are finite float32 in the method's own unit; higher speaks more for the class. `ends` are the values of
    no and of most heat, for a unit that means the same in each picture; None: each picture has its own.
    """

    values_hw: NDArray[np.float32]
    class_name: str
    method: str
    height: int
    width: int
    fit: Fit
    ends: tuple[float, float] | None = None

    def in_picture(self, longest_px: int = LONGEST_PX) -> NDArray[np.float32]:
        """The values [H, W] in the picture's shape, its longer side `longest_px` or the picture's own if that is less.

        NaN where the networks saw nothing: beside the middle square of an oblong picture with fit=crop.
        """
        scale = min(1.0, longest_px / max(self.height, self.width))
        height, width = max(1, round(self.height * scale)), max(1, round(self.width * scale))
        if self.fit == "stretch":
            return _resized(self.values_hw, height, width)
        if self.fit == "pad":
            longer = max(height, width)
            top, left = (longer - height) // 2, (longer - width) // 2
            return _resized(self.values_hw, longer, longer)[top : top + height, left : left + width]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        values_HW = np.full((height, width), np.nan, np.float32)
        values_HW[top : top + side, left : left + side] = _resized(self.values_hw, side, side)
        return values_HW

    def heat(self, longest_px: int = LONGEST_PX) -> NDArray[np.float32]:
        """What is shown, [H, W] in 0 to 1: 0 where the picture speaks no more for the class than at its median place
        or was not seen, 1 where it speaks most. A map that is the same everywhere is 0 everywhere. With `ends` these
        are 0 and 1, whatever the picture.
        """
        values_HW = self.in_picture(longest_px)
        if self.ends is None:
            return heat_of(values_HW)
        low, high = self.ends
        heat_HW = np.nan_to_num(np.clip((values_HW - low) / max(high - low, 1e-6), 0, 1), nan=0.0)
        return np.asarray(heat_HW, dtype=np.float32)

    def png(self) -> bytes:
        """The heat as a grey PNG of 8 bits."""
        is_written, content = cv2.imencode(".png", np.round(255 * self.heat()).astype(np.uint8))
        assert is_written
        return content.tobytes()

    def over(self, picture_HWC: Pixels) -> Pixels:
        """The picture (uint8 RGB [H, W, 3]) with its heat laid over it in colours from dark red to bright yellow, which
        differ in lightness too; where the heat is 0 the picture is as it was."""
        height, width = picture_HWC.shape[:2]
        heat_HW1 = cv2.resize(self.heat(), (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        levels_HW = np.round(255 * heat_HW1[..., 0]).astype(np.uint8)
        colours_HWC = cv2.cvtColor(cv2.applyColorMap(levels_HW, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        opacity_HW1 = OPACITY * np.sqrt(heat_HW1)
        mixed_HWC = (1 - opacity_HW1) * picture_HWC + opacity_HW1 * colours_HWC
        return np.asarray(np.round(mixed_HWC), dtype=np.uint8)


def heat_of(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values of any shape, NaN for unseen, as heat in 0 to 1: from their median to their largest."""
    seen = values[np.isfinite(values)]
    middle, most = float(np.median(seen)), float(seen.max())
    if most - middle <= 1e-6 * max(abs(most), abs(middle), 1e-30):  # the same everywhere, but for rounding
        return np.zeros_like(values)
    heat = np.nan_to_num(np.clip((values - middle) / (most - middle), 0, 1), nan=0.0)
    return np.asarray(heat, dtype=np.float32)


def mean_of_views(maps_Vhw: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean [h, w] of the maps of a square's first V views, each turned back to how the square lies."""
    undone_Vhw = [undo_view(map_hw, number) for number, map_hw in enumerate(maps_Vhw)]
    return np.asarray(np.mean(undone_Vhw, axis=0), dtype=np.float32)


def _resized(values_hw: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Between the centres of places linearly; a map that is larger than wanted by area."""
    is_smaller = height < values_hw.shape[0] or width < values_hw.shape[1]
    method = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    values_hw = np.ascontiguousarray(values_hw, np.float32)
    return np.asarray(cv2.resize(values_hw, (width, height), interpolation=method), dtype=np.float32)
