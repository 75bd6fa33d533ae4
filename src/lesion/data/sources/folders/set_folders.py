"""Set folders: which folders of a channel are sets, and which are classes.

Known names are sets (`set_names`). Folders that hold the same sub-folders are sets whatever they are called: where
their names do not say which, they are refused, since learning to tell two sets apart looks like a result.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesion.data.labels.positive_words import is_known_class
from lesion.data.sources.folders.set_names import (
    NEUTRAL,
    UNLABELLED,
    WORD_OF,
    Split,
    is_in_doubt,
    is_neutral,
    is_part,
    set_in,
    set_of,
    words_of,
)
from lesion.errors import UserError
from lesion.words import listed

PATIENT = re.compile(
    r"(?:p|pt|pat|patient|sub|subj|subject|case|person|lesion|exam|study|slide|id|s)[ _-]?\d+|0\d{2,}|\d{4,}",
    re.IGNORECASE,
)
Parts = tuple[str, ...]  # of a path below the folder that is looked at


@dataclass(frozen=True)
class SetFolders:
    """The folder that holds the sets or the classes, and which of its sub-folders are sets; as parts of their paths."""

    root: Parts
    sets: Mapping[Split, Parts]

    def of(self, split: Split, *, is_own: bool) -> Parts | None:
        """The folder of one set's classes: its own, or the root if the channel `is_own`."""
        return self.sets.get(split, self.root if is_own else None)


def set_folders(folder: Path, pictures: Sequence[Parts]) -> SetFolders:
    """The sets among the folders of `pictures`, whose paths begin below `folder`; single folders on top are looked
    through.

    Raises UserError for two folders of one set, for sets of unknown names, and for sets inside of classes.
    """
    root: Parts = ()
    parts = list(pictures)
    while (only := _only_folder(parts)) is not None and set_of(only) is None:
        root, parts = (*root, only), [rest[1:] for rest in parts]
    where = folder.joinpath(*root)
    inside = _inside(parts)
    shared = _shared_folders(inside)
    siblings = _sibling_sets(where, list(inside))
    named = {
        name: set_of(name) or siblings.get(name) or (set_in(name) if inside[name] & shared else None) for name in inside
    }
    named |= _other_of(named, inside, shared)
    sets: dict[Split, str] = {}
    for name, split in named.items():
        if split is not None and split in sets:
            what = f"two folders are the {split} set: {sets[split]}/ and {name}/"
            raise UserError(what, where=where, do="Keep one.")
        if split is not None:
            sets[split] = name
    if "train" not in sets:
        _refuse_other_sets(where, inside, shared, [name for name, split in named.items() if split is None])
    if not sets:
        return SetFolders((*root, *_neutral_top(parts)), {})
    inner = {split: [part[1:] for part in parts if part[0] == name] for split, name in sets.items()}
    if "train" in sets:
        of_training = _inside(inner["train"])
        _refuse_wrong_level(where / sets["train"], of_training, list(of_training))
    return SetFolders(root, {split: (*root, name, *_neutral_top(inner[split])) for split, name in sets.items()})


def _sibling_sets(folder: Path, names: Sequence[str]) -> dict[str, Split]:
    """The sets of folders that are called alike but for the word of a set: ISIC2018_Task3_Training_Input and
    ISIC2018_Task3_Validation_Input; none of a name alone, since a class may be called pregnancy_test.

    Raises UserError for folders that are each a class of a set: benign_train/, benign_test/, malignant_train/ …
    """
    alike: dict[Parts, dict[str, Split]] = defaultdict(dict)
    for name in names:
        if (split := set_in(name)) is not None:
            alike[_without_set(name)][name] = split
    groups = [found for found in alike.values() if len(set(found.values())) > 1]
    if len(groups) > 1:
        found = sorted(name for group in groups for name in group)
        raise UserError(
            f"folders are called after a class and a set each: {_slashed(found)}",
            where=folder,
            do="Turn them round: train/CLASS/, test/CLASS/ and so on.",
        )
    return groups[0] if groups else {}


def _without_set(name: str) -> Parts:
    """The words of a name without those of a set, of its size, and of what says nothing: what siblings share."""
    return tuple(word for word in words_of(name) if word not in WORD_OF and word not in NEUTRAL and not word.isdigit())


def _other_of(
    named: Mapping[str, Split | None], inside: Mapping[str, set[str]], shared: set[str]
) -> dict[str, Split | None]:
    """The one folder beside validation or test sets that holds their sub-folders, and is called as no set: the training
    set, as NCT-CRC-HE-100K is beside CRC-VAL-HE-7K. Beside a plain test/ it may as well be all data, and is in doubt.
    """
    alike = [name for name in named if inside[name] & shared]
    unnamed = [name for name in alike if named[name] is None]
    others = [name for name in alike if named[name] is not None]
    if len(unnamed) != 1 or not others or "train" in named.values() or any(map(set_of, others)):
        return {}
    return {} if is_in_doubt(unnamed[0]) or is_neutral(unnamed[0]) else {unnamed[0]: "train"}


