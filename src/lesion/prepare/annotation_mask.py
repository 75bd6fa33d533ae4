"""Annotation masks: a slide's annotated regions drawn as binary masks, which give each tile its target, 0 or 1."""

# R regions · H, W pixels of a tile

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.sources.location import walk_files
from lesion.errors import UserError
from lesion.prepare.annotations import OTHER_PROGRAMS, SUFFIXES, read_annotations
from lesion.prepare.positive_classes import choose_positive
from lesion.prepare.regions import Annotations, Region
from lesion.prepare.slides import SlideFile, pick_slide

log = logging.getLogger(__name__)

SUBPIXEL_BITS = 8  # cv2 takes whole numbers: 256 to a pixel
MIDDLE = 1 / 3  # of a tile's side: PatchCamelyon looks at 32 of 96 pixels (Veeling et al. 2018)


@dataclass(frozen=True)
class PositiveRule:
    """When a tile is positive."""

    label_from: Literal["centre", "area"] = "centre"  # the middle MIDDLE of it, or all of it
    min_overlap: float = 0.5  # the share of that in a positive region; 0: any pixel of it, as PatchCamelyon has it
    positive: tuple[str, ...] = ()  # classes; none: the only one that there is
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

    def __init__(self, regions: Sequence[Region], *, positive: Sequence[str], excluded: Sequence[str]) -> None:
        cut = [region for region in regions if region.is_one_of(excluded)]
        kept = [region for region in regions if region.is_one_of(positive) and not region.is_one_of(excluded)]
        self._drawn = [*((region, 1) for region in kept), *((region, 0) for region in cut)]  # in this order
        outlines = [np.concatenate(region.rings) for region, _ in self._drawn]
        self._low_R2 = np.array([outline.min(axis=0) for outline in outlines]).reshape(-1, 2)
        self._high_R2 = np.array([outline.max(axis=0) for outline in outlines]).reshape(-1, 2)

    def num_outside(self, width_px: int, height_px: int) -> int:
        """How many regions lie wholly beside a slide of this size: their coordinates are hardly those of its pixels."""
        size_px = np.array([width_px, height_px])
        return int(((self._low_R2 >= size_px) | (self._high_R2 <= 0)).any(axis=1).sum())

    def draw(self, x_px: float, y_px: float, extent_px: float, *, size_px: int) -> NDArray[np.uint8]:
        """A tile's mask [H, W] at its own `size_px`, 1 inside; the tile is `extent_px` of level 0 wide."""
        mask_HW = np.zeros((size_px, size_px), np.uint8)
        corner = np.array([x_px, y_px])
        is_near_R = ((self._low_R2 < corner + extent_px) & (self._high_R2 > corner)).all(axis=1)
        scale = size_px / extent_px
        for index in np.flatnonzero(is_near_R):
            region, value = self._drawn[index]
            # Half a pixel less: cv2 has a pixel's centre where we have its corner.
            rings, cuts = (
                [np.rint(((ring - corner) * scale - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32) for ring in some]
                for some in (region.rings, region.cuts)
            )
            if not cuts:
                cv2.fillPoly(mask_HW, rings, value, shift=SUBPIXEL_BITS)  # even-odd: holes stay as they were
                continue
            layer_HW = np.zeros_like(mask_HW)
            cv2.fillPoly(layer_HW, rings, 1, shift=SUBPIXEL_BITS)
            for ring in cuts:
                cv2.fillPoly(layer_HW, [ring], 0, shift=SUBPIXEL_BITS)
            mask_HW[layer_HW == 1] = value
        return mask_HW


def read_annotation_masks(
    folder: Path, slides: Sequence[SlideFile], rule: PositiveRule, *, is_whole: bool
) -> dict[str, AnnotationMask]:
    """The mask of each slide by name, from the files below `folder` that are called as the slides are.

    A slide without a file has no positive tile, as Camelyon's normal slides have none; the log says how many these are,
    which class is the positive one, and what is left out. Raises UserError where `choose_positive` does, for two files
    of one slide, and with `is_whole` for a file without one.
    """
    files = _files_of_slides(folder, slides, is_whole=is_whole)
    log.info("annotated_slides=%d slides_without_annotations=%d", len(files), len(slides) - len(files))
    nothing = Annotations((), Counter())
    annotations = {
        slide.name: read_annotations(files[slide.name]) if slide.name in files else nothing for slide in slides
    }
    left_out = sum((one.left_out for one in annotations.values()), Counter[str]())
    if left_out:
        counts = ", ".join(f"{count} {kind}" for kind, count in left_out.most_common())
        log.warning("annotations=%s left_out=%s (they are no areas, or no annotations)", folder, counts)
    regions = [region for one in annotations.values() for region in one.regions]
    positive = choose_positive(regions, rule.positive, rule.excluded, where=folder)
    return {
        name: AnnotationMask(one.regions, positive=positive, excluded=rule.excluded)
        for name, one in annotations.items()
    }


def _files_of_slides(folder: Path, slides: Sequence[SlideFile], *, is_whole: bool) -> Mapping[str, Path]:
    """The annotation file of each slide that has one."""
    listed = walk_files(folder)
    paths = [path for path in listed if path.suffix.lower() in SUFFIXES]
    others = Counter(path.suffix.lower() for path in listed if path.suffix.lower() in OTHER_PROGRAMS)
    said = "; ".join(f"{count} {suffix} are {OTHER_PROGRAMS[suffix]}" for suffix, count in sorted(others.items()))
    if not paths:
        looked = f"Looked for {', '.join(sorted(SUFFIXES))}."
        raise UserError("no annotations here", where=folder, do=f"{looked} {said}." if said else looked)
    if said:
        log.warning("annotations=%s not read: %s", folder, said)
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
    return files
