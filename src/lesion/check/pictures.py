"""Pictures: which cannot be read, are blank, of odd size, or lose much of their area."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from lesion.check.finding import Finding, Level, Part, TableRow
from lesion.check.survey import ImageStats
from lesion.data.decode.frames import DIM_LEVELS
from lesion.data.table import SampleTable
from lesion.data.transforms import share_cut_off
from lesion.errors import UserError
from lesion.geometry import Fit
from lesion.words import listed

MIN_SIDE_PX = 32
MAX_ASPECT = 4.0  # longer side ÷ shorter
MAX_RATIO = 8.0  # of a picture's side to the set's median
NUM_SAID = 5  # errors in a message
MUCH = 0.25  # of the area of most pictures: cut off, it is more than the margin that is left around what counts
LITTLE = 0.01  # below it nothing is said
NUM_REMEDIES = 3


def unreadable(
    table: SampleTable, stats_S: Sequence[ImageStats | UserError], *, part: Part, is_dropped: bool
) -> list[Finding]:
    """One finding for the pictures that are not there or cannot be decoded; an error unless their rows are dropped.

    An error too where none is left.
    """
    bad = [(index, stats) for index, stats in enumerate(stats_S) if isinstance(stats, UserError)]
    if not bad:
        return []
    rows = tuple(TableRow(part, index, str(table.name_S[index])) for index, _ in bad)
    places: dict[str, list[str]] = {}
    for _, error in bad:
        places.setdefault(error.what, []).append(str(error.where))
    said = [f"{what} ({listed(where)})" for what, where in places.items()]
    remedies = " ".join(list(dict.fromkeys(error.do for _, error in bad))[:NUM_REMEDIES])
    is_error = not is_dropped or len(bad) == len(table)
    if len(bad) == len(table):  # without their rows nothing is left
        do = remedies
    elif is_dropped:
        do = f"Their rows are left out. {remedies}"
    else:
        do = f"{remedies} Or set on_bad_image=drop to leave their rows out."
    return [
        Finding(
            "error" if is_error else "warning",
            "unreadable_image",
            f"{len(bad)} of {len(table)} {part} images cannot be read; the first: {'; '.join(said[:NUM_SAID])}",
            do,
            where=table.where,
            rows=rows,
        ),
    ]


def picture_findings(
    table: SampleTable, stats_S: Sequence[ImageStats | UserError], *, part: Part, image_size: int, fit: Fit
) -> list[Finding]:
    """Blank pictures, odd sizes, how many are smaller than what the network sees, and what `fit` cuts off."""
    seen = [(index, stats) for index, stats in enumerate(stats_S) if isinstance(stats, ImageStats)]
    if not seen:
        return []
    median_px = float(np.median([max(stats.width_px, stats.height_px) for _, stats in seen]))

    def is_odd(stats: ImageStats) -> bool:
        short, long = sorted((stats.width_px, stats.height_px))
        is_far = not 1 / MAX_RATIO <= long / median_px <= MAX_RATIO
        return short < MIN_SIDE_PX or long / short > MAX_ASPECT or is_far

    findings = []

    def add(level: Level, name: str, is_meant: Callable[[ImageStats], bool], what: str, do: str = "") -> None:
        rows = tuple(TableRow(part, index, str(table.name_S[index])) for index, stats in seen if is_meant(stats))
        if rows:
            what = f"{len(rows)} of {len(table)} {part} images {what if len(rows) > 1 else _of_one(what)}"
            findings.append(Finding(level, name, what, do, table.where, rows))

    add("warning", "blank_pictures", lambda stats: stats.is_blank, "are blank", "Replace them or take their rows out.")
    add(
        "warning",
        "odd_sizes",
        is_odd,
        f"are of odd size: a side below {MIN_SIDE_PX} px, more than {MAX_ASPECT:g} times as long as wide, or "
        f"{MAX_RATIO:g} times larger or smaller than most ({median_px:g} px)",
        "Inspect them: they may be thumbnails, screenshots or strips, unlike the images to be predicted.",
    )
    add(
        "warning",
        "frames_not_read",
        lambda stats: stats.has_more_frames,
        "hold more than one frame or page: only the first is read",
        "Save each frame that is meant to be an image as a file of its own.",
    )
    add(
        "warning",
        "channels_not_read",
        lambda stats: stats.has_more_channels,
        "have a channel beside their colours that is neither colour nor alpha (ExtraSamples): it is not read",
        "Ignore this if the colours are all that counts; else save the channels that count as RGB or grey.",
    )
    add(
        "warning",
        "levels_not_used",
        lambda stats: stats.is_dim,
        f"use only the lowest {DIM_LEVELS:,} of their 65,536 levels and look black: the files store 9 to 14 bits in 16",
        "Multiply their pixels so that the largest value of the camera becomes 65,535, or state it as MaxSampleValue "
        "(tag 281) of the TIFF. The images to be predicted need the same.",
    )
    add(
        "note",
        "small_pictures",
        lambda stats: (max if fit == "pad" else min)(stats.width_px, stats.height_px) < image_size,
        f"are smaller than image_size={image_size} and are enlarged",
    )
    return findings + (_cut_off(table, seen, part) if fit == "crop" else [])


def _of_one(what: str) -> str:
    """What is said of several images, of one: "are blank", "is blank"."""
    for several, one in {"are": "is", "hold": "holds", "have": "has", "use": "uses", "their": "its"}.items():
        what = re.sub(rf"\b{several}\b", one, what)
    return what


def _cut_off(table: SampleTable, seen: Sequence[tuple[int, ImageStats]], part: Part) -> list[Finding]:
    """What share of the pictures' area the middle square leaves out; a warning where it is much of most of them."""
    shares = np.array([share_cut_off(stats.height_px, stats.width_px) for _, stats in seen])
    median, largest = float(np.median(shares)), float(shares.max())
    if largest < LITTLE:
        return []
    much = tuple(
        TableRow(part, index, str(table.name_S[index]))
        for (index, _), share in zip(seen, shares, strict=True)
        if share > MUCH
    )
    return [
        Finding(
            "warning" if median > MUCH else "note",
            "cut_off",
            f"fit=crop cuts off the ends of oblong {part} images: of the median image {median:.0%} of the area, of one "
            f"{largest:.0%}",
            "If what counts may lie there, set fit=pad (black bars) or fit=stretch: the whole image is then seen.",
            table.where,
            much,
        )
    ]
