"""Sample tissue: histology-like tiles drawn by formula, normal ones and some with planted anomalies and exact masks.

A directory goes in; two tables, two folders of JPEGs and two of masks come out. Normal tissue is stroma of wavy fibres
with scattered nuclei, and glands: a ring of nuclei around a pale lumen. An anomaly is one of two: a nest of crowded,
large, dark and uneven nuclei, or a pale lake without any structure. Each slide has its own stain, thickness and focus.
The tiles teach nothing about real tissue.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from lesion.data.decode import images
from lesion.data.sample_data import Field, Picture, Shape, noise, photograph
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic

# S samples · G slides · H, W pixels · C red, green, blue · A angles around a nucleus
Mask = NDArray[np.uint8]

TILE_PX = 256
TILES_A_SLIDE = 8
SHARE_OF_SLIDES = 0.3  # that hold anomalies, in half of their tiles
# Absorbance of red, green and blue light per unit of stain (Ruifrok & Johnston 2001, table 1).
HAEMATOXYLIN_C = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN_C = np.array([0.07, 0.99, 0.11], np.float32)


def draw_tissue(directory: Path, *, num_images: int = 300, seed: int = 0) -> None:
    """Write train.csv, train_jpg/ and train_masks/ with `num_images` tiles, and a test set of as many from new slides.

    Columns: image_name, patient_id (one slide each), target (1: holds an anomaly) and mask, the path of a PNG that is
    255 on the anomaly, empty for normal tiles. Equal arguments give equal bytes. Raises UserError if `num_images` is
    below 64, eight slides, or if `directory` holds a train.csv.
    """
    if num_images < 64:
        raise UserError("too few tiles for slides to be held out", where=f"num_images={num_images}", do="Draw 64.")
    if seed < 0:
        raise UserError("the seed is negative", where=f"seed={seed}", do="Give 0 or more.")
    if (directory / "train.csv").exists():
        raise UserError("a data set is there already", where=directory / "train.csv", do="Name another directory.")
    train_seed, test_seed = SeedSequence([seed, 1]).spawn(2)  # other tiles than those of the dermoscopy set's seed
    _draw_split(directory, "test", num_images, test_seed)
    _draw_split(directory, "train", num_images, train_seed)  # last, so that a train.csv means a whole data set


def _draw_split(directory: Path, split: str, num_images: int, seed: SeedSequence) -> None:
    """Write one folder of tiles and one of masks, then the table that names them."""
    folder, masks = directory / f"{split}_jpg", directory / f"{split}_masks"
    make_folder(folder)
    make_folder(masks)
    slide_S = np.arange(num_images) // TILES_A_SLIDE
    num_slides = int(slide_S[-1]) + 1
    slide_seeds, tile_seeds = seed.spawn(num_slides), seed.spawn(num_images)
    has_anomalies_G = np.arange(num_slides) < max(1, round(SHARE_OF_SLIDES * num_slides))
    has_anomalies_G = default_rng(seed).permutation(has_anomalies_G)
    is_anomalous_S = has_anomalies_G[slide_S] & (np.arange(num_images) % 2 == 0)
    names = [f"TISSUE_{split}_{index:05d}" for index in range(num_images)]

    def write(index: int) -> None:
        tile_HWC, mask_HW = draw_tile(
            bool(is_anomalous_S[index]), default_rng(slide_seeds[slide_S[index]]), default_rng(tile_seeds[index])
        )
        write_atomic(folder / f"{names[index]}.jpg", images.encode(tile_HWC, "JPEG", quality=92))
        if is_anomalous_S[index]:
            is_written, content = cv2.imencode(".png", mask_HW)
            assert is_written
            write_atomic(masks / f"{names[index]}_mask.png", content.tobytes())

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, range(num_images)))  # list: raises what a thread raised
    paths = [f"{split}_masks/{name}_mask.png" for name in names]
    table = pd.DataFrame(
        {
            "image_name": names,
            "patient_id": [f"TP_{split}_{slide:04d}" for slide in slide_S],
            "target": is_anomalous_S.astype(int),
            "mask": np.where(is_anomalous_S, paths, ""),
        }
    )
    write_atomic(directory / f"{split}.csv", table.to_csv(index=False).encode())


def draw_tile(is_anomalous: bool, slide_rng: Generator, rng: Generator) -> tuple[Picture, Mask]:
    """One tile, RGB [H, W, 3], and its mask [H, W]: 255 on the anomaly, else 0. Light passes stain by Beer and
    Lambert's law."""
    shape = (TILE_PX, TILE_PX)
    strength, thickness, blur = slide_rng.uniform(0.8, 1.2, 2), slide_rng.uniform(0.8, 1.25), slide_rng.uniform(0.6, 1)
    eosin_HW, nuclei_HW = _stroma(shape, rng), np.zeros(shape, np.float32)
    for _ in range(rng.poisson(55)):
        _nucleus(nuclei_HW, rng.uniform(0, TILE_PX, 2), rng.uniform(3.5, 5.5), rng, dark=0.8, uneven=0.1)
    for _ in range(rng.integers(0, 3)):
        _gland(eosin_HW, nuclei_HW, rng)
    mask_HW = np.zeros(shape, np.uint8)
    if is_anomalous:
        mask_HW = _region(shape, rng)
        (_nest if rng.random() < 0.6 else _lake)(eosin_HW, nuclei_HW, mask_HW > 0, rng)
    grain_HW = 1 + 0.1 * noise(shape, 2, rng)
    haematoxylin_HW = cv2.GaussianBlur(0.08 * eosin_HW + nuclei_HW * grain_HW, (0, 0), float(blur))
    density_HWC = thickness * (
        strength[0] * haematoxylin_HW[..., None] * HAEMATOXYLIN_C + strength[1] * eosin_HW[..., None] * EOSIN_C
    )
    lit_HWC = cv2.convertScaleAbs(np.float32(0.96) * np.exp(-density_HWC), alpha=255)
    return photograph(lit_HWC, rng), mask_HW


