"""Sides: classes that are told apart by left and right, or by up and down, where augmentation mirrors images."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lesion.check.finding import Finding
from lesion.geometry import Flips

PAIRS_ACROSS = (("left", "right"), ("l", "r"), ("od", "os"))  # OD and OS: the right and the left eye
PAIRS_ALONG = (("upper", "lower"), ("top", "bottom"), ("superior", "inferior"), ("above", "below"), ("up", "down"))
LETTERS = re.compile(r"[^\W\d_]+")


def side_findings(class_names: Sequence[str], flips: Flips) -> list[Finding]:
    """A warning for two classes whose names differ by a side, if `flips` make an image of the one an image of the
    other."""
    pairs = [] if flips == "none" else [*PAIRS_ACROSS, *([] if flips == "horizontal" else PAIRS_ALONG)]
    opposite = {word: other for pair in pairs for word, other in (pair, pair[::-1])}
    called = {name.casefold(): name for name in class_names}
    for name in class_names:
        mirrored = LETTERS.sub(lambda found: opposite.get(found[0], found[0]), name.casefold())
        if mirrored != name.casefold() and mirrored in called:
            return [
                Finding(
                    "warning",
                    "sides",
                    f"classes '{name}' and '{called[mirrored]}' differ by a side, and flips={flips} mirrors images in "
                    "training and prediction: the network cannot tell them apart by it",
                    "Set flips=none, if the side is where it lies in the image.",
                )
            ]
    return []
