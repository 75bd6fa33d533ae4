"""Side folders: thumbnails/, overlays/, annotations/ and the like, which seldom are classes.

A folder called so whose images have namesakes in other folders shows these once more, and is left out. One without
namesakes is taken as it lies there, and said. `masks` has the files of few colours.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from lesion.data.decode.image_files import stem
from lesion.data.masks import FOLDER_WORDS, NOT_MASKS
from lesion.data.sources.folders.set_names import NEUTRAL, words_of

WORDS = FOLDER_WORDS | {
    "thumbnail", "thumbnails", "thumb", "thumbs", "preview", "previews", "overlay", "overlays", "annotated", "heatmap",
    "heatmaps", "gradcam", "saliency", "visualization", "visualizations", "visualisation", "visualisations", "vis",
    "icon", "icons", "screenshot", "screenshots", "backup", "backups", "bak", "tmp", "temp",
}  # fmt: skip
# What such a file is called behind the name of its image: x_thumb.jpg, x-overlay.png.
BEHIND = re.compile(
    r"[ _.-]+(?:thumb(?:nail)?|small|preview|overlay|annotated|annotations?|heatmap|gradcam|vis)s?", re.I
)
COPY_NUMBER = re.compile(r"\(\d+\)$")  # as file managers and browsers number what is there already
COPIES = {"copy", "copie", "kopie", "copia", "kopia", "dup", "duplicate", "duplicates"}
LEFT_OVER = {
    "unlabeled", "unlabelled", "unsorted", "unclassified", "uncategorized", "unassigned", "untagged", "misc",
    "miscellaneous", "augmented", "augmentation", "augmentations", "aug", "excluded", "discarded", "rejected", "trash",
    "todo", "unsortiert", "sonstiges", "divers",
}  # fmt: skip
NEW_FOLDERS = (["new", "folder"], ["untitled", "folder"], ["neuer", "ordner"], ["nouveau", "dossier"])
MOST = 0.5  # of a folder's images that have namesakes


def is_side_folder(name: str) -> bool:
    """Whether a folder's name says that its images go with others: "thumbnails", "overlay_images"."""
    words = words_of(name)
    return any(word in WORDS for word in words) and all(
        word in WORDS or word in NEUTRAL or word.isdigit() for word in words
    )


def find_copies(folder: Path, pictures: Sequence[Path]) -> frozenset[Path]:
    """The images, of those below `folder`, that lie in a side folder most of whose images have namesakes elsewhere."""
    start = len(f"{folder}/")
    by_side: dict[str, list[Path]] = defaultdict(list)
    folders = {name for path in pictures for name in str(path)[start:].split("/")[:-1]}
    denied = {tuple(words_of(name)[1:]) for name in folders if NOT_MASKS.intersection(words_of(name)[:1])}
    names: set[str] = set()
    for path in pictures:
        parents = str(path)[start:].split("/")[:-1]
        place = next(
            (place for place, name in enumerate(parents) if is_side_folder(name) and not _is_in(name, denied)), None
        )
        if place is None:
            names.add(_plain(path))
        else:
            by_side["/".join(parents[: place + 1])].append(path)
    found: set[Path] = set()
    for paths in by_side.values():
        if sum(_plain(path) in names for path in paths) >= MOST * len(paths):
            found.update(paths)
    return frozenset(found)


def side_classes(names: Collection[str]) -> list[str]:
    """Those of the classes that are called as side folders are."""
    return sorted(filter(is_side_folder, names))


def left_over_classes(names: Collection[str]) -> list[str]:
    """Those of the classes that are called as copies or as leftovers: "benign - Copy", "malignant (1)", "misc"."""
    return sorted(name for name in names if _is_left_over(name) and not is_side_folder(name))


def _is_left_over(name: str) -> bool:
    words = words_of(name)
    is_copy = COPY_NUMBER.search(name) is not None or (len(words) > 1 and words[-1] in COPIES)
    return is_copy or any(word in LEFT_OVER for word in words) or words[:2] in NEW_FOLDERS


def _is_in(name: str, denied: Collection[tuple[str, ...]]) -> bool:
    """Whether another folder says that it has none of this: mask/ beside no_mask/ is a class."""
    return tuple(words_of(name)) in denied


def _plain(path: Path) -> str:
    root = stem(path.name)
    behind = BEHIND.search(root)
    return (root[: behind.start()] if behind and behind.end() == len(root) else root).casefold()
