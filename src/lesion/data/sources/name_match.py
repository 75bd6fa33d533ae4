"""Name match: which file each name of a column means.

A name is taken literally where a file is called so. What is left is found by weaker rules, from the strongest on: by
the last parts of its path, in any Unicode form and as a web address or HTML writes it, then by other capitals, another
ending, a number without its zeros in front. A weaker rule stands for the column as a whole: it must find one file
alone, give no file to two names, and find the same file for every name that was found before. Knows text only, no
files.
"""

from __future__ import annotations

import html
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import unquote

from lesion.data.decode.image_files import stem

MAX_PARTS = 16  # of a path that are compared, from its end
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
NUMBER = re.compile(r"([0-9]+)(\.0+)?")
OTHER_ENDING = re.compile(r"\.[A-Za-z]{1,6}")
ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}|&#?\w+;|\?")
BETWEEN_PARTS = re.compile(r"[/\\]|%2[fF]|%5[cC]|&#(?:47|92|x2[fF]|x5[cC]);")  # also as web addresses and HTML write it
MAX_DECODED = 3  # times: what was encoded twice


@dataclass(frozen=True)
class Spelling:
    """Which differences between a name and a file are overlooked; `words` say it: "found `words`"."""

    words: str
    folder: Callable[[str], str]  # what is compared of a folder's name
    name: Callable[[str], str]  # of the last part of a name
    file: Callable[[str], tuple[str, ...]]  # of the last part of a file's path, perhaps also without its ending


@dataclass(frozen=True)
class Rule:
    """How a name was found: by so many of its last parts, all or not, and what was overlooked, in words."""

    num_parts: int
    has_all_parts: bool
    words: str


@dataclass
class Matches:
    """The file of each name, by its place in the list of files; None where it has none."""

    files: list[int | None]
    rules: dict[int, Rule] = field(default_factory=dict)  # by name: of those that are not found literally
    doubtful: dict[int, tuple[int, ...]] = field(default_factory=dict)  # names that fit several files
    shared: dict[int, list[int]] = field(default_factory=dict)  # files that several names fit


def match_names(names: Sequence[str], files: Sequence[str], *, folder: str = "/", origin: str | None = None) -> Matches:
    """The files that the names mean.

    `files` are paths below `folder`, written with /. Names may be seen from the folder `origin` too. A name that leads
    out of `folder` by ".." is never found.
    """
    by_path = {path: index for index, path in enumerate(files)}
    found = Matches([by_path.get(name) for name in names])
    rest = [place for place, file in enumerate(found.files) if file is None]
    by_key = _by_key(files) if rest else {}
    origins = list(dict.fromkeys([folder, folder if origin is None else origin]))
    for place in rest:
        name = names[place]
        paths = [_below(folder, origin, name) for origin in origins] if "/" in name else []
        fitting = _literal(name, files, by_path, by_key, [path for path in paths if path is not None])
        if len(fitting) == 1:
            found.files[place] = fitting[0]
        elif fitting:
            found.doubtful[place] = fitting
    _note_shared(found, range(len(names)))
    _match_weakly(found, [_parts(name, folder, origins[-1]) for name in names], files)
    return found


def words_of(matches: Matches, names: Sequence[str], files: Sequence[str]) -> list[str]:
    """How the names were found that were not found literally: a part of a sentence for each way, with an example."""
    num_parts: dict[str, set[int]] = defaultdict(set)
    for rule in matches.rules.values():
        if not rule.has_all_parts:
            num_parts[rule.words].add(rule.num_parts)
    places: dict[str, list[int]] = defaultdict(list)
    for place, rule in matches.rules.items():
        places[_way(rule, num_parts[rule.words])].append(place)
    said = []
    for way, found in places.items():
        file = matches.files[found[0]]
        assert file is not None
        said.append(f"{len(found)} of {len(names)} images found {way}: '{names[found[0]]}' is {files[file]}")
    return said


def _way(rule: Rule, num_parts: set[int]) -> str:
    if rule.has_all_parts:
        return rule.words
    count = "part" if num_parts == {1} else f"{max(num_parts)} parts" if len(num_parts) == 1 else "parts"
    return " and ".join(filter(None, [f"by the last {count} of their path", rule.words]))


# Literal names


