"""Page: drift.html, what changed since training, for a doctor: the verdict, what to do, both sides of each comparison.

One file that needs no network and no JavaScript, in the style of the training report.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from lesion.algorithms.base import Reference
from lesion.drift.compared import Comparison, Violation, num_compared, p_in_words, side_in_words
from lesion.drift.gathered import FAULTS, Gathered
from lesion.evaluation.drift import MIN_ROWS
from lesion.report.page import as_read
from lesion.report.sections import Curve
from lesion.report.svg import Axes, legend, line_chart

PAGE = "drift.html"
NUM_POINTS = 100  # of a curve
CAUTION = (
    "Drift does not say that answers are wrong, and no drift does not say that they are right: only images with a "
    "known diagnosis do (lesion evaluate)."
)


def render(
    found: Gathered,
    comparisons: Sequence[Comparison],
    violations: Sequence[Violation],
    reference: Reference,
    *,
    alpha: float,
) -> str:
    """The page, an HTML document of its own. Words of the user (class names, answers) are escaped, as one line each."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader

    loaders = [PackageLoader(f"lesion.{room}", ".") for room in ("drift", "report")]  # the style is the report's
    environment = Environment(loader=ChoiceLoader(loaders), autoescape=True, trim_blocks=True, finalize=as_read)
    environment.globals.update(side=side_in_words, p=p_in_words)
    tested = [one for one in comparisons if one.difference is not None]
    return environment.get_template("drift.html.jinja").render(
        found=found,
        verdict=verdict(found, comparisons, violations),
        advice=advice(comparisons, reference),
        violations=violations,
        tested=tested,
        untested=[one for one in comparisons if one.difference is None],
        charts=[(one, chart(one)) for one in tested if not isinstance(one.training, tuple)],
        faults=[(FAULTS[name], num, found.examples[name]) for name, num in found.faults.items()],
        gaps=reference.gaps,
        version=reference.manifest.version,
        alpha=alpha,
        min_rows=MIN_ROWS,
        caution=CAUTION,
    )


def verdict(found: Gathered, comparisons: Sequence[Comparison], violations: Sequence[Violation]) -> str:
    """The page's first sentence, which is the terminal's too."""
    if not found.num_requests:
        return "No requests were captured, so nothing was compared: whether there is drift is not known."
    num_tested = num_compared(comparisons)
    drifted = [one.title for one in comparisons if one.is_drift]
    others = len(violations) - len(drifted)
    more = f" {others} other violation{'s' * (others > 1)}: see below." if others else ""
    if drifted:
        return f"Drift in {len(drifted)} of {num_tested} comparisons: {'; '.join(drifted)}.{more}"
    if not num_tested:
        return f"Nothing was compared: fewer than {MIN_ROWS} images or answers, or nothing to compare with.{more}"
    return f"No drift in {num_tested} comparisons.{more}"


def advice(comparisons: Sequence[Comparison], reference: Reference) -> list[str]:
    """What to do about what drifted."""
    drifted = {one.name for one in comparisons if one.is_drift}
    about_answers = {*reference.scores, *(name for name in reference.titles if name.startswith("answered_"))}
    said = []
    if drifted - about_answers:
        said.append(
            "The images differ from those of training. Ask what changed in how they are taken or sent: camera, light, "
            "magnification, file format, another site, another kind of image. Look at some recent ones."
        )
    if drifted & about_answers:
        said.append(
            "The answers differ from those of training. Where the images do not, the patients may: how frequent the "
            "disease is, who is referred. Check the operating point and the model that is served."
        )
    if drifted:
        said.append("Evaluate the model on recent images with a known diagnosis before relying on its answers.")
    return said


def chart(one: Comparison) -> Markup:
    """The cumulative shares of both samples."""
    assert not isinstance(one.training, tuple) and not isinstance(one.now, tuple)
    both = np.concatenate([one.training, one.now])
    curves = [_cumulative("training", one.training), _cumulative("now", one.now)]
    low, high = float(both.min()), float(both.max())
    axes = Axes(one.title, "share of images at or below", x=(low, high if high > low else low + 1), height=260)
    drawn = line_chart(one.title, "The cumulative distribution in training and now.", curves, axes)
    return drawn + legend(curves)


def _cumulative(name: str, values: NDArray[np.float32]) -> Curve:
    """The values at evenly spaced shares, so that a chart is as small for many requests as for few."""
    share = np.linspace(0, 1, NUM_POINTS)
    return Curve(name=name, x=tuple(np.quantile(values, share).tolist()), y=tuple(share.tolist()))
