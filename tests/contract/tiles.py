"""Tiles: small sets of drawn tiles by slide, some with a planted anomaly and its mask."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

SPOT = (slice(20, 36), slice(12, 28))  # where the anomaly is


def draw_tile(path: Path, *, is_anomalous: bool, seed: int) -> None:
    """Stripes on a cloudy ground, so that no tile looks like a copy; an anomaly is a square of coloured dots."""
    rng = np.random.default_rng(seed)
    clouds_HW = cv2.resize(rng.normal(0, 30, (5, 5)), (48, 48), interpolation=cv2.INTER_CUBIC)
    x_HW = np.indices((48, 48))[1] + rng.integers(0, 8)
    grey_HW = 140 + clouds_HW + 20 * np.sin(x_HW * 0.8) + rng.normal(0, 6, (48, 48))
    tile_HWC = np.repeat(grey_HW[..., None], 3, axis=2)
    if is_anomalous:
        tile_HWC[SPOT] = np.where(rng.random((16, 16, 1)) < 0.5, [20, 20, 160], [240, 200, 20])
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(tile_HWC, 0, 255).astype(np.uint8))


def write_set(folder: Path, split: str, num_slides: int, *, has_anomalies: bool, seed: int) -> pd.DataFrame:
    """Slides of four tiles each, of which the last is anomalous in every second slide; with masks."""
    mask_HW = np.zeros((48, 48), np.uint8)
    mask_HW[SPOT] = 255
    rows = []
    for tile in range(4 * num_slides):
        is_anomalous = has_anomalies and tile % 8 == 7
        name = f"{split}_{tile:03d}.png"
        draw_tile(folder / f"{split}_jpg" / name, is_anomalous=is_anomalous, seed=seed + tile)
        mask = f"{split}_masks/{name}" if is_anomalous else ""
        if is_anomalous:
            (folder / f"{split}_masks").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / mask), mask_HW)
        row = {"image_name": name, "patient_id": f"{split}{tile // 4}", "target": int(is_anomalous), "mask": mask}
        rows.append(row)
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / f"{split}.csv", index=False)
    return frame
