"""Layouts: trees of small image files, laid out as people keep them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 16


def draw_noise(path: Path, seed: int = 0) -> None:
    """A picture of many colours, which no mask has."""
    image_HWC = np.random.default_rng(seed).integers(0, 255, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    _write(path, image_HWC)


def draw_mask(path: Path, seed: int = 0) -> None:
    """A white box on black; a JPEG of it has some grey around the box's edge."""
    image_HW = np.zeros((64, 64), np.uint8)
    image_HW[10 + seed % 8 : 40, 20:50] = 255
    _write(path, image_HW)


def draw_tree(root: Path, folders: Iterable[str], *, num: int = 2, ending: str = ".png") -> Path:
    """`num` pictures in each folder, called by their number in it: namesakes are in all folders."""
    for place, folder in enumerate(folders):
        for number in range(num):
            draw_noise(root / folder / f"{number}{ending}", seed=100 * place + number)
    return root


def write_table(folder: Path, name: str, classes: Mapping[str, str | int], *, images: str) -> None:
    """A CSV of image_name, patient_id and target, and a picture for each row in the folder `images`."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{image},P{image},{word}" for image, word in classes.items()]
    (folder / name).write_text("\n".join(["image_name,patient_id,target", *lines]) + "\n")
    for number, image in enumerate(classes):
        draw_noise(folder / images / f"{image}.png", seed=1000 + number)


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
