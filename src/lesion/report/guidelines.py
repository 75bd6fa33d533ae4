"""Guidelines: what a job's facts answer of four reporting guidelines, and the gaps that only the user can fill.

An item is answered where all that it asks for is known, partly where some of it is, else a gap. Answers point to
numbers of this report; they are no text for a journal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from lesion.report.checklists import CHECKLISTS
from lesion.report.facts import Facts
from lesion.report.questions import QUESTIONS
from lesion.report.sections import Curves, Missing
from lesion.report.words import METRIC_NAMES, doubts, per_thousand, plural, sentence, shown
from lesion.words import listed, shortened

Status = Literal["answered", "partly", "gap"]


def guidelines(facts: Facts) -> dict[str, dict[str, Any]]:
    """By the guideline's key: name, citation, counts by status, and the items.

    An item has its number (None where it has none here), topic, status, the `answer` from the facts and the user's
    statements, and the `gap`: what is not known, and what is asked of the user.
    """
    return {
        key: _checked(checklist.name, checklist.citation, checklist.note, checklist.items, facts)
        for key, checklist in CHECKLISTS.items()
    }


def gaps(facts: Facts) -> list[str]:
    """What only the user can say and has not said, each question once."""
    return [text for key, text in QUESTIONS.items() if not facts.statements.get(key)]


def _checked(name: str, citation: str, note: str, items: Any, facts: Facts) -> dict[str, Any]:
    checked = [_item(number, topic, keys.split(), facts) for number, topic, keys in items]
    statuses: tuple[Status, ...] = ("answered", "partly", "gap")
    counts = {status: sum(item["status"] == status for item in checked) for status in statuses}
    return {"name": name, "citation": citation, "note": note, "counts": counts, "items": checked}


def _item(number: str | None, topic: str, keys: list[str], facts: Facts) -> dict[str, Any]:
    said: list[str] = []
    asked: list[str] = []
    for key in keys:
        if key.startswith("?"):
            statement = facts.statements.get(key[1:])
            (said if statement else asked).append(statement or QUESTIONS[key[1:]])
        else:
            is_known, text = ANSWERS[key](facts)
            (said if is_known else asked).append(text)
    status: Status = "gap" if not said else "partly" if asked else "answered"
    return {"number": number, "topic": topic, "status": status, "answer": " ".join(said), "gap": " ".join(asked)}


Answer = tuple[bool, str]  # whether it is known; the answer, or why it is not known


def _setting(facts: Facts, *names: str) -> str:
    known = {setting.name: setting.value for setting in facts.settings}
    return ", ".join(f"{name}={known[name]}" for name in names if name in known)


def _from_settings(words: str, *names: str) -> Callable[[Facts], Answer]:
    def answer(facts: Facts) -> Answer:
        found = _setting(facts, *names)
        return (True, f"{words}: {found}.") if found else (False, f"{words}: the settings are not in this report.")

    return answer


def _section(what: str, part: str, get: Callable[[Facts], Any]) -> Callable[[Facts], Answer]:
    """Known where the section is there; the answer names the part of the page."""

    def answer(facts: Facts) -> Answer:
        found = get(facts)
        if isinstance(found, Missing):
            return False, f"{what}: {found.why}"
        return (True, f"{what}: part “{part}”.") if found else (False, f"{what}: not in this report.")

    return answer


def _performance(facts: Facts) -> Answer:
    if isinstance(facts.headline, Missing):
        return False, facts.headline.why
    metric = facts.headline.metric
    said = sentence(f"{metric.name} {shown(metric.number)}, {facts.headline.judged_on}")
    return metric.number.value is not None, said


def _thresholds(facts: Facts) -> Answer:
    if isinstance(facts.operating_points, Missing):
        if facts.question.kind == "multiclass" and not facts.is_binary:
            return True, "The most probable class is answered; there is no threshold."
        return False, facts.operating_points.why
    told = [
        f"{shortened(p.output, 40)} from a threshold of {p.threshold:.3f} (operating point: {p.name}). {p.how}".strip()
        for p in facts.chosen
    ]
    per = [per_thousand(point) for point in facts.chosen[:1] if point.per_1000 is not None]
    return bool(told), " ".join([*told[:3], *per]) or "No threshold is served."


def _confusion(facts: Facts) -> Answer:
    if isinstance(facts.confusion, Missing):
        return False, facts.confusion.why
    return True, "Counts of truth by answer: part “Thresholds”."


def _measures(facts: Facts) -> Answer:
    curves: Curves = facts.curves
    drawn = [
        name
        for name, found in (
            ("ROC", curves.roc),
            ("precision-recall", curves.pr),
            ("calibration", curves.calibration),
            ("decision", curves.decision),
        )
        if not isinstance(found, Missing)
    ]
    names = [METRIC_NAMES.get(metric.key, metric.name) for metric in facts.metrics]
    lacks = [
        what
        for what, found in (("calibration", curves.calibration), ("decision curve", curves.decision))
        if isinstance(found, Missing)
    ]
    text = f"{listed(names, most=12)}; curves: {listed(drawn)}."
    return bool(names), text + (f" Not here: {listed(lacks)}." if lacks else "")


def _counts(facts: Facts) -> Answer:
    each = [
        plural(one.num_rows, f"{one.name} image")
        + ("" if one.num_groups is None else f" of {plural(one.num_groups, facts.judging.unit)}")
        for one in facts.data.sets
    ]
    return bool(each), f"{listed(each)}."


def _partitions(facts: Facts) -> Answer:
    return True, facts.judging.how


def _predictors(facts: Facts) -> Answer:
    found = _setting(facts, "metadata_columns")
    if not found:
        return False, "The image; which columns, the settings in this report do not say."
    if found.endswith("None"):
        return True, "The image, and sex, age_approx and anatom_site_general_challenge where the table has them."
    return True, f"The image, and these columns: {found}."


def _disjoint(facts: Facts) -> Answer:
    if facts.is_external:
        return False, "Whether one of these patients was in training: a model does not hold its patients."
    if facts.judging.unit == "image":
        return False, "Images: nothing in the table says which are of one patient."
    if not isinstance(facts.leaks, Missing) and facts.leaks.shared_groups:
        return True, f"{plural(facts.leaks.shared_groups, facts.judging.unit)} are on both sides of a fold."
    return True, f"By {facts.judging.unit}: all images of one {facts.judging.unit} are on one side of a fold."


def _external(facts: Facts) -> Answer:
    if facts.is_external:
        return True, f"This is one: {plural(facts.judging.num_rows, 'image')} that training did not have."
    others = [one for one in facts.sets if "external" in one.name.lower() or "test" in one.name.lower()]
    if not others:
        return False, "No external or separate test set was evaluated: run `lesion evaluate` on one."
    return True, " ".join(f"{one.name}: {plural(one.num_rows, 'image')}." for one in others)


def _flow(facts: Facts) -> Answer:
    if not facts.data.flow:
        return False, "The rows left out are not known."
    steps = [
        f"{step.left:,} {step.what}" if step.change >= 0 else f"{-step.change:,} out: {step.what}"
        for step in facts.data.flow
    ]
    return True, f"{'; '.join(steps)}."


def _characteristics(facts: Facts) -> Answer:
    if not facts.data.crosstabs:
        return False, "The table has no metadata by which to describe the patients."
    return True, f"Classes by {listed([table.column for table in facts.data.crosstabs])}: part “Data”."


def _question(facts: Facts) -> Answer:
    classes = listed([shortened(name, 40) for name in facts.question.classes], most=10)
    return True, f"{facts.question.kind}: {classes}."


def _output(facts: Facts) -> Answer:
    if facts.is_binary:
        positive = shortened(facts.question.positive_class or "", 40)
        answer = "probability of" if facts.question.answer == "probability" else "score for"
        return True, f"The {answer} {positive}, and a label from the threshold on."
    return True, "A probability of each class, and the label or labels."


def _disagreement(facts: Facts) -> Answer:
    if isinstance(facts.folds, Missing):
        return False, facts.folds.why
    values = [fold.metrics["roc_auc"] for fold in facts.folds if "roc_auc" in fold.metrics]
    if not values:
        return False, "No metric is defined in each fold."
    return True, f"ROC AUC of the folds: {min(values):.3f} to {max(values):.3f}."


def _doubts(facts: Facts) -> Answer:
    return True, " ".join(text for level, text in doubts(facts) if level != "note") or "The report found none."


def _imbalance(facts: Facts) -> Answer:
    setting = _setting(facts, "class_weight")
    training = [one for one in facts.data.sets if one.classes][:1]
    counts = [f"{shortened(name, 30)} {count:,}" for one in training for name, count in one.classes.items()]
    return bool(setting or counts), f"{listed(counts, most=8)}; {setting or 'no weights known'}."


def _skin_tone(facts: Facts) -> Answer:
    if not isinstance(facts.subgroups, Missing):
        rows = [row for row in facts.subgroups.rows if "tone" in row.column or "fitzpatrick" in row.column.lower()]
        if rows:
            columns = dict.fromkeys(row.column for row in rows)
            return True, f"By {' and by '.join(columns)}, {plural(len(rows), 'band')}: part “Subgroups”."
    return False, "Skin tone was not assessed in this report."


def _reproduction(facts: Facts) -> Answer:
    if isinstance(facts.reproduction, Missing):
        return False, facts.reproduction.why
    return True, "Artifact with weights, settings and preprocessing, and the commands: part “Settings”."


def _software(facts: Facts) -> Answer:
    versions = [f"{name} {version}" for name, version in facts.versions.items()]
    return bool(versions), f"{listed(versions, most=8)}."


def _ensembling(facts: Facts) -> Answer:
    if facts.judging.served:
        return True, f"None: {facts.judging.served}."
    if isinstance(facts.folds, Missing) or len(facts.folds) < 2:
        return True, "One network: no ensemble."
    views = _setting(facts, "tta")
    return True, f"The mean of {len(facts.folds)} networks, one a fold" + (
        f", and of the views ({views})." if views else "."
    )


def _flattery(facts: Facts) -> Answer:
    if isinstance(facts.headline, Missing):
        return False, facts.headline.why
    bad = " It was chosen on the rows that judge it." if facts.headline.is_flattered else ""
    settings = _setting(facts, "metric", "patience")
    return True, f"The epoch with the best validation metric.{bad}" + (f" {settings}." if settings else "")


ANSWERS: dict[str, Callable[[Facts], Answer]] = {
    "audit": lambda _: (False, "Answers are not stored unless the server is asked to: see docs/serving.md."),
    "characteristics": _characteristics,
    "check": _section("Checks of the data", "Leaks", lambda facts: facts.leaks),
    "confusion": _confusion,
    "counts": _counts,
    "disjoint": _disjoint,
    "doubts": _doubts,
    "ensembling": _ensembling,
    "errors": _section("Worst mistakes", "Mistakes", lambda facts: facts.mistakes),
    "explanation": _section("Maps", "Mistakes", lambda facts: facts.explanation),
    "external": _external,
    "familiarity": _section("Unfamiliar images", "Uncertainty", lambda facts: facts.familiarity),
    "flow": _flow,
    "folds": _section("Rows, groups and classes of each fold", "Folds", lambda facts: facts.folds),
    "heterogeneity": _disagreement,
    "imbalance": _imbalance,
    "initialisation": _from_settings("Starting weights", "pretrained", "head_init", "seed"),
    "intervals": lambda facts: (bool(facts.judging.interval), facts.judging.interval or "No interval was computed."),
    "measures": _measures,
    "missing_data": lambda _: (
        True,
        "Missing metadata is a value of its own; rows without image or label are left out or refused.",
    ),
    "model": _from_settings("Network", "model", "image_size", "fit", "model_args"),
    "output": _output,
    "partitions": _partitions,
    "performance": _performance,
    "predictors": _predictors,
    "preprocessing": _from_settings("Preprocessing", "image_size", "fit", "image_mean", "image_std"),
    "quality": _section("Image quality", "Uncertainty", lambda facts: facts.quality),
    "question": _question,
    "reproduction": _reproduction,
    "robustness": _section("Unfamiliar and bad images", "Uncertainty", lambda facts: facts.quality),
    "selection": _flattery,
    "sets": _counts,
    "shortcuts": _section("Shortcut baseline", "What helps", lambda facts: facts.shortcuts),
    "skin_tone": _skin_tone,
    "software": _software,
    "subgroups": _section("Subgroups", "Subgroups", lambda facts: facts.subgroups),
    "thresholds": _thresholds,
    "training": _from_settings(
        "Training", "epochs", "learning_rate", "batch_size_train", "optimizer", "schedule", "flips"
    ),
    "uncertain": _section("Doubtful images", "Mistakes", lambda facts: facts.uncertain),
    "updating": lambda _: (True, "None: the model was not updated after its evaluation."),
}
