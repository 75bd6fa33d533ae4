"""Masks: finds the files that outline a region of an image and are no image to learn from.

A file is asked about by its name: it lies in a folder called masks, or is called x_mask where there is an x. Its
content then decides: a mask has two values, or a few colours. Some of each folder are looked at.
"""

# C colours · H, W pixels · N pixels that are looked at

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from lesion.data.decode import images
from lesion.data.sources.folders.set_names import is_neutral, words_of
from lesion.errors import UserError
from lesion.words import listed

FOLDER_WORDS = {
    "mask", "masks", "segmentation", "segmentations", "seg", "segs", "groundtruth", "gt", "label", "labels",
    "annotation", "annotations", "contour", "contours",
}  # fmt: skip
# A folder is not called so for its masks: with_mask/ and no_mask/ are classes.
NOT_MASKS = {"with", "without", "no", "not", "un", "non"}
ENDING = re.compile(
    r"(?P<base>.+?)[ _.-]+(?:masks?|segmentations?|seg|gt|ground[_-]?truth|labels?|annotations?|superpixels?|"
    r"attribute(?:_[a-z]+)+)(?:[ _-]?\d+)?",
    re.IGNORECASE,
)
MAYBE = re.compile(r"mask|seg|gt|truth|label|annotation|contour|superpixel|attribute", re.IGNORECASE)
NUM_LOOKED_AT = 8  # of each folder
MAX_COLOURS = 16
NEAR = 24  # grey levels from black or white that JPEG leaves around an edge
MOST = 0.98  # of a mask's pixels
MAX_PIXELS = 2**16  # that are looked at of each


@dataclass(frozen=True)
class Masks:
    """The files that are masks, and what is in doubt, as one error for each folder."""

    paths: frozenset[Path] = frozenset()
    problems: tuple[UserError, ...] = ()


NO_MASKS = Masks()


def find_masks(folder: Path, pictures: Sequence[Path]) -> Masks:
    """The masks among `pictures`, which lie below `folder`. Decodes a few of those that are called like masks."""
    start = len(f"{folder}/")
    base_of = {path: base for path in pictures if (base := _base(str(path)[start:])) is not None}
    if not base_of:
        return Masks()
    plain = [path for path in pictures if path not in base_of]
    stems, parents = {path.stem for path in plain}, {path.parent for path in plain}
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in base_of:
        by_folder[path.parent].append(path)
    found: set[Path] = set()
    problems = []
    for parent, paths in sorted(by_folder.items()):
        mask_folder = _mask_folder(parent, folder)
        has_images = any(base_of[path] in stems or path.stem in stems for path in paths)
        if mask_folder is None and not has_images:
            continue
        # Beside images/, or in one folder with the images: there a class cannot be meant.
        beside = parents & {parent} if mask_folder is None else _neutral_beside(mask_folder, parents)
        some = paths[:: max(len(paths) // NUM_LOOKED_AT, 1)]
        looked_at = [is_mask for is_mask in map(_looks_like_mask, some) if is_mask is not None]
        if looked_at and all(looked_at) and (has_images or beside):
            found.update(paths)
        elif any(looked_at) or (has_images and beside):
            problems.append(_in_doubt(parent, paths))
    return Masks(frozenset(found), tuple(problems))


def _in_doubt(parent: Path, paths: Collection[Path]) -> UserError:
    return UserError(
        f"{len(paths)} files are called like masks, and by their content it is in doubt whether they are: "
        f"{listed(sorted(path.name for path in paths), most=3)}",
        where=parent,
        do="Remove the masks from the channel; or, if they are images to learn from, rename their folder and them.",
    )


def _base(relative: str) -> str | None:
    """The name of the image that a file may be the mask of; None if it is not called like a mask."""
    if MAYBE.search(relative) is None:
        return None
    path = PurePosixPath(relative)
    found = ENDING.fullmatch(path.stem)
    if found is not None:
        return found["base"]
    return path.stem if any(map(_is_called_masks, path.parts[:-1])) else None


def _mask_folder(parent: Path, folder: Path) -> Path | None:
    """The innermost folder above a file and below `folder` that is called as one of masks."""
    places = [place for place in (parent, *parent.parents) if place.is_relative_to(folder) and place != folder]
    return next((place for place in places if _is_called_masks(place.name)), None)


@lru_cache(maxsize=4096)
def _is_called_masks(name: str) -> bool:
    words = set(words_of(name))
    is_truth = {"ground", "truth"} <= words
    return (is_truth or bool(FOLDER_WORDS & words)) and not NOT_MASKS & words


def _neutral_beside(mask_folder: Path, parents: Collection[Path]) -> bool:
    """Whether images lie in a folder called images/ or the like beside the masks'."""
    beside = [path for path in parents if path.is_relative_to(mask_folder.parent) and path != mask_folder.parent]
    return any(is_neutral(path.relative_to(mask_folder.parent).parts[0]) for path in beside)


def _looks_like_mask(path: Path) -> bool | None:
    """Whether a picture has few colours, or is nearly all black and white; None if it cannot be decoded."""
    try:
        image_HWC = images.read(path)
    except UserError:
        return None
    step = max(int((image_HWC.shape[0] * image_HWC.shape[1] / MAX_PIXELS) ** 0.5), 1)
    colours_NC = image_HWC[::step, ::step].reshape(-1, 3)
    if len(np.unique(colours_NC, axis=0)) <= MAX_COLOURS:
        return True
    grey_N = colours_NC.mean(axis=1)
    low, high = grey_N.min(), grey_N.max()
    is_extreme = ((grey_N - low < NEAR) | (high - grey_N < NEAR)).mean() >= MOST
    return bool(is_extreme and high - low > 4 * NEAR)
