"""Words: the sentences and cells that the page and the cards make of facts, so that both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from markupsafe import Markup

from lesion.report.facts import Facts
from lesion.report.sections import LeakCheck, Missing, Number, OperatingPoint, Shortcuts
from lesion.words import listed, number_of, plural_of, shortened

MAX_WORD = 40  # characters of a class or a value
NEAR = 0.03  # of ROC AUC, between shortcuts and network: then the network may be nothing else
TRAINED_ON = "trains on them"  # of a leak that on_leak=warn leaves as it is
EVALUATED = "evaluated"  # the set of an external evaluation, in the data card
SAME_SHARE = 1e-6  # float32's own
FEW_CLASSES = 10  # whose shares are told
MAX_PREVALENCES = 8  # of several labels
FEW_POSITIVES, FEW_GROUPS = 50, 20  # below these an interval is wide, and said to be
METRIC_NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auc": "ROC AUC",
    "partial_auc": "Partial AUC above 80 % sensitivity (0 to 0.2)",
    "partial_auc_scaled": "Partial AUC above 80 % sensitivity (0 to 1)",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "ppv_at_prevalence": "PPV at the stated prevalence",
    "npv_at_prevalence": "NPV at the stated prevalence",
    "mcc": "Matthews correlation (MCC)",
    "observed_expected": "Observed : expected",
    **{f"sensitivity_at_{rate}_specificity": f"Sensitivity at {rate} % specificity" for rate in (90, 95)},
    **{f"specificity_at_{rate}_sensitivity": f"Specificity at {rate} % sensitivity" for rate in (90, 95)},
    **{f"top_{k}_accuracy": f"Top-{k} accuracy" for k in (2, 3, 5)},
}


def plural(count: int, word: str) -> str:
    """ "1 patient", "1,204 patients"."""
    return f"{count:,} {word if count == 1 else plural_of(word)}"


def sentence(text: str) -> str:
    """The text as a sentence: with a capital at its start and a full stop at its end."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def percent(value: float) -> str:
    """ "11.4 %"."""
    return f"{100 * value:.1f} %"


def value_of(number: Number, *, percent: bool = False, sign: bool = False) -> str:
    """The value alone; an en dash where there is none."""
    if number.value is None:
        return "–"
    plus = "+" if sign else ""
    return f"{100 * number.value:{plus}.1f} %" if percent else f"{number.value:{plus}.3f}"


def interval_of(number: Number, *, percent: bool = False, sign: bool = False) -> str:
    """ "0.912 to 0.938"; "" where there is none."""
    if number.interval is None:
        return ""
    low, high = (value_of(Number(value=end), percent=percent, sign=sign) for end in number.interval)
    return f"{low.removesuffix(' %')} to {high}" if percent else f"{low} to {high}"


def shown(number: Number, *, percent: bool = False, sign: bool = False) -> str:
    """ "0.925 (0.912 to 0.938)", or the reason why there is no value."""
    if number.value is None:
        return number.why
    interval = interval_of(number, percent=percent, sign=sign)
    return value_of(number, percent=percent, sign=sign) + (f" ({interval})" if interval else "")


def cell(number: Number, *, percent: bool = False, sign: bool = False) -> Markup:
    """A number in a table; a reason is set apart from numbers."""
    if number.value is None:
        return Markup('<span class="why">{}</span>').format(number.why)
    value, interval = value_of(number, percent=percent, sign=sign), interval_of(number, percent=percent, sign=sign)
    return (
        Markup("{} <span class='soft'>({})</span>").format(value, interval) if interval else Markup("{}").format(value)
    )


