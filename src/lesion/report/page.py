"""Page: the facts as one HTML file that needs no network, for a screen of any width and for paper.

The first screen answers a dermatologist (how good, what it answers, on whom, what it gets wrong), the parts below it a
reviewer, the dossier at the end a regulator. Everything can be read without JavaScript, which only filters and moves.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from lesion.report.charts import charts_of, class_chart, confusion_chart, selective_chart, subgroup_chart
from lesion.report.facts import Facts
from lesion.report.guidelines import gaps, guidelines
from lesion.report.sections import Crosstab, Missing
from lesion.report.words import (
    MAX_WORD,
    METRIC_NAMES,
    answers,
    cell,
    doubts,
    interval_of,
    plural,
    prevalences,
    shown,
    value_of,
    whom,
)
from lesion.words import listed, one_line, shortened

if TYPE_CHECKING:
    from jinja2 import Template

MAX_CLASSES = 12  # in a list of counts; the table of classes has them all
PARTS = {
    "summary": "Summary",
    "judging": "How judged",
    "classes": "Classes",
    "data": "Data",
    "leaks": "Leaks",
    "curves": "Curves",
    "thresholds": "Thresholds",
    "mistakes": "Mistakes",
    "labels": "Labels",
    "subgroups": "Subgroups",
    "uncertainty": "Uncertainty",
    "gains": "What helps",
    "folds": "Folds",
    "settings": "Settings",
    "dossier": "Guidelines",
}
CAUTION = (
    "Lesion is not a medical device: its answer is not a diagnosis. These numbers hold for images and patients like "
    "those described here, and for no others until it was measured on them."
)


def render(facts: Facts) -> str:
    """The page, an HTML document of its own: styles, pictures and charts are inside, and nothing is fetched.

    Words of the user (classes, columns, names) are escaped, as one line each. The same facts give the same bytes.
    """
    script = (files("lesion.report") / "page.js").read_text(encoding="utf-8")
    return _template().render(**_context(facts), **_script(script))


@cache  # compiling it takes longer than rendering it
def _template() -> Template:
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("lesion.report", "."),
        autoescape=True,
        trim_blocks=True,
        finalize=as_read,
    )
    environment.globals.update(
        cell=cell,
        counts=_counts,
        interval_of=interval_of,
        json=lambda value: json.dumps(value, ensure_ascii=False),
        metric_name=lambda key: METRIC_NAMES.get(key, key),
        plural=plural,
        short=lambda text: shortened(text, MAX_WORD),
        shown=shown,
        value_of=value_of,
        crosstab=_crosstab,
    )
    return environment.get_template("page.html.jinja")


def _context(facts: Facts) -> dict[str, Any]:
    charts, curves_missing = charts_of(facts)
    points = () if isinstance(facts.operating_points, Missing) else facts.operating_points
    return {
        "f": facts,
        "parts": [(id_, name) for id_, name in PARTS.items() if id_ != "classes" or facts.classes],
        "about": _about(facts),
        "answers": answers(facts),
        "whom": whom(facts),
        "doubts": doubts(facts),
        "caution": CAUTION,
        "class_chart": class_chart(facts),
        "charts": charts,
        "curves_missing": curves_missing,
        "prevalences": prevalences(points),
        "point_notes": list(dict.fromkeys(point.how for point in points if point.how))[:3],
        "slider": _slider(facts),
        "confusion_chart": confusion_chart(facts),
        "subgroup_chart": subgroup_chart(facts),
        "subgroup_metrics": _subgroup_metrics(facts),
        "selective_chart": selective_chart(facts),
        "fold_metrics": _fold_metrics(facts),
        "fold_notes": _fold_notes(facts),
        "dossier": guidelines(facts),
        "gaps": gaps(facts),
    }


def _script(script: str) -> dict[str, Any]:
    """The script as it stands between its tags, and its digest, by which the page's policy lets it alone run."""
    digest = hashlib.sha256(script.encode()).digest()
    return {"script": Markup(script), "script_digest": base64.b64encode(digest).decode()}  # noqa: S704


