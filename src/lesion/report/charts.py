"""Charts: which curve or table of the facts is drawn how, with its words for those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

from lesion.report.facts import Facts
from lesion.report.sections import Curve, Metric, Missing
from lesion.report.svg import Axes, forest, legend, line_chart, matrix
from lesion.report.words import shown

MAX_CURVES = 7  # in one chart: the first of them; the table of classes has them all
MAX_FOREST = 40
OF_CLASSES = ("ROC curve", "Precision and recall", "Calibration")  # a curve a class, where there are several
Drawn = tuple[str, Markup, Markup, str]  # heading, chart, legend, note


def charts_of(facts: Facts) -> tuple[list[Drawn], list[tuple[str, str]]]:
    """The charts of the curves, and (name, reason) of those that are missing."""
    curves, missing, drawn = facts.curves, [], []
    positive = facts.question.positive_class or "the class"
    makers: list[tuple[str, tuple[Curve, ...] | Missing, Callable[[Sequence[Curve]], tuple[Markup, str]]]] = [
        ("ROC curve", curves.roc, lambda found: _roc(facts, found)),
        ("Precision and recall", curves.pr, lambda found: _pr(facts, found, positive)),
        ("Calibration", curves.calibration, _calibration),
        ("Decision curve", curves.decision, _decision),
        ("Learning curves", curves.learning, lambda found: _learning(found, curves.learning_metric)),
    ]
    if curves.thresholds:  # of answers that have no other curve of thresholds
        makers.insert(1, ("Shares by threshold", curves.thresholds, lambda found: _by_threshold(facts, found)))
    for name, found, draw in makers:
        if isinstance(found, Missing):
            missing.append((name, found.why))
        elif not found:
            missing.append((name, "There is no curve to draw."))
        else:
            first = found[:MAX_CURVES]
            chart, note = draw(first)
            total = max(len(found), len(facts.classes) if name in OF_CLASSES else 0)
            if total > len(first):
                note = f"{note} {len(first)} of {total:,} are drawn.".strip()
            has_names = len(first) > 1 or bool(first[0].note)
            drawn.append((name, chart, legend(first) if has_names else Markup(), note))
    return drawn, missing


def _roc(facts: Facts, curves: Sequence[Curve]) -> tuple[Markup, str]:
    marks = []
    if facts.is_binary:
        for point in facts.chosen:
            if point.sensitivity.value is not None and point.specificity.value is not None:
                what = f"served threshold {point.threshold:.3f}"
                marks.append((1 - point.specificity.value, point.sensitivity.value, what))
    chart = line_chart(
        "ROC curve",
        f"Sensitivity against 1 minus specificity. {_names(curves)}",
        curves,
        Axes("1 − specificity", "sensitivity"),
        diagonal="chance",
        marks=marks,
        point=_at_threshold("sensitivity {y:.3f}, specificity {rest:.3f}"),
    )
    return chart, "The diamond is the served threshold." if marks else ""


def _by_threshold(facts: Facts, curves: Sequence[Curve]) -> tuple[Markup, str]:
    served = [point.threshold for point in facts.chosen][:1]
    marks = [
        (x, float(np.interp(x, curve.x, curve.y)), f"served threshold {x:.3f}") for x in served for curve in curves
    ]
    chart = line_chart(
        "Shares by threshold",
        f"Share of images that reach each threshold. {_names(curves)}",
        curves,
        Axes("threshold", "share of images", x=(min(curves[0].x), max(curves[0].x))),
        marks=marks,
        point=_at_threshold("threshold {x:.3f}: {y:.3f}"),
    )
    return chart, "Of held-out images. The diamonds are at the served threshold." if marks else ""


def _pr(facts: Facts, curves: Sequence[Curve], positive: str) -> tuple[Markup, str]:
    title = f"Precision and recall of {positive}" if facts.is_binary else "Precision and recall"
    axes = Axes("recall (sensitivity)", "precision (PPV)")
    said = _at_threshold("recall {x:.3f}, precision {y:.3f}")
    return line_chart(title, f"Precision against recall. {_names(curves)}", curves, axes, point=said), ""


def _calibration(curves: Sequence[Curve]) -> tuple[Markup, str]:
    axes = Axes("predicted probability", "observed share")
    words = f"Observed share against predicted probability. {_names(curves)}"
    said = _at_threshold("predicted {x:.3f}, observed {y:.3f}")
    chart = line_chart("Calibration", words, curves, axes, diagonal="perfectly calibrated", point=said)
    return chart, "On the dotted line a probability of 20 % is right in 20 % of images. The band is the 95 % interval."


def _decision(curves: Sequence[Curve]) -> tuple[Markup, str]:
    high = max(max(curve.y) for curve in curves)
    axes = Axes(
        "threshold probability",
        "net benefit",
        x=(min(min(curve.x) for curve in curves), max(max(curve.x) for curve in curves)),
        y=(-0.05 * max(high, 0.01), 1.1 * max(high, 0.01)),
    )
    words = f"Net benefit against the probability from which one acts. {_names(curves)}"
    chart = line_chart("Decision curve", words, curves, axes, point=_at_threshold("net benefit {y:.4f}"))
    return chart, "Worth using where it lies above both acting on all and acting on none."


def _learning(curves: Sequence[Curve], metric: str) -> tuple[Markup, str]:
    values = [value for curve in curves for value in curve.y]
    low, high = min(values), max(values)
    pad = 0.08 * ((high - low) or 0.1)
    last = max(max(curve.x) for curve in curves)
    axes = Axes("epoch", metric or "validation metric", x=(0, max(last, 1)), y=(low - pad, high + pad))
    words = f"Validation metric of each fold by epoch. {_names(curves)}"
    return line_chart("Learning curves", words, curves, axes, point=_at_threshold("epoch {x:.0f}: {y:.3f}")), ""


def _at_threshold(form: str) -> Callable[[Curve, int], str]:
    """What a point says: its name where it has one, its values in `form`, and its threshold."""

    def said(curve: Curve, k: int) -> str:
        text = form.format(x=curve.x[k], y=curve.y[k], rest=1 - curve.x[k])
        at = f"threshold {curve.at[k]:.3f}: " if curve.at is not None else ""
        return f"{curve.name}, {at}{text}" if curve.name else f"{at}{text}"

    return said


def _names(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.name}{f' ({curve.note})' if curve.note else ''}" for curve in curves)


def class_chart(facts: Facts) -> Markup:
    """The first metric of each class with its interval, those with the least first; of many classes the worst."""
    rows = [(one.name, one.metrics[0], one.num_rows) for one in facts.classes if one.metrics]
    if not rows:
        return Markup()
    name = rows[0][1].name
    rows.sort(key=lambda row: (row[1].number.value is None, row[1].number.value or 0))
    title = f"{name} of each class" if len(rows) <= MAX_FOREST else f"{name} of the {MAX_FOREST} worst classes"
    overall = next((metric.number.value for metric in facts.metrics if metric.name == name), None)
    return _forest(title, [(label, metric, f"{num:,} images") for label, metric, num in rows[:MAX_FOREST]], overall)


def subgroup_chart(facts: Facts) -> Markup:
    """The first metric of each subgroup with its interval."""
    if isinstance(facts.subgroups, Missing):
        return Markup()
    rows = [row for row in facts.subgroups.rows if row.metrics][:MAX_FOREST]
    if not rows:
        return Markup()
    name = rows[0].metrics[0].name
    overall = next((metric.number.value for metric in facts.metrics if metric.name == name), None)
    each = [(f"{row.column}: {row.value}", row.metrics[0], f"{row.num_rows:,} images") for row in rows]
    return _forest(f"{name} of each subgroup", each, overall)


def _forest(title: str, rows: Sequence[tuple[str, Metric, str]], overall: float | None) -> Markup:
    known = [
        end for _, metric, _ in rows for end in (metric.number.interval or (metric.number.value,)) if end is not None
    ]
    low, high = (min([*known, 0.9]), max([*known, 1.0])) if known else (0.0, 1.0)
    drawn = [
        (name, metric.number.value, metric.number.interval, f"{name}: {shown(metric.number)}, {what}")
        if metric.number.value is not None
        else (name, None, None, metric.number.why)
        for name, metric, what in rows
    ]
    words = "A point with its 95 % interval for each; the table below has the numbers."
    chart = forest(title, words, drawn, x=(low, high), reference=overall)
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(title, chart)


def confusion_chart(facts: Facts) -> Markup:
    """The confusion matrix; of a yes-or-no answer at the served threshold."""
    if isinstance(facts.confusion, Missing) or not facts.confusion.counts:
        return Markup()
    words = "Rows are the truth, columns the answers."
    return matrix("Confusion matrix", words, facts.confusion.classes, facts.confusion.counts)


def selective_chart(facts: Facts) -> Markup:
    """How good the answers are that remain, if the most uncertain images are left to a person."""
    if isinstance(facts.uncertainty, Missing) or isinstance(facts.uncertainty.selective, Missing):
        return Markup()
    curve, metric = facts.uncertainty.selective, facts.uncertainty.selective_metric or "metric"
    values = [*curve.y, *(curve.low or ()), *(curve.high or ())]
    axes = Axes("share of images answered", metric, y=(min(values), max(values)))
    words = f"{metric} of the answered images against their share."
    return line_chart("Selective prediction", words, [curve], axes, point=_at_threshold("of {x:.2f}: {y:.3f}"))
