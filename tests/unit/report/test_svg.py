"""SVG: round ticks, points where they belong, and charts of nothing or of anything."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.report.sections import Curve
from lesion.report.svg import Axes, forest, line_chart, matrix, thinned, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.82, 1.0, [0.85, 0.9, 0.95, 1.0]),
        (0, 7, [0, 2, 4, 6]),
        (-0.01, 0.16, [0, 0.05, 0.1, 0.15]),
        (3, 3, [3]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_between_the_ends_and_are_few(low, span):
    found = ticks(low, low + span)
    assert len(found) <= 6 and all(low - span / 1e5 <= value <= low + span * (1 + 1e-5) for value in found)
    assert found == sorted(found)


@given(st.integers(0, 5_000), st.integers(2, 300))
def test_thinning_keeps_the_ends_in_order(num, most):
    kept = thinned(num, most)
    assert kept == sorted(set(kept)) and len(kept) <= max(most, 0)
    assert not num or (kept[0], kept[-1]) == (0, num - 1)


def test_a_line_runs_from_corner_to_corner():
    """380 × 320 px less margins of 52, 14, 12 and 46: (0, 0) is at (52, 274) and (1, 1) at (366, 12), by hand."""
    chart = line_chart("t", "d", [Curve(name="a", x=(0, 0.5, 1), y=(0, 0.5, 1))], Axes("x", "y"))
    [line] = re.findall('<polyline class="line c0" points="([^"]*)"', chart)
    assert line == "52,274 209,143 366,12"


@pytest.mark.parametrize("name", ["<b>", 'a"b', "a\nb", "\x1b[2J", "&amp;", "x" * 5_000])
def test_charts_are_xml_whatever_things_are_called(name):
    curve = Curve(name=name, x=(0, 1), y=(0, 1), low=(0, 0.9), high=(0.1, 1), at=(1, 0), note=name)
    charts = [
        line_chart(
            name, name, [curve] * 9, Axes(name, name), diagonal=name, marks=[(0.5, 0.5, name)], point=lambda c, k: name
        ),
        forest(name, name, [(name, 0.5, (0.4, 0.6), name), (name, None, None, name)], x=(0, 1), reference=0.5),
        matrix(name, name, [name] * 5, [[0] * 5] * 5),
    ]
    for chart in charts:
        assert ET.fromstring(chart).attrib["role"] == "img"


def test_the_shade_of_a_cell_is_its_share_of_its_row():
    chart = matrix("t", "d", ["no", "yes"], [[30, 10], [0, 0]])
    shares = [float(share) for share in re.findall("--share:([0-9.]+)", chart)]
    assert shares == [0.75, 0.25, 0, 0] and all(math.isfinite(share) for share in shares)
