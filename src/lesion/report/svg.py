"""SVG: charts as inline SVG text, without a library: lines with bands, bars with intervals, a matrix of counts.

Colours are classes (`c0` … `c6`) that the page's style sheet defines for light, dark and print. No chart rests on
colour alone: lines differ by dashes too and are named, cells hold their numbers. Every chart has a label
that says what is drawn, for those who hear the page, and its points say their values when they are pointed at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from lesion.report.sections import Curve
from lesion.words import one_line, shortened

NUM_COLORS = 7
DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 5", "4 2", "1 2")
MAX_POINTS = 150  # of a line: more cannot be seen


@dataclass(frozen=True)
class Axes:
    """The frame of a chart: what is drawn from where to where."""

    x_label: str
    y_label: str
    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    width: int = 380
    height: int = 320
    format_x: Callable[[float], str] = field(default=lambda value: f"{value:g}")
    format_y: Callable[[float], str] = field(default=lambda value: f"{value:g}")

    LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 46  # margins

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place in pixels of a point; one outside the frame lies on its border."""
        share_x = min(max((x - self.x[0]) / ((self.x[1] - self.x[0]) or 1), 0), 1)
        share_y = min(max((y - self.y[0]) / ((self.y[1] - self.y[0]) or 1), 0), 1)
        inner_w, inner_h = self.width - self.LEFT - self.RIGHT, self.height - self.TOP - self.BOTTOM
        return round(self.LEFT + share_x * inner_w, 1), round(self.height - self.BOTTOM - share_y * inner_h, 1)

    def frame(self) -> str:
        parts = []
        for value in ticks(*self.x):
            x, y = self.at(value, self.y[0])
            parts.append(f'<line class="grid" x1="{x}" y1="{self.TOP}" x2="{x}" y2="{y}"/>')
            parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{text(self.format_x(value))}</text>')
        for value in ticks(*self.y):
            x, y = self.at(self.x[0], value)
            parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{self.width - self.RIGHT}" y2="{y}"/>')
            parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{text(self.format_y(value))}</text>')
        middle_x, middle_y = (self.LEFT + self.width - self.RIGHT) / 2, (self.TOP + self.height - self.BOTTOM) / 2
        parts.append(
            f'<text class="axis" x="{middle_x}" y="{self.height - 8}" text-anchor="middle">{text(self.x_label)}</text>'
        )
        parts.append(
            f'<text class="axis" transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">'
            f"{text(self.y_label)}</text>"
        )
        return "".join(parts)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most `most` round numbers from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    step = 10.0**-12
    while True:
        for factor in (1, 2, 5):
            if span / (step * factor) <= most - 1 + 1e-9:
                step *= factor
                first = -(-low // step)  # rounded up
                return [
                    round((first + k) * step, 12) for k in range(most + 1) if (first + k) * step <= high + step / 1e6
                ]
        step *= 10


def line_chart(
    title: str,
    description: str,
    curves: Sequence[Curve],
    axes: Axes,
    *,
    diagonal: str = "",
    marks: Sequence[tuple[float, float, str]] = (),
    point: Callable[[Curve, int], str] | None = None,
) -> Markup:
    """Curves with their bands, a dotted diagonal that is called `diagonal`, and marks (x, y, what it is).

    `point` says what a point of a curve tells those who point at it. Without curves the frame alone is drawn.
    """
    parts = [axes.frame()]
    if diagonal:
        (x1, y1), (x2, y2) = axes.at(axes.x[0], axes.y[0]), axes.at(axes.x[1], axes.y[1])
        parts.append(
            f'<line class="diagonal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"><title>{text(diagonal)}</title></line>'
        )
    for number, curve in enumerate(curves):
        color, dash = number % NUM_COLORS, DASHES[number % len(DASHES)]
        kept = thinned(len(curve.x))
        if curve.low is not None and curve.high is not None:
            upper = [axes.at(curve.x[k], curve.high[k]) for k in kept]
            lower = [axes.at(curve.x[k], curve.low[k]) for k in reversed(kept)]
            parts.append(f'<polygon class="band c{color}" points="{_points([*upper, *lower])}"/>')
        places = [axes.at(curve.x[k], curve.y[k]) for k in kept]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        parts.append(f'<polyline class="line c{color}"{dashes} points="{_points(places)}"/>')
        if point is not None:
            for k, (x, y) in list(zip(kept, places, strict=True))[:: max(1, len(kept) // 40)]:
                parts.append(
                    f'<circle class="hit c{color}" cx="{x}" cy="{y}" r="5"><title>{text(point(curve, k))}</title>'
                    "</circle>"
                )
    for x_value, y_value, what in marks:
        x, y = axes.at(x_value, y_value)
        parts.append(f'<path class="mark" d="M{x} {y - 6} l6 6 l-6 6 l-6 -6 z"><title>{text(what)}</title></path>')
    return figure(title, description, axes.width, axes.height, "".join(parts))


def legend(curves: Sequence[Curve]) -> Markup:
    """The curves' names and notes beside the look of their lines, as a list."""
    rows = []
    for number, curve in enumerate(curves):
        color, dash = number % NUM_COLORS, DASHES[number % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        note = f' <span class="soft">{text(curve.note)}</span>' if curve.note else ""
        rows.append(
            f'<li><svg aria-hidden="true" width="34" height="10"><line class="line c{color}"{dashes} x1="0" y1="5" '
            f'x2="34" y2="5"/></svg> {text(shortened(curve.name, 60))}{note}</li>'
        )
    return Markup(f'<ul class="legend">{"".join(rows)}</ul>') if rows else Markup()  # noqa: S704


def forest(
    title: str,
    description: str,
    rows: Sequence[tuple[str, float | None, tuple[float, float] | None, str]],
    *,
    x: tuple[float, float],
    reference: float | None = None,
) -> Markup:
    """A line for each row (name, value, interval, what it says): the value as a point on its interval.

    `reference` is drawn as a dotted line, the value of all rows together. A row without a value says so.
    """
    left, right, row_height, width = 190, 16, 24, 640
    height = row_height * len(rows) + 44
    inner = width - left - right

    def at(value: float) -> float:
        return round(left + inner * min(max((value - x[0]) / ((x[1] - x[0]) or 1), 0), 1), 1)

    parts = []
    for value in ticks(*x):
        parts.append(f'<line class="grid" x1="{at(value)}" y1="6" x2="{at(value)}" y2="{height - 26}"/>')
        parts.append(f'<text x="{at(value)}" y="{height - 8}" text-anchor="middle">{value:g}</text>')
    if reference is not None:
        where = at(reference)
        parts.append(
            f'<line class="diagonal" x1="{where}" y1="6" x2="{where}" y2="{height - 26}">'
            f"<title>all: {reference:.3f}</title></line>"
        )
    for number, (name, middle, interval, what) in enumerate(rows):
        y = 18 + row_height * number
        parts.append(f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{text(shortened(name, 26))}</text>')
        if middle is None:
            parts.append(f'<text class="soft" x="{left + 4}" y="{y + 4}">{text(shortened(what, 70))}</text>')
            continue
        drawn = ""
        if interval is not None:
            drawn = f'<line class="line c0" x1="{at(interval[0])}" y1="{y}" x2="{at(interval[1])}" y2="{y}"/>'
        drawn += f'<circle class="dot c0" cx="{at(middle)}" cy="{y}" r="5"/>'
        parts.append(f"<g>{drawn}<title>{text(what)}</title></g>")
    return figure(title, description, width, height, "".join(parts))


def matrix(title: str, description: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """A confusion matrix: rows are the truth, columns the answers; a cell's shade is its share of its row."""
    cell, left, top = (64 if len(names) <= 4 else 44), 130, 24
    bottom = 24 if len(names) <= 4 else 92
    size = float(cell * len(names))
    parts = [f'<text class="axis" x="{left + size / 2}" y="14" text-anchor="middle">answer</text>']
    for row, (name, row_counts) in enumerate(zip(names, counts, strict=True)):
        y, total = float(top + row * cell), sum(row_counts)
        parts.append(
            f'<text x="{left - 8}" y="{y + cell / 2 + 4}" text-anchor="end">{text(shortened(name, 16))}</text>'
        )
        for column, number in enumerate(row_counts):
            x, share = left + column * cell, number / total if total else 0
            dark = " on-dark" if share > 0.5 else ""
            kind = "right" if row == column else "wrong"
            what = f"{name}, answered {names[column]}: {number:,} of {total:,} ({share:.0%})"
            parts.append(
                f'<g><rect class="cell {kind}" style="--share:{share:.3f}" x="{x}" y="{y}" width="{cell - 2}" '
                f'height="{cell - 2}"/><text class="count{dark}" x="{x + cell / 2 - 1}" y="{y + cell / 2 + 4}" '
                f'text-anchor="middle">{number:,}</text><title>{text(what)}</title></g>'
            )
    for column, name in enumerate(names):
        middle, below = left + column * cell + cell / 2, top + size + 14
        turned = "" if len(names) <= 4 else f' transform="rotate(-40 {middle} {below})"'
        anchor = "middle" if len(names) <= 4 else "end"
        short = shortened(name, 10 if len(names) <= 4 else 16)
        parts.append(f'<text x="{middle}" y="{below}" text-anchor="{anchor}"{turned}>{text(short)}</text>')
    return figure(title, description, left + size + 20, top + size + bottom, "".join(parts))


def figure(title: str, description: str, width: float, height: float, content: str) -> Markup:
    """The SVG element around drawn `content`, named for screen readers. It shrinks with a narrow page."""
    return Markup(  # noqa: S704
        f'<svg class="chart" role="img" aria-label="{text(title)}. {text(description)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">{content}</svg>'
    )


def thinned(num: int, most: int = MAX_POINTS) -> list[int]:
    """At most `most` of the places 0 … num − 1, evenly, with the first and the last."""
    if num <= most:
        return list(range(num))
    return sorted({round(k * (num - 1) / (most - 1)) for k in range(most)})


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def text(words: str) -> Markup:
    """A user's words inside a chart: one line, escaped."""
    return escape(one_line(words))
