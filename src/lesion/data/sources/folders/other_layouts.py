"""Other layouts: annotations and lists of other programs, which are no data set here. Named as what they are, with what
to do, where no set is found and where something else is read beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesion.data.decode import images
from lesion.data.decode.image_files import stem
from lesion.data.decode.reading import check_regular
from lesion.data.sources.location import walk_files, walk_images
from lesion.data.sources.once import remembered
from lesion.errors import UserError

HEAD_BYTES = 2**16  # and as many of a file's end
MOST_OPENED = 20  # files of each kind, the least deep first: there may be one for each image
NUM_LINES = 20  # of a text that are looked at

TABLE = "Write a train.csv with a row for each image: image_name, target, and patient_id if you know it"
COCO_KEYS = [re.compile(rf'"{key}"\s*:\s*\['.encode()) for key in ("images", "annotations", "categories")]
BOX = re.compile(r"\d+(\s+-?\d*\.?\d+(e-?\d+)?){4,}\s*", re.IGNORECASE)
YOLO_KEYS = [re.compile(rf"^{key}\s*:".encode(), re.MULTILINE) for key in ("names", "nc", "train", "val", "path")]


@dataclass(frozen=True)
class OtherLayout:
    """A file of another program, what it is, and what to do with it."""

    path: Path
    what: str
    do: str


@remembered
def other_layouts(folder: Path) -> list[OtherLayout]:
    """The first file below `folder` of each layout of other programs."""
    found = []
    files = sorted(walk_files(folder), key=lambda path: (len(path.parts), path))
    for endings, kinds in KINDS.items():
        some = [path for path in files if path.suffix.lower() in endings][:MOST_OPENED]
        for what, do, is_it in kinds:
            if path := next((path for path in some if is_it(path, folder)), None):
                found.append(OtherLayout(path, what, do))
    return found


def _ends(path: Path) -> bytes:
    """A file's beginning, and its end; nothing of one that cannot be read."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(path.stat().st_size - HEAD_BYTES, len(head)))
            return head + file.read(HEAD_BYTES)
    except (OSError, UserError):
        return b""


def _lines(path: Path) -> list[str]:
    text = _ends(path)[:HEAD_BYTES].decode("utf-8-sig", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()][:NUM_LINES]


def _is_coco(path: Path, _: Path) -> bool:
    content = _ends(path)
    return content.lstrip()[:1] == b"{" and sum(bool(key.search(content)) for key in COCO_KEYS) > 1


def _is_labelme(path: Path, _: Path) -> bool:
    content = _ends(path)
    return content.lstrip()[:1] == b"{" and b'"shapes"' in content and b'"imagePath"' in content


def _is_voc(path: Path, _: Path) -> bool:
    content = _ends(path)[:HEAD_BYTES]
    return b"<annotation" in content and b"<object>" in content and b"<bndbox>" in content


def _is_yolo(path: Path, _: Path) -> bool:
    content = _ends(path)
    has_names = bool(YOLO_KEYS[0].search(content)) or bool(YOLO_KEYS[1].search(content))
    return has_names and any(key.search(content) for key in YOLO_KEYS[2:])


def _is_boxes(path: Path, _: Path) -> bool:
    lines = _lines(path)
    return bool(lines) and all(BOX.fullmatch(line) for line in lines)


def _is_list(path: Path, folder: Path) -> bool:
    """Whether most lines begin with an image's name, or with that of one that lies there."""
    first = [re.split(r"[\s,;|]+", line)[0] for line in _lines(path)]
    if not first:
        return False
    called = sum(Path(name).suffix.lower() in images.SUFFIXES for name in first)
    stems = _stems(folder) if 2 * called <= len(first) else frozenset[str]()
    return 2 * max(called, sum(name.rpartition("/")[2] in stems for name in first)) > len(first)


@remembered
def _stems(folder: Path) -> frozenset[str]:
    return frozenset(stem(path.name) for path in walk_images(folder))


Kinds = Sequence[tuple[str, str, Callable[[Path, Path], bool]]]
KINDS: dict[frozenset[str], Kinds] = {
    frozenset({".json"}): [
        (
            "COCO annotations (images, annotations, categories)",
            f"{TABLE}; file_name of `images` is the name, the category of its annotations the target.",
            _is_coco,
        ),
        ("an annotation of LabelMe", f"{TABLE}; imagePath is the name, a shape's label the target.", _is_labelme),
    ],
    frozenset({".yaml", ".yml"}): [
        (
            "the description of a YOLO data set",
            f"{TABLE}; the first number of a line in labels/ is the class, by the names in this file.",
            _is_yolo,
        )
    ],
    frozenset({".xml"}): [
        ("an annotation of Pascal VOC", f"{TABLE}; filename is the name, an object's name the target.", _is_voc)
    ],
    frozenset({".txt"}): [
        (
            "the boxes of an image as YOLO has them",
            f"{TABLE}; the first number of a line is the class, by the names in data.yaml.",
            _is_boxes,
        ),
        (
            "a plain list of images",
            "Save it as a CSV with a header, such as train.csv with image_name,target; or as train.lst with a number, "
            "the label and the path in each line, by tabs. If it says which images a set has, put these into train/ "
            "and test/.",
            _is_list,
        ),
    ],
}
