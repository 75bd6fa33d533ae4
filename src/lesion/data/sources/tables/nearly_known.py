"""Nearly known: which public data set a table is nearly that of, where a column is missing or renamed.

A hint for a refusal: nothing is taken from it, since a table with other columns may be of other images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lesion.data.sources.tables.known_tables import KNOWN_TABLES, KnownTable
from lesion.data.sources.tables.plain_name import plain
from lesion.words import listed, nearest

FEWEST = 3  # columns that table and data set must share


def about_nearly_known(names: Collection[str]) -> str:
    """A sentence on the data set whose table has nearly these columns, and the settings for it; "" if there is none.

    Its marks (known_tables) must be there but for one, or but for others of similar names.
    """
    there = {plain(name): str(name) for name in names}
    if any(all(plain(mark) in there for mark in known.marks) for known in KNOWN_TABLES):
        return ""  # it is wholly that of one
    best = max(KNOWN_TABLES, key=lambda known: _likeness(known, there))
    if _likeness(best, there) == 0:
        return ""
    lacking = [name for name in best.marks if plain(name) not in there]
    renamed = _renamed(best, there)
    told = [f"'{name}'" + (f" (is it '{renamed[name]}' here?)" if name in renamed else "") for name in lacking]

    def setting(name: str, columns: Collection[str]) -> list[str]:
        found = [there.get(plain(column)) or renamed.get(column) for column in columns]
        known = [column for column in found if column is not None]
        return [f"{name}={','.join(known)}"] if known else []

    settings = [
        *setting("image_column", [best.image]),
        *setting("target_column", best.targets),
        *setting("group_column", [best.group] if best.group else []),
    ]
    ways = f": if it is, set {' '.join(settings)}" if settings else ""
    return f" The table is nearly that of {best.name}, which also has {listed(told)}{ways}."


def _likeness(known: KnownTable, there: Mapping[str, str]) -> float:
    """How many columns a table shares with a data set's, a similar name counting half; 0 if it is another one."""
    has = [plain(name) in there for name in known.marks]
    renamed = _renamed(known, there)
    num_marks = sum(has) + sum(name in renamed for name in known.marks)
    shared = sum(plain(name) in there for name in _columns(known))
    if all(has) or num_marks < len(known.marks) - 1 or 2 * sum(has) < len(known.marks) or shared < FEWEST:
        return 0
    return shared + len(renamed) / 2


def _renamed(known: KnownTable, there: Mapping[str, str]) -> dict[str, str]:
    """The columns that a table lacks, each with its own column of a similar name that the data set does not have."""
    columns = _columns(known)
    free = {key: name for key, name in there.items() if key not in {plain(column) for column in columns}}
    found: dict[str, str] = {}
    for column in columns:
        if plain(column) not in there and (key := nearest(plain(column), free)) is not None:
            found[column] = free.pop(key)
    return found


def _columns(known: KnownTable) -> list[str]:
    group = [known.group] if known.group else []
    return list(dict.fromkeys([*known.marks, known.image, *known.targets, *group, *known.metadata]))