def answers(facts: Facts) -> list[str]:
    """What the model answers and how often it is right, for the first screen."""
    if facts.is_binary and facts.chosen:
        return _of_threshold(facts.chosen[0], facts.question.answer)
    if isinstance(facts.operating_points, Missing) and facts.question.kind != "multiclass":
        return [facts.operating_points.why]
    known = {metric.key: metric.number for metric in facts.metrics}
    lines = [
        f"{METRIC_NAMES[key]}: {shown(known[key], percent=True)}."
        for key in ("accuracy", "balanced_accuracy")
        if key in known
    ]
    if facts.question.kind == "multiclass":
        lines.insert(0, f"The most probable of {len(facts.question.classes):,} classes.")
        if not isinstance(facts.confusion, Missing) and facts.confusion.pairs:
            truth, answer, num = facts.confusion.pairs[0]
            lines.append(
                f"Most often {shortened(truth, MAX_WORD)} is taken for {shortened(answer, MAX_WORD)}: {num:,}."
            )
    else:
        lines.insert(0, f"Each of {len(facts.question.classes):,} labels, from its own threshold on.")
    return lines


def _of_threshold(point: OperatingPoint, answer: str) -> list[str]:
    output = shortened(point.output, MAX_WORD)
    lines = [f"“{output}” from a {answer} of {point.threshold:.3f} (operating point: {point.name})."]
    lines.append(f"Sensitivity {shown(point.sensitivity, percent=True)}.")
    lines.append(f"Specificity {shown(point.specificity, percent=True)}.")
    if point.judged:
        lines.append(point.judged)
    if point.per_1000 is not None:
        lines.append(per_thousand(point))
    return lines


def per_thousand(point: OperatingPoint) -> str:
    """What the threshold means for 1,000 like those that were judged, or of the place where the model is used."""
    counts, judged = point.per_1000, point.confusion
    assert counts is not None
    where = "like these"
    if judged is not None:
        share = (judged.tp + judged.fn) / max(judged.tp + judged.fp + judged.fn + judged.tn, 1)
        where = "like these" if abs(share - point.prevalence) < SAME_SHARE else "where the model is used"
    return (
        f"Of 1,000 {where}, {counts.positives} are {shortened(point.output, MAX_WORD)}: it finds {counts.found}, "
        f"misses {counts.missed}, and raises {plural(counts.false_alarms, 'false alarm')}."
    )


def whom(facts: Facts) -> list[str]:
    """The patients, images and classes that the numbers rest on, for the first screen."""
    judging = facts.judging
    lines = [f"{plural(judging.num_rows, 'image')} of {plural(judging.num_units, judging.unit)}."]
    if judging.unit == "image":
        lines = [f"{plural(judging.num_rows, 'image')}; nothing says which are of one patient."]
    if counts := _judged_classes(facts):
        classes = sorted(counts.items(), key=lambda item: -item[1])
        total = judging.num_rows  # an image may have several labels, or none
        each = [f"{shortened(name, 24)} {count:,}" for name, count in classes]
        if len(classes) <= FEW_CLASSES:
            each = [f"{text} ({count / max(total, 1):.0%})" for text, (_, count) in zip(each, classes, strict=True)]
        lines.append(f"{listed(each, most=4)}.")
    return lines


