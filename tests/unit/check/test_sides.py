"""Sides: classes that only a side tells apart are named where images are mirrored, and only there."""

from __future__ import annotations

import pytest

from lesion.check.sides import side_findings

ACROSS = [
    ["left", "right"],
    ["Left", "RIGHT"],
    ["disc left", "disc right", "none"],
    ["lung_left", "lung_right"],
    ["L", "R"],
    ["OD", "OS"],
]
ALONG = [["upper lobe", "lower lobe"], ["top", "bottom"]]
NEITHER = [["benign", "malignant"], ["left", "benign"], ["upright", "downleft"], ["left", "left lung"], ["nl", "nr"]]


@pytest.mark.parametrize("names", ACROSS + ALONG + NEITHER, ids=" ".join)
@pytest.mark.parametrize("flips", ["none", "horizontal", "flips", "flips_and_rotations"])
def test_classes_that_differ_by_a_side_are_named_where_flips_mirror_it(names, flips):
    mirrors = (names in ACROSS and flips != "none") or (names in ALONG and flips.startswith("flips"))
    found = side_findings(names, flips)
    assert [finding.name for finding in found] == (["sides"] if mirrors else [])
    if mirrors:
        [finding] = found
        assert f"classes '{names[0]}' and '{names[1]}'" in finding.what and f"flips={flips}" in finding.what
        assert finding.level == "warning" and "flips=none" in finding.do
