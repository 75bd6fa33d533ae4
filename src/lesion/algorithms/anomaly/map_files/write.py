"""Write: the folder of `lesion predict --maps`: a map and an overlay of each image, and of each slide its polygons, its
heat map where its tiles have positions, and a row of slides.csv."""

# H, W pixels

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.anomaly.map_files.density import Tile, picture_of
from lesion.algorithms.anomaly.map_files.polygons import collection, feature, outlines
from lesion.algorithms.anomaly.map_files.positions import Position, positions_of
from lesion.algorithms.anomaly.predictor import AnomalyPredictor
from lesion.algorithms.base import Output
from lesion.data.decode import images
from lesion.data.decode.images import Pixels
from lesion.data.table import SampleTable
from lesion.data.thumbnail import small
from lesion.data.write_csv import write_csv
from lesion.files import ensure_writable, make_folder, numbered_stem, write_atomic

SLIDES = "slides.csv"
OVERLAY_PX, MOSAIC_PX = 1024, 48  # longer sides, at most: of an overlay, and of a tile in a heat map
FLAGS_PX = 512  # in which polygons are drawn
SPOTS_PX = 64  # in which flagged pixels are counted for a heat map
SMALLEST_PX = 50  # of an image: a smaller object is not counted in a heat map
OUTLINE = (0, 255, 255)  # RGB


class MapFiles:
    """A MapWriter. Tiles of slides with positions are kept small until their slide is drawn."""

    def __init__(self, predictor: AnomalyPredictor, folder: Path, table: SampleTable) -> None:
        """Raises UserError for positions that are no numbers, and PlatformError for a folder that cannot be written."""
        self._predictor, self._folder = predictor, folder
        self._names = table.name_S.tolist()
        self._positions = positions_of(table, str(predictor.manifest.config.get("group_column") or ""))
        self._answered: dict[str, list[tuple[float, float, bool]]] = defaultdict(list)  # score, fraction, anomalous
        self._features: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._tiles: dict[str, list[Tile]] = defaultdict(list)
        make_folder(folder)
        ensure_writable(folder / SLIDES)

    def write(self, row: int, output: Output, read: Callable[[int], Pixels]) -> None:
        """The files of one row; of several frames those of the one that is answered for, which `read` gives."""
        predictor, position, name = self._predictor, self._positions[row], str(self._names[row])
        scored = predictor.scored(output)
        image_HWC = read(scored.frame)
        size = image_HWC.shape[:2]
        stem = numbered_stem(row, name)
        map_ = predictor.map_of(scored)
        write_atomic(self._folder / f"{stem}_map.png", predictor.map_of(scored, ends=(0.0, 1.0)).png())
        is_flagged_HW = predictor.flags_of(scored).in_picture(FLAGS_PX) >= 0.5  # False where it is NaN: unseen
        polygons = outlines(is_flagged_HW, size)
        shown_HWC = map_.over(small(image_HWC, side_px=min(OVERLAY_PX, max(size))))
        scale = shown_HWC.shape[1] / size[1]
        rings = [np.round(scale * np.array(ring)).astype(np.int32) for rings in polygons for ring in rings]
        overlay_HWC = cv2.polylines(shown_HWC, rings, isClosed=True, color=OUTLINE, thickness=1)
        write_atomic(self._folder / f"{stem}_overlay.png", images.encode(np.asarray(overlay_HWC, np.uint8), "PNG"))
        self._answered[position.slide].append((scored.score, scored.fraction, scored.is_anomalous))
        found = [feature(rings, position, name=name, score=scored.highest) for rings in polygons]
        if position.corner is None:
            write_atomic(self._folder / f"{stem}.geojson", collection(found))
        else:
            self._features[position.slide] += found
            self._tiles[position.slide].append(_tile(image_HWC, position, is_flagged_HW))

    def finish(self) -> None:
        """Writes what is said of each slide, in the order in which they came."""
        num_rows = Counter(position.slide for position in self._positions)
        rows = []
        for number, (slide, num) in enumerate(num_rows.items()):
            score_T, fraction_T, is_anomalous_T = np.array(self._answered[slide]).reshape(-1, 3).T
            rows.append(
                {
                    "slide": slide,
                    "tiles": len(score_T),
                    "unanswered": num - len(score_T),
                    "flagged_tiles": int(is_anomalous_T.sum()),
                    "anomalous_percentage": round(100 * fraction_T.mean(), 4) if len(score_T) else "",
                    "highest_score": score_T.max() if len(score_T) else "",
                }
            )
            if tiles := self._tiles.get(slide):
                stem = f"slide_{numbered_stem(number, slide.replace('/', '_'))}"
                write_atomic(self._folder / f"{stem}.geojson", collection(self._features[slide]))
                write_atomic(self._folder / f"{stem}_heat_map.png", images.encode(picture_of(tiles), "PNG"))
        write_csv(self._folder / SLIDES, pd.DataFrame(rows))


def _tile(image_HWC: Pixels, position: Position, is_flagged_HW: NDArray[np.bool_]) -> Tile:
    """What the slide's heat map needs of one of its tiles."""
    assert position.corner is not None
    (x, y), downsample, (height, width) = position.corner, position.downsample, image_HWC.shape[:2]
    scale = min(1.0, SPOTS_PX / max(is_flagged_HW.shape))
    shape = (max(1, round(scale * is_flagged_HW.shape[1])), max(1, round(scale * is_flagged_HW.shape[0])))
    spots_HW = cv2.resize(is_flagged_HW.astype(np.float32), shape, interpolation=cv2.INTER_AREA) >= 0.5
    spot_px = height * width / spots_HW.size
    _, label_HW, stats, _ = cv2.connectedComponentsWithStats(spots_HW.astype(np.uint8), connectivity=8)
    is_large = stats[:, cv2.CC_STAT_AREA] * spot_px >= SMALLEST_PX
    row_P, column_P = np.nonzero(spots_HW & is_large[label_HW])
    u_P, v_P = (column_P + 0.5) * width / spots_HW.shape[1], (row_P + 0.5) * height / spots_HW.shape[0]
    return Tile(
        small(image_HWC, side_px=min(MOSAIC_PX, max(height, width))),
        (x, y, x + downsample * width, y + downsample * height),
        np.stack([x + downsample * u_P, y + downsample * v_P], axis=1),
        spot_px,
    )