def doubts(facts: Facts) -> list[tuple[Literal["error", "warning", "note"], str]]:
    """What a reader must know before believing a number, the worst first; or that nothing was found."""
    found: list[tuple[Literal["error", "warning", "note"], str]] = []
    leaks = facts.leaks
    if isinstance(leaks, LeakCheck) and leaks.shared_groups:
        found.append(("error", f"{plural(leaks.shared_groups, facts.judging.unit)} in training and in validation."))
    if isinstance(leaks, Missing):
        found.append(("warning", f"leaks are not known: {leaks.why}"))
    else:
        found += [("error", f"{leak.what} ({leak.do}).") for leak in leaks.leaks if TRAINED_ON in leak.do]
    if facts.judging.unit == "image" and facts.is_external:
        found.append(("warning", "no column names patients: the intervals are too narrow if a patient has several."))
    elif facts.judging.unit == "image":
        found.append(("warning", "images of one patient may lie on both sides of a fold: no column names patients."))
    elif facts.judging.num_units < FEW_GROUPS:
        units = plural(facts.judging.num_units, facts.judging.unit)
        found.append(("warning", f"{units} are few: the intervals are wide, and may be too narrow still."))
    classes = _judged_classes(facts)
    if classes and (least := min(classes.values())) < FEW_POSITIVES:
        rare = min(classes, key=lambda name: classes[name])
        how_few = f"only {number_of(least, 'image')}" if least else "no image"
        found.append(("warning", f"{how_few} of {shortened(rare, 24)}."))
    found += [("warning", said) for said in one_answer(facts)]
    if uncalibrated := [metric.doubt for metric in facts.metrics if metric.doubt]:
        found.append(("warning", f"{'; '.join(uncalibrated)}."))
    if not isinstance(facts.explanation, Missing) and facts.explanation.warning:
        found.append(("warning", f"do not read the maps: {facts.explanation.warning}."))
    if not isinstance(facts.subgroups, Missing) and (
        flagged := [row for row in facts.subgroups.rows if row.is_flagged]
    ):
        names = listed([f"{row.column} {shortened(row.value, 20)}" for row in flagged], most=3)
        found.append(("warning", f"it differs in subgroups: {names}."))
    if not isinstance(facts.shortcuts, Missing) and (reached := _shortcut(facts.shortcuts)):
        means = "" if isinstance(facts.folds, Missing) else " Both are means over the folds."
        found.append(("warning", f"{reached}{means}"))
    if isinstance(leaks, LeakCheck) and facts.judging.unit != "image" and all(level != "error" for level, _ in found):
        where = "in training and in validation" if isinstance(facts.folds, Missing) else "on both sides of a fold"
        found.append(("note", f"no {facts.judging.unit} is {where}."))
    return found


def one_answer(facts: Facts) -> list[str]:
    """Where a model answers the same of every image, whatever it shows: what it answers. Of each label by itself."""
    same = []
    for point in facts.chosen:
        counts, name = point.confusion, shortened(point.output, 24)
        if counts is not None and counts.tp + counts.fp == 0:
            same.append(f"not {name}")
        elif counts is not None and counts.tn + counts.fn == 0:
            same.append(name)
    if not facts.chosen and not isinstance(facts.confusion, Missing) and facts.confusion.counts:
        answered = [sum(row[k] for row in facts.confusion.counts) for k in range(len(facts.confusion.classes))]
        given = [name for name, count in zip(facts.confusion.classes, answered, strict=True) if count]
        same = [shortened(given[0], 24)] if len(given) == 1 else []
    return [f"it answers {listed(same, most=3)} for every image."] if same else []


def prevalences(points: Sequence[OperatingPoint]) -> str:
    """At which prevalence PPV, NPV and the counts of 1,000 are told: one, or each output's in their order; "" where
    none is told, as of rows without a positive."""
    told = [point for point in points if point.per_1000 or point.ppv.value is not None or point.npv.value is not None]
    if not told:
        return ""
    of_output = {point.output: _prevalence(point.prevalence) for point in told}
    if len(set(of_output.values())) == 1:
        return next(iter(of_output.values()))
    return listed([f"{share} {shortened(name, MAX_WORD)}" for name, share in of_output.items()], most=MAX_PREVALENCES)


def _prevalence(share: float) -> str:
    """ "0.04 %" where one digit would say 0."""
    return percent(share) if share >= 0.001 or share == 0 else f"{100 * share:.1g} %"


def _judged_classes(facts: Facts) -> Mapping[str, int]:
    """How many of each class were judged; of an older report.json those of its set, where all of it was judged."""
    judging, sets = facts.judging, facts.data.sets
    whole = (one for one in sets if one.name in ("training", EVALUATED) and one.num_rows == judging.num_rows)
    return judging.classes or next((one.classes for one in whole), {})


def _shortcut(shortcuts: Shortcuts) -> str:
    """What to say where simple features come near the network, or pass it; "" where they do not."""
    known = {name: number.value for name, number in shortcuts.by.items() if number.value is not None}
    network = shortcuts.network.value
    if not known or network is None or max(known.values()) < network - NEAR:
        return ""
    best = max(known, key=lambda name: known[name])
    features = "size, border and mean colour" if best == "all" else best
    reached = f"a simple model of {features} alone reaches {known[best]:.3f}, the network {network:.3f}"
    return f"{reached}: it may have learned no more than that."