def _by_key(files: Sequence[str]) -> Mapping[str, list[int]]:
    """The files by their path without ending, and by their own name with and without it."""
    by_key: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(files):
        folder, slash, name = path.rpartition("/")
        for key in {name, stem(name), f"{folder}{slash}{stem(name)}"}:
            by_key[key].append(index)
    return by_key


def _literal(
    name: str,
    files: Sequence[str],
    by_path: Mapping[str, int],
    by_key: Mapping[str, Sequence[int]],
    paths: Sequence[str],
) -> tuple[int, ...]:
    """The files that are called so; `paths` are what the name may be as a path.

    A whole path is never in doubt, also where its last part is there twice.
    """
    for path in paths:
        if path in by_path:
            return (by_path[path],)
    if "/" not in name:
        return tuple(by_key.get(name, ()))
    fitting = (file for path in paths for file in by_key.get(path, ()) if files[file].count("/") == path.count("/"))
    return tuple(dict.fromkeys(fitting))


def _below(folder: str, origin: str, name: str) -> str | None:
    """The path below `folder` of what is called `name` as seen from `origin`; None where it leads elsewhere."""
    path = posixpath.normpath(posixpath.join(origin, name))
    start = folder.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None


# Weaker rules


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return _nfc(_decoded(text).casefold())


def _number(text: str) -> str:
    """A whole number without zeros in front and after a point, "007.0" as "7"; any other text marked as none."""
    number = NUMBER.fullmatch(text)
    return number[1].lstrip("0") or "0" if number else f"{text}/"


def _bare(name: str) -> str:
    """A file's name without its ending, also where that is no image's usual one."""
    root, ending = posixpath.splitext(stem(name))
    return root if root and OTHER_ENDING.fullmatch(ending) else stem(name)


def _decoded(text: str) -> str:
    """A name that was written as in a web address or in HTML: without %20, &amp; and what follows a ?."""
    if ESCAPED.search(text) is None:
        return _nfc(text)
    text = html.unescape(text)
    root, mark, _ = text.partition("?")
    text = root if mark and stem(root) != root else text  # a query stands behind the ending
    for _ in range(MAX_DECODED):
        decoded = unquote(text)
        if "\ufffd" in decoded and "\ufffd" not in text:
            decoded = unquote(text, encoding="latin-1")
        if decoded == text:
            break
        text = decoded
    return _nfc(text)


def _once(first: str, second: str) -> tuple[str, ...]:
    return (first,) if first == second else (first, second)


SPELLINGS = (
    Spelling("", _decoded, _decoded, lambda file: _once(_decoded(file), _decoded(stem(file)))),
    Spelling("whatever their capitals", _folded, _folded, lambda file: _once(_folded(file), _folded(stem(file)))),
    Spelling("with another ending", _decoded, lambda name: stem(_decoded(name)), lambda file: (_decoded(_bare(file)),)),
    Spelling(
        "with another ending, whatever their capitals",
        _folded,
        lambda name: _folded(stem(_decoded(name))),
        lambda file: (_folded(_bare(file)),),
    ),
    Spelling(
        "as numbers, whatever zeros they begin with",
        _folded,
        lambda name: _number(stem(_decoded(name))),
        lambda file: (_number(_bare(file)),),
    ),
)


def _parts(name: str, folder: str, origin: str) -> tuple[str, ...]:
    """A path's last parts, in whatever way it is written; none if it leads out of the folder by ".."."""
    if URL.match(name):
        scheme, _, name = name.partition("://")
        if scheme.lower() in {"http", "https"}:
            name = unquote(re.split(r"[?#]", name)[0])
    root, mark, query = name.partition("?")
    if mark and stem(root) != root:  # a query behind an ending, which may hold a / of its own
        name = root + mark + BETWEEN_PARTS.sub("_", query)
    parts = [part for part in BETWEEN_PARTS.split(name) if part not in {"", "."}]
    if ".." in parts:
        below = _below(folder, origin, "/".join(parts))
        parts = [] if below is None else below.split("/")
    return tuple(parts[-MAX_PARTS:])