def _refuse_other_sets(folder: Path, inside: Mapping[str, set[str]], shared: set[str], names: Sequence[str]) -> None:
    """Raises UserError if the folders called `names`, which would be the classes, are sets or parts of one."""
    with_sets = [name for name in names if any(set_of(inner) for inner in inside[name])]
    if len(with_sets) > 1:
        first = with_sets[0]
        inner = listed(sorted(f"{first}/{inner}/" for inner in inside[first] if set_of(inner)), most=2)
        raise UserError(
            f"{len(with_sets)} folders hold sets each: {_slashed(with_sets)} with {inner}",
            where=folder,
            do=f"If they are classes, turn them round: train/{first}/ and so on. If they are folds, give one of them.",
        )
    _refuse_wrong_level(folder, inside, names)
    alike = [name for name in names if inside[name] & shared]
    if alike and are_patients(shared) and all(map(is_known_class, alike)):
        alike = []  # benign/P01/ and malignant/P01/: classes, and patients in them
    if alike and are_patients(alike) and all(map(is_known_class, shared)):
        raise UserError(
            f"{len(alike)} folders called as patients hold a folder for each class: {_slashed(alike)} with "
            f"{_slashed(sorted(shared))}",
            where=folder,
            do=f"Turn them round, {sorted(shared)[0]}/{alike[0]}/ and so on: then they are classes with patients. "
            "Or give a train.csv with image_name, patient_id and target.",
        )
    if alike:
        what = "folders hold" if len(alike) > 1 else "folder holds"
        beside = "" if len(alike) > 1 else " that are in the folders beside it"
        raise UserError(
            f"{len(alike)} {what} the same sub-folders{beside}, so they look like sets and not like classes: "
            f"{_slashed(alike)} with {_slashed(sorted(shared))}",
            where=folder,
            do="If they are sets, call them train, validation and test; parts of one set belong into one folder. If "
            "they are classes, put the images directly into them, or give a train.csv.",
        )
    for name in names:
        copied = inside[name] & {other.casefold() for other in inside if other != name}
        if len(copied) > 1:
            raise UserError(
                f"{name}/ holds the folders {listed(sorted(copied))} that lie beside it too",
                where=folder,
                do="Remove the one or the others: the data set seems to lie there twice.",
            )
    parts = [name for name in names if is_part(name)]
    if len(parts) > 1 and len(parts) == len(names):
        raise UserError(
            f"{_slashed(parts)} are called as parts of a set and not as classes",
            where=folder,
            do="Give a train.csv that says the class of each image, or a folder for each class.",
        )
    if doubtful := [name for name in names if is_in_doubt(name)]:
        raise UserError(
            f"{doubtful[0]}/ may be a validation or a test set", where=folder, do="Call it validation/ or test/."
        )


def are_patients(names: Iterable[str]) -> bool:
    """Whether folders are called as patients, lesions or cases are: P01, patient_7, 0012."""
    return all(PATIENT.fullmatch(name) for name in names)


def _refuse_wrong_level(folder: Path, inside: Mapping[str, set[str]], names: Sequence[str]) -> None:
    """Raises UserError where the classes are seen to lie one level below: images/benign/, images/malignant/ and
    something else beside images/."""
    if len(names) < 2 or any(map(is_known_class, names)):
        return
    for name in names:
        known = sorted(inner for inner in inside[name] if is_known_class(inner))
        others = [other for other in names if other != name and not inside[other] & inside[name]]
        if len(inside[name]) > 1 and (is_neutral(name) or len(known) > 1) and len(others) == len(names) - 1:
            raise UserError(
                f"{name}/ holds {_slashed(sorted(inside[name]))}, which look like the classes, and beside it lies "
                f"{_slashed(others)}: the folders of the first level would be the classes",
                where=folder,
                do=f"Move {_slashed(others)} out of the channel, if they are no class. If {name}/ is a class, put its "
                "images directly into it, or give a train.csv.",
            )


def _only_folder(parts: Sequence[Parts]) -> str | None:
    """The name of the folder in which all pictures lie, each in a further folder; None if there is none."""
    first = {part[0] for part in parts}
    return first.pop() if len(first) == 1 and all(len(part) > 2 for part in parts) else None


def _inside(parts: Iterable[Parts]) -> dict[str, set[str]]:
    """By folder, the names of its sub-folders in small letters; none where it holds pictures itself, as classes do."""
    inside: dict[str, set[str]] = defaultdict(set)
    has_pictures = set()
    for part in parts:
        if len(part) == 2:
            has_pictures.add(part[0])
        if len(part) > 1:
            inside[part[0]] |= {part[1].casefold()} if len(part) > 2 else set()
    return {name: set() if name in has_pictures else inside[name] for name in sorted(inside)}


def _shared_folders(inside: Mapping[str, set[str]]) -> set[str]:
    """The sub-folders by which folders are sets: two or more that lie in several of them, and at least half of all."""
    counts = Counter(name for names in inside.values() for name in names if not is_neutral(name))
    shared = {name for name, count in counts.items() if count > 1}
    is_many = len(shared) > 1 and 2 * len(shared) >= len(counts)
    return shared if is_many and not all(map(set_of, shared)) else set()


def _neutral_top(parts: Sequence[Parts]) -> Parts:
    """The folders on top in which all pictures lie and whose names say nothing, or again the set: images/, test/."""
    top: Parts = ()
    while True:
        first = {part[0] for part in parts if len(part) > 1}
        if len(first) != 1 or any(len(part) == 1 for part in parts):
            return top
        (only,) = first
        if not is_neutral(only) and set_of(only) is None and only.casefold() not in UNLABELLED:
            return top
        top, parts = (*top, only), [part[1:] for part in parts]


def _slashed(names: Sequence[str]) -> str:
    return listed([f"{name}/" for name in names])
