"""Sample keys: which members of a shard are one sample, by their names alone.

WebDataset takes a name up to its first dot as the key. But keys have dots of their own (slide1_2.5x.jpg beside
slide1_2.5x.json), and some write KEY.input.jpg and KEY.target.cls. So names that agree up to their first dot are one
sample, unless they make several by their last endings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

INPUT = "input"  # what WebDataset's own examples call the picture, where a sample has others


def keys_of(is_picture: Mapping[str, bool]) -> dict[str, str | None]:
    """The key of each member's path; None for one that is a further file of a sample, such as its mask.

    `is_picture` has the paths of a shard's pictures (True) and files of columns (False). Two files of one kind can get
    the same key: then it is in doubt which is the sample's.
    """
    together: dict[str, list[str]] = defaultdict(list)
    for path in is_picture:
        together[_up_to_first_dot(path)].append(path)
    return {
        path: key for short, paths in together.items() for path, key in _keys_within(short, paths, is_picture).items()
    }


def _keys_within(short: str, paths: Sequence[str], is_picture: Mapping[str, bool]) -> dict[str, str | None]:
    """The keys of members that agree up to the first dot of their names, which is the key `short`."""
    parts: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        parts[path.rpartition(".")[0]].append(path)
    pictures = {key for key, members in parts.items() if any(is_picture[path] for path in members)}
    described = {key for key, members in parts.items() if not all(is_picture[path] for path in members)}
    by_last_ending = {path: path.rpartition(".")[0] for path in paths}
    if len(parts) == 1 or not described:
        if short in pictures and len(parts) > 1:  # x.jpg, x.mask.jpg: WebDataset's further files of a sample
            return {path: key if key == short else None for path, key in by_last_ending.items()}
        return dict(by_last_ending)
    inputs = [path for path in paths if is_picture[path] and _role(path) == INPUT]
    if len(inputs) == 1 and short not in pictures:  # 1.input.jpg, 1.target.cls; 1.target.png is none
        return {path: None if is_picture[path] and path != inputs[0] else short for path in paths}
    whole = pictures & described
    if whole - {short}:  # slide1_2.5x.jpg and .json: each is a sample; what has no columns is told when it is opened
        return dict(by_last_ending)
    if short in pictures:
        return {path: None if is_picture[path] and key != short else short for path, key in by_last_ending.items()}
    return dict.fromkeys(paths, short)


def _role(path: str) -> str:
    """What stands before the last ending: "input" of 0001.input.jpg."""
    return path.rpartition(".")[0].rpartition(".")[2].lower()


def _up_to_first_dot(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"