def _match_weakly(found: Matches, parts: Sequence[tuple[str, ...]], files: Sequence[str]) -> None:
    """Adds what the weaker rules find of the names that have no file yet, which are given as the parts of a path."""
    rest = {place for place, file in enumerate(found.files) if file is None and parts[place]} - found.doubtful.keys()
    file_parts = [tuple(path.split("/"))[-MAX_PARTS:] for path in files] if rest else []
    for spelling in SPELLINGS if rest else ():
        search = _Search(spelling, parts, file_parts)
        hopeful = {place for place in rest if search.may_find(place)}
        for num_parts in range(max((len(parts[place]) for place in hopeful), default=0), 0, -1):
            new = search.fitting(sorted(hopeful), num_parts)
            if not new:
                continue
            known = [place for place, file in enumerate(found.files) if file is not None]
            if not _agrees(search.fitting(known, num_parts), found):
                break  # fewer parts fit more files still
            taken = set(found.files)
            for place, candidates in new.items():
                if len(candidates) > 1:
                    found.doubtful[place] = candidates
                elif candidates[0] not in taken:  # else a stronger rule gave it to another name
                    file = found.files[place] = candidates[0]
                    words = spelling.words or _words(parts[place], num_parts, files[file])
                    found.rules[place] = Rule(num_parts, len(parts[place]) == num_parts, words)
            _note_shared(found, new)
            rest -= new.keys()
            hopeful -= new.keys()


class _Search:
    """Names and files by the parts of their paths, compared in one spelling."""

    def __init__(
        self, spelling: Spelling, parts: Sequence[tuple[str, ...]], file_parts: Sequence[tuple[str, ...]]
    ) -> None:
        self._name, self._folder = spelling.name, cache(spelling.folder)
        self._parts, self._file_parts = parts, file_parts
        self._last_parts = [spelling.file(path[-1]) for path in file_parts]
        self._all_last_parts = set[str]().union(*self._last_parts)

    def may_find(self, place: int) -> bool:
        """Whether any file fits a name by its last part."""
        return self._name(self._parts[place][-1]) in self._all_last_parts

    def fitting(self, places: Iterable[int], num_parts: int) -> dict[int, tuple[int, ...]]:
        """The files that end as a name's last parts do, for each of these names with so many parts that fits any."""
        key_of = {
            place: self._key(self._name(path[-1]), path, num_parts)
            for place in places
            if len(path := self._parts[place]) >= num_parts
        }
        by_key: dict[tuple[str, ...], list[int]] = {key: [] for key in key_of.values()}
        wanted = {key[0] for key in by_key}  # so that most files' paths need not be taken apart
        for file, (path, last_parts) in enumerate(zip(self._file_parts, self._last_parts, strict=True)):
            for last in last_parts if len(path) >= num_parts else ():
                if last in wanted and (key := self._key(last, path, num_parts)) in by_key:
                    by_key[key].append(file)
        fitting = {key: tuple(files) for key, files in by_key.items() if files}
        return {place: fitting[key] for place, key in key_of.items() if key in fitting}

    def _key(self, last: str, path: tuple[str, ...], num_parts: int) -> tuple[str, ...]:
        return (last, *map(self._folder, path[-num_parts:-1]))


def _agrees(fitting: Mapping[int, tuple[int, ...]], found: Matches) -> bool:
    """Whether a rule gives no other file to any name that has one."""
    return all(found.files[place] is None or files == (found.files[place],) for place, files in fitting.items())


def _note_shared(found: Matches, places: Iterable[int]) -> None:
    """Takes a file that several of these names fit away from all of them, and notes it."""
    by_file: dict[int, list[int]] = defaultdict(list)
    for place in places:
        if (file := found.files[place]) is not None:
            by_file[file].append(place)
    for file, several in by_file.items():
        if len(several) > 1:
            found.shared[file] = several


def _words(parts: Sequence[str], num_parts: int, file: str) -> str:
    """What was overlooked of a name that is spelled as the file is."""
    path, last = file.split("/")[-num_parts:], parts[-num_parts:]
    ends = {path[-1], stem(path[-1])}
    if list(last[:-1]) != path[:-1] or last[-1] not in ends:
        is_same_text = [*map(_nfc, last[:-1])] == [*map(_nfc, path[:-1])] and _nfc(last[-1]) in set(map(_nfc, ends))
        return "in another Unicode form" if is_same_text else "as web addresses or HTML write them"
    if num_parts < len(parts):
        return ""  # that parts were left out is said anyway
    return "in a deeper folder" if file.count("/") >= num_parts else "by a path that is written in another way"
