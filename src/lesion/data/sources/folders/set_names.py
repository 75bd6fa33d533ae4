"""Set names: which set of a data set a folder, file or channel is called after: train, validation or test.

The one place where these words are. They are compared without capitals; other words, numbers and signs may stand
beside them: `Train`, `training_set`, `val`, `TestImages`, `camelyonpatch_level_2_split_valid_x`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "tst"),
}
IN_DOUBT = ("eval", "evaluation", "holdout")  # some call so their validation set, others their test set
ENDINGS = ("", "set", "sets", "data", "images", "imgs")  # written together with the word: trainset
WORD_OF: dict[str, Split] = {word + end: split for split, words in WORDS.items() for word in words for end in ENDINGS}
# What says nothing of what a folder holds.
NEUTRAL = {
    "set", "sets", "data", "dataset", "datasets", "split", "splits", "folder", "folders", "file", "files", "subset",
    "image", "images", "img", "imgs", "picture", "pictures", "pics", "photo", "photos", "sample", "samples",
    "input", "inputs", "raw", "all", "jpg", "jpeg", "png", "tif", "tiff", "bmp", "dcm", "dicom", "rgb",
}  # fmt: skip
# What the only folder of a test set without classes is called: test/unknown/.
UNLABELLED = {"unknown", "unlabeled", "unlabelled"}
# What the table of a set is called beside its word: train_labels.csv, validation_metadata.csv.
OF_TABLES = {
    "label", "labels", "metadata", "table", "csv", "list", "annotation", "annotations", "info", "ground",
    "truth", "groundtruth", "gt", "classes", "targets", "df",
}  # fmt: skip
PARTS = {"part", "parts", "fold", "folds", "batch", "chunk", "split", "subset", "shard", "archive", "zip"}


def set_of(name: str, *, is_table: bool = False) -> Split | None:
    """The set that a whole name stands for: "Testing", "val", "train_images", or "test_labels" if `is_table`.

    None for any other word beside it, since a class may be called pregnancy_test.
    """
    words = words_of(name)
    found = {WORD_OF[word] for word in words if word in WORD_OF}
    others = [word for word in words if word not in WORD_OF]
    allowed = NEUTRAL | OF_TABLES if is_table else NEUTRAL
    is_whole = all(word in allowed or word.isdigit() for word in others)
    return found.pop() if len(found) == 1 and is_whole else None


def set_in(name: str) -> Split | None:
    """The set whose word stands anywhere in a name; None for no such word, and for those of several sets."""
    found = {WORD_OF[word] for word in words_of(name) if word in WORD_OF}
    return found.pop() if len(found) == 1 else None


def is_in_doubt(name: str) -> bool:
    """Whether a name says that it is a set, and not whether for validation or for test: "eval", "evaluation_set"."""
    words = words_of(name)
    return any(word in IN_DOUBT for word in words) and all(word in NEUTRAL or word in IN_DOUBT for word in words)


def is_neutral(name: str) -> bool:
    """Whether a folder's name says nothing of what it holds, such as "images" or "jpg"."""
    words = words_of(name)
    return any(word in NEUTRAL for word in words) and all(word in NEUTRAL or word.isdigit() for word in words)


def is_part(name: str) -> bool:
    """Whether a folder's name is that of one of several parts: "fold1", "images_002", "HAM10000_images_part_1"."""
    words = words_of(name)
    return len(words) > 1 and words[-1].isdigit() and words[-2] in PARTS | NEUTRAL


def words_of(name: str) -> list[str]:
    """The words and numbers of a name, in small letters: "TrainSet_2" are train, set and 2."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    return [word.casefold() for word in re.findall(r"[^\W\d_]+|\d+", apart)]
