"""Positive classes: of all the classes that annotations have, those that make a tile positive.

Never a guess: the user names them, or there is only one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from lesion.errors import UserError
from lesion.prepare.regions import Region
from lesion.words import listed, nearest, shortened

log = logging.getLogger(__name__)

NO_TISSUE = "*"  # QuPath's mark, as of "Ignore*" and "Region*": such a class names no tissue


def choose_positive(
    regions: Sequence[Region], positive: Sequence[str], excluded: Sequence[str], *, where: object
) -> tuple[str, ...]:
    """The positive classes: those named, or the only one that is not excluded and does not end with NO_TISSUE.

    The log says which it is, and what else there is. Raises UserError for a class that no region has, for several of
    which none is named, and where no region is left.
    """
    counts = Counter(region.class_name for region in regions)
    _check_named((*positive, *excluded), regions, counts, where)
    kept = [region for region in regions if not region.is_one_of(excluded)]
    if positive:
        chosen = tuple(positive)
    else:
        chosen = _only_class([region for region in kept if not region.class_name.endswith(NO_TISSUE)], counts, where)
        log.info("positive=%s because it is the only class", _name(chosen[0]))
    others = Counter(region.class_name for region in kept if not region.is_one_of(chosen))
    log.info(
        "positive_regions=%d other_regions=%s",
        sum(region.is_one_of(chosen) for region in kept),
        _counted(others) or "none",
    )
    return chosen


def _only_class(regions: Sequence[Region], counts: Counter[str], where: object) -> tuple[str, ...]:
    """The class that all of these have, or belong to."""
    names = dict.fromkeys(region.class_name for region in regions)
    widest = [name for name in names if all(region.is_one_of([name]) for region in regions)]
    if len(widest) == 1:
        return (widest[0],)
    if not names:
        raise UserError(
            f"no annotation has a class that counts: {_counted(counts) or 'there is no area'}",
            where=where,
            do="Give annotations of the positive class, or name it with --positive.",
        )
    raise UserError(
        f"the annotations have {len(names)} classes, and it is unclear which of them are positive: "
        f"{_counted(Counter({name: counts[name] for name in names}))}",
        where=where,
        do=f"Name those that are, for example --positive {_quoted(_first(names, counts))}; it may be repeated.",
    )


def _check_named(named: Sequence[str], regions: Sequence[Region], counts: Counter[str], where: object) -> None:
    known = sorted({*counts, *(name for region in regions for name in region.wider)})
    for name in named:
        if name not in known:
            near = nearest(name, known)
            there = ", ".join(repr(one) for one in known) or "none"
            raise UserError(
                f"no annotation has the class '{shortened(name, 80)}'; there are {there}",
                where=where,
                do=f"Did you mean {near}?" if near else "Choose one of them.",
            )


def _counted(counts: Counter[str]) -> str:
    return listed([f"{_name(name)} ({count})" for name, count in counts.most_common()], most=12)


def _name(class_name: str) -> str:
    return shortened(class_name, 80) or "no class"


def _first(names: dict[str, None], counts: Counter[str]) -> str:
    """The class to show as an example: one that has a name, if any has, and the most regions."""
    return max(names, key=lambda name: (bool(name), counts[name]))


def _quoted(name: str) -> str:
    return f'"{shortened(name, 80)}"'
