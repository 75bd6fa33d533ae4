"""Annotation masks: a slide's annotated regions drawn as binary masks, which give each tile its target, 0 or 1."""

# R regions · H, W pixels of a tile

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.sources.location import walk_files
from lesion.errors import UserError
from lesion.prepare.annotations import SUFFIXES, Region, read_annotations
from lesion.prepare.slides import SlideFile, pick_slide
from lesion.words import nearest

log = logging.getLogger(__name__)

SUBPIXEL_BITS = 8  # cv2 takes whole numbers: 256 to a pixel
MIDDLE = 1 / 3  # of a tile's side: PatchCamelyon looks at 32 of 96 pixels (Veeling et al. 2018)


@dataclass(frozen=True)
class PositiveRule:
    """When a tile is positive."""

    label_from: Literal["centre", "area"] = "centre"  # the middle MIDDLE of it, or all of it
    min_overlap: float = 0.5  # the share of that in a positive region; 0: any pixel of it, as PatchCamelyon has it
    positive: tuple[str, ...] = ()  # classes; none: every one that is not excluded
    excluded: tuple[str, ...] = ()  # classes that are cut out of the positive ones, as Camelyon's _2

    def is_positive(self, mask_HW: NDArray[np.uint8]) -> bool:
        """The target of a tile whose pixels in positive regions are 1."""
        if self.label_from == "centre":
            rim = round(len(mask_HW) * (1 - MIDDLE) / 2)
            mask_HW = mask_HW[rim : len(mask_HW) - rim, rim : len(mask_HW) - rim]
        share = float(mask_HW.mean())
        return share > 0 and share >= self.min_overlap


class AnnotationMask:
    """The regions of one slide that decide: those of the positive classes, less those of the excluded ones."""

    def __init__(self, regions: Sequence[Region], *, positive: Collection[str], excluded: Collection[str]) -> None:
        """`positive` empty: every class that is not excluded."""
        kept = [region for region in regions if region.class_name not in excluded]
        drawn = [(region, 1) for region in kept if not positive or region.class_name in positive]
        drawn += [(region, 0) for region in regions if region.class_name in excluded]
        self._drawn = drawn  # in this order
        outlines = [np.concatenate(region.rings) for region, _ in drawn]
        self._low_R2 = np.array([outline.min(axis=0) for outline in outlines]).reshape(-1, 2)
        self._high_R2 = np.array([outline.max(axis=0) for outline in outlines]).reshape(-1, 2)

    def draw(self, x_px: float, y_px: float, extent_px: float, *, size_px: int) -> NDArray[np.uint8]:
        """A tile's mask [H, W] at its own `size_px`, 1 inside; the tile is `extent_px` of level 0 wide."""
        mask_HW = np.zeros((size_px, size_px), np.uint8)
        corner = np.array([x_px, y_px])
        is_near_R = ((self._low_R2 < corner + extent_px) & (self._high_R2 > corner)).all(axis=1)
        scale = size_px / extent_px
        for index in np.flatnonzero(is_near_R):
            region, value = self._drawn[index]
            # Half a pixel less: cv2 has a pixel's centre where we have its corner.
            rings = [((ring - corner) * scale - 0.5) * 2**SUBPIXEL_BITS for ring in region.rings]
            contours = [np.rint(ring).astype(np.int32) for ring in rings]
            cv2.fillPoly(mask_HW, contours, value, shift=SUBPIXEL_BITS)  # even-odd: holes stay as they were
        return mask_HW


def read_annotation_masks(
    folder: Path, slides: Sequence[SlideFile], rule: PositiveRule, *, is_whole: bool
) -> dict[str, AnnotationMask]:
    """The mask of each slide by name, from the files below `folder` that are called as the slides are.

    A slide without a file has no positive tile, as Camelyon's normal slides have none; the log says how many these are.
    Raises UserError for a class that stands in no file, two files of one slide, and with `is_whole` a file without one.
    """
    paths = [path for path in walk_files(folder) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise UserError("no annotations here", where=folder, do=f"Looked for {', '.join(sorted(SUFFIXES))}.")
    files: dict[str, Path] = {}
    strangers = []
    for path in paths:
        slide = pick_slide(slides, path.relative_to(folder).with_suffix("").as_posix(), where=path)
        if slide is None:
            strangers.append(path.name)
        elif slide.name in files:
            raise UserError("two annotation files of one slide", where=f"{files[slide.name]}, {path}", do="Leave one.")
        else:
            files[slide.name] = path
    if strangers and (is_whole or not files):
        raise UserError(
            f"{len(strangers)} annotation files without a slide, the first: {strangers[0]}",
            where=folder,
            do="Name each as its slide, and leave out those of other slides.",
        )
    log.info("annotated_slides=%d slides_without_annotations=%d", len(files), len(slides) - len(files))
    regions = {slide.name: read_annotations(files[slide.name]) if slide.name in files else [] for slide in slides}
    _check_classes(rule, {region.class_name for some in regions.values() for region in some}, folder)
    return {
        name: AnnotationMask(some, positive=rule.positive, excluded=rule.excluded) for name, some in regions.items()
    }


def _check_classes(rule: PositiveRule, known: set[str], folder: Path) -> None:
    for name in (*rule.positive, *rule.excluded):
        if name not in known:
            near = nearest(name, sorted(known))
            raise UserError(
                f"no annotation has the class '{name}'; there are {', '.join(repr(one) for one in sorted(known))}",
                where=folder,
                do=f"Did you mean {near}?" if near else "Choose one of them.",
            )