def as_read(value: object) -> object:
    """A user's words as one line; what the page itself is made of as it is."""
    return one_line(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _about(facts: Facts) -> str:
    question = facts.question
    if question.positive_class is not None:
        others = [name for name in question.classes if name != question.positive_class]
        against = shortened(others[0], MAX_WORD) if len(question.classes) == 2 else "the rest"
        asked = f"{shortened(question.positive_class, MAX_WORD)} against {against}"
    else:
        kind = "one of" if question.kind == "multiclass" else "any of"
        asked = f"{kind} {len(question.classes):,} classes"
    version = facts.versions.get("lesion")
    made_by = f"Lesion {version}" if version else "Lesion"
    return f"Question: {asked}. Made {facts.made} by {made_by}."


def _counts(counts: Mapping[str, int]) -> str:
    """ "nevus 820, melanoma 90", the largest first where there are many."""
    items = list(counts.items())
    if len(items) > MAX_CLASSES:
        items.sort(key=lambda item: -item[1])
    return listed([f"{shortened(name, MAX_WORD)} {count:,}" for name, count in items], most=MAX_CLASSES)


def _crosstab(table: Crosstab) -> Markup:
    """A table of counts: a row for each value, a column for each class, of many classes the sum alone."""
    names = list(dict.fromkeys(name for counts in table.rows.values() for name in counts))
    shows_classes = len(names) <= MAX_CLASSES
    parts = [Markup("<table><thead><tr><th></th>")]
    heads = names if shows_classes else ["rows"]
    parts += [Markup('<th class="n">{}</th>').format(shortened(name, MAX_WORD)) for name in heads]
    parts.append(Markup("</tr></thead><tbody>"))
    for value, counts in table.rows.items():
        numbers = [counts.get(name, 0) for name in names] if shows_classes else [sum(counts.values())]
        parts.append(Markup("<tr><td>{}</td>").format(shortened(value, MAX_WORD)))
        parts += [Markup('<td class="n">{}</td>').format(f"{number:,}") for number in numbers]
        parts.append(Markup("</tr>"))
    parts.append(Markup("</tbody></table>"))
    return Markup("").join(parts)


def _slider(facts: Facts) -> dict[str, Any] | None:
    """The points of the ROC curve (threshold, sensitivity, specificity) that the reader may try, rising; None where the
    answer is not one of yes or no."""
    roc = facts.curves.roc
    if not facts.is_binary or isinstance(roc, Missing) or not facts.chosen or roc[0].at is None:
        return None
    curve, chosen = roc[0], facts.chosen[0]
    assert curve.at is not None
    points = sorted(
        (round(t, 4), round(y, 4), round(1 - x, 4)) for t, x, y in zip(curve.at, curve.x, curve.y, strict=True)
    )
    points = [point for point in points if 0 <= point[0] <= 1]
    if not points:
        return None
    start = min(range(len(points)), key=lambda k: abs(points[k][0] - chosen.threshold))
    return {"points": json.dumps(points), "prevalence": chosen.prevalence, "last": len(points) - 1, "start": start}


def _subgroup_metrics(facts: Facts) -> list[str]:
    if isinstance(facts.subgroups, Missing):
        return []
    return list(dict.fromkeys(metric.name for row in facts.subgroups.rows for metric in row.metrics))


def _fold_metrics(facts: Facts) -> list[str]:
    if isinstance(facts.folds, Missing):
        return []
    return list(dict.fromkeys(name for fold in facts.folds for name in (*fold.notes, *fold.metrics)))


def _fold_notes(facts: Facts) -> list[str]:
    """Why a fold lacks a metric, or of which outputs it is the mean."""
    folds = () if isinstance(facts.folds, Missing) else facts.folds
    said = {fold.fold: list(dict.fromkeys(fold.notes.values())) for fold in folds if fold.notes}
    return [f"Fold {number}: {'; '.join(notes)}." for number, notes in said.items()]
