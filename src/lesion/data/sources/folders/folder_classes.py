"""Folder classes: the class of each sample of shards that hold images alone, from the folders within the shards."""

from __future__ import annotations

from collections.abc import Sequence

from lesion.data.sources.folders.set_names import is_neutral, set_of


def folder_classes(keys: Sequence[str]) -> list[str] | None:
    """The class of each key: the first folder that tells them apart, "benign" of train/benign/x and benign/x.

    Folders on top that all keys share are looked through where they are called as a set, or say nothing. None where a
    key lies in no further folder, and where the folders are sets.
    """
    parts = [key.split("/") for key in keys]
    while parts and all(len(part) > 1 for part in parts):
        first = {part[0] for part in parts}
        is_shared = len(first) == 1 and all(len(part) > 2 for part in parts)
        (only, *others) = first
        if is_shared or (not others and (is_neutral(only) or set_of(only) is not None)):
            parts = [part[1:] for part in parts]
            continue
        return None if any(set_of(name) is not None for name in first) else [part[0] for part in parts]
    return None