def _stroma(shape: Shape, rng: Generator) -> Field:
    """Eosin of the connective tissue, [H, W] in about 0.2 to 0.7: wavy fibres in one direction, with gaps."""
    y_HW, x_HW = np.indices(shape, np.float32)
    tilt, bend_HW = rng.uniform(0, np.pi), 14 * noise(shape, 45, rng)
    across_HW = np.cos(tilt) * x_HW + np.sin(tilt) * y_HW + bend_HW
    fibres_HW = np.sin(across_HW * np.float32(2 * np.pi / rng.uniform(7, 12))) + 0.6 * noise(shape, 4, rng)
    stroma_HW: Field = np.float32(0.45) + 0.08 * fibres_HW + 0.07 * noise(shape, 30, rng)
    return np.clip(stroma_HW, 0.1, 0.9)


def _nucleus(
    nuclei_HW: Field, centre: NDArray[np.float64], radius_px: float, rng: Generator, *, dark: float, uneven: float
) -> None:
    """Add one nucleus: an ellipse whose outline is `uneven`, of about `radius_px`, with a haematoxylin of `dark`."""
    angle_A = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius_A = 1 + uneven * rng.normal(0, 1) * np.cos(2 * angle_A) + uneven * np.cos(3 * angle_A + rng.uniform(0, 6))
    stretch, tilt = rng.uniform(1, 1.5), rng.uniform(0, np.pi)
    x_A, y_A = radius_px * stretch * radius_A * np.cos(angle_A), radius_px / stretch * radius_A * np.sin(angle_A)
    points = centre + np.stack([np.cos(tilt) * x_A - np.sin(tilt) * y_A, np.sin(tilt) * x_A + np.cos(tilt) * y_A], 1)
    amount = float(dark * rng.uniform(0.8, 1.2))
    cv2.fillPoly(nuclei_HW, [(16 * points).astype(np.int32)], amount, cv2.LINE_AA, 4)  # 4: in sixteenths of a pixel


def _gland(eosin_HW: Field, nuclei_HW: Field, rng: Generator) -> None:
    """Draw one gland: a pale lumen, a wall, and a ring of regular nuclei around it."""
    centre, radius = rng.uniform(20, TILE_PX - 20, 2), rng.uniform(16, 34)
    x, y = centre.astype(int).tolist()
    cv2.circle(nuclei_HW, (x, y), round(radius), 0.05, -1, cv2.LINE_AA)
    cv2.circle(eosin_HW, (x, y), round(radius), 0.6, -1, cv2.LINE_AA)
    cv2.circle(eosin_HW, (x, y), round(0.45 * radius), 0.04, -1, cv2.LINE_AA)
    for angle in np.arange(0, 2 * np.pi, 9.0 / radius):
        place = centre + 0.85 * radius * np.array([np.cos(angle), np.sin(angle)]) + rng.normal(0, 0.6, 2)
        _nucleus(nuclei_HW, place, rng.uniform(3.2, 4.4), rng, dark=0.85, uneven=0.06)


def _region(shape: Shape, rng: Generator) -> Mask:
    """Where the anomaly is, [H, W]: 255 inside an uneven outline that covers 4 to 20 % of the tile. Two of five run
    beyond an edge, as those of tiles cut from a slide do."""
    angle_A = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius_A = np.ones_like(angle_A)
    for wave in range(2, 6):
        radius_A += rng.uniform(0, 0.25) / wave * np.cos(wave * angle_A + rng.uniform(0, 6))
    radius_A *= shape[0] * rng.uniform(0.12, 0.25)
    centre = rng.uniform(0.1, 0.9, 2) * shape
    points = centre + radius_A[:, None] * np.stack([np.cos(angle_A), np.sin(angle_A)], 1)
    mask_HW = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask_HW, [points.round().astype(np.int32)], 255)
    return mask_HW


def _nest(eosin_HW: Field, nuclei_HW: Field, is_in_HW: NDArray[np.bool_], rng: Generator) -> None:
    """Fill the region with crowded nuclei that are large, dark and uneven."""
    nuclei_HW[is_in_HW] = 0.12
    eosin_HW[is_in_HW] *= 0.8
    drawn_HW = nuclei_HW.copy()
    places = np.argwhere(is_in_HW)
    for y, x in places[rng.permutation(len(places))[: len(places) // 95]]:
        _nucleus(drawn_HW, np.array([x, y], np.float64), rng.uniform(4.5, 8.5), rng, dark=1.15, uneven=0.2)
    nuclei_HW[is_in_HW] = drawn_HW[is_in_HW]  # nothing beside the region: the mask is exact


def _lake(eosin_HW: Field, nuclei_HW: Field, is_in_HW: NDArray[np.bool_], rng: Generator) -> None:
    """Fill the region with a pale, bluish, smooth substance without nuclei or fibres."""
    shape = (TILE_PX, TILE_PX)
    nuclei_HW[is_in_HW] = (0.22 + 0.05 * noise(shape, 25, rng))[is_in_HW]
    eosin_HW[is_in_HW] = (0.08 + 0.02 * noise(shape, 25, rng))[is_in_HW]
