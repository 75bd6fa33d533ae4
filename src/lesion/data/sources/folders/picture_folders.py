"""Picture folders: a table's images that lie in folders called as classes, which may contradict the table's targets."""

# S samples

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from lesion.data.labels.positive_words import positive_word
from lesion.data.labels.spelling import word_key
from lesion.data.numbers import is_number
from lesion.data.remark import Remark
from lesion.data.sources.folders.set_names import is_neutral, set_of
from lesion.data.table import SampleTable
from lesion.words import listed, number_of

MOST_CLASSES = 1000


def said_of_folders(table: SampleTable, paths: Sequence[Path | None], root: Path) -> tuple[Remark, ...]:
    """A warning with counts where images [S] lie in a folder that is called as another class than their target.

    A folder is called as a class by its word, by its name in the class-name column, or, of two folders and two classes,
    as the finding or the healthy state (benign/ for 0).
    """
    if table.targets is None or table.targets.shape[1] != 1:
        return ()
    key_S = [word_key(str(text)) for text in table.targets.iloc[:, 0].tolist()]
    folders_S = [_folders(path, root) for path in paths]
    class_of = _classes_by_folder(table, key_S, folders_S)
    wrong, num_placed = [], 0
    for row, folders in enumerate(folders_S):
        if (folder := next((name for name in folders if word_key(name) in class_of), None)) is not None:
            num_placed += 1
            if key_S[row] and class_of[word_key(folder)] != key_S[row]:
                wrong.append((row, folder))
    if not wrong:
        return ()
    texts = table.targets.iloc[:, 0].tolist()
    pairs = Counter((folder, str(texts[row])) for row, folder in wrong)
    told = listed([f"{number_of(num, 'row')} of {text} in {folder}/" for (folder, text), num in pairs.most_common()])
    column = table.targets.columns[0]
    return (
        Remark(
            "folders_contradict",
            f"{len(wrong)} of {num_placed} images in folders called as classes have another class in column "
            f"'{column}', which is taken: {told}, such as {table.name_S[wrong[0][0]]}",
            "Correct the table, or set source=class_folder if the folders are right.",
            table.where,
            "warning",
        ),
    )


def _folders(path: Path | None, root: Path) -> list[str]:
    """The folders between the root and an image, the innermost first, without those that say set or nothing."""
    if path is None or not path.is_relative_to(root):
        return []
    names = path.relative_to(root).parts[:-1][::-1]
    return [name for name in names if not is_neutral(name) and set_of(name) is None]


def _classes_by_folder(table: SampleTable, key_S: Sequence[str], folders_S: Sequence[Sequence[str]]) -> dict[str, str]:
    """The target's key by the key of the folder that is called so."""
    classes = {key for key in key_S if key}
    if not 2 <= len(classes) <= MOST_CLASSES:
        return {}
    there = {word_key(name): name for folders in folders_S for name in folders}
    if found := {key: key for key in classes & set(there) if not is_number(key)}:
        return found
    numbers = classes & set(there)
    # A folder called 1 may be a patient: only where all folders are called as classes.
    if numbers and all(folders and word_key(folders[0]) in classes for folders in folders_S):
        return {key: key for key in numbers}
    if table.class_name_S is not None:
        named: dict[str, Counter[str]] = defaultdict(Counter)
        for key, name in zip(key_S, table.class_name_S.tolist(), strict=True):
            named[word_key(name)][key] += 1
        by_name = {name: counts.most_common(1)[0][0] for name, counts in named.items() if name in there and name}
        if len(set(by_name.values())) == len(by_name) > 1:
            return by_name
    return _classes_by_meaning(classes, folders_S)


def _classes_by_meaning(classes: set[str], folders_S: Sequence[Sequence[str]]) -> dict[str, str]:
    """Of two folders and two classes: the finding's folder is the positive class, the other one the negative."""
    innermost = {word_key(folders[0]): folders[0] for folders in folders_S if folders}
    if len(innermost) != 2 or len(classes) != 2:
        return {}
    yes = "1" if classes == {"0", "1"} else positive_word(*sorted(classes))
    finding = positive_word(*innermost.values())
    if yes is None or finding is None:
        return {}
    (no,) = classes - {yes}
    return {key: yes if name == finding else no for key, name in innermost.items()}
