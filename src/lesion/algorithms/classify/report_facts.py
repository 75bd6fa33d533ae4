"""Report facts: what a training job knows, as the facts of its report. Reads check.json for what the check found.

Today's job measures what stands here; a section that nobody fills yet says so. Whoever measures more replaces sections
with `facts.model_copy(update={...})`: `report/sections.py` holds their forms.
"""

# K outputs · Q outputs that are judged: one for yes or no, one a class otherwise · S samples

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.decide import Decisions
from lesion.algorithms.classify.report_cases import CaseMaker, Judged, label_errors, mistakes, uncertain
from lesion.algorithms.classify.report_curves import curves_of_rows, operating_points
from lesion.algorithms.classify.report_data import check_found, data_card, leak_check
from lesion.algorithms.classify.setup import Setup
from lesion.algorithms.classify.summary import Summary
from lesion.artifact import package_versions
from lesion.data.labels import Labelled
from lesion.data.table import Rows
from lesion.evaluation.metrics import METRICS, roc_auc
from lesion.report.facts import Facts
from lesion.report.sections import (
    ClassMetrics,
    ConfusionMatrix,
    Cost,
    Fold,
    Headline,
    JudgedSet,
    Judging,
    Metric,
    Missing,
    Number,
    Question,
    Reproduction,
    Setting,
    Shortcuts,
)
from lesion.report.words import METRIC_NAMES
from lesion.targets import Target

MAX_CONFUSED = 20  # classes of a matrix of counts; of more, the most frequent pairs
NUM_PAIRS = 30
OLD = Missing(why="This version of Lesion does not measure it while training.")


def facts_of_job(
    setup: Setup,
    training: Rows,
    labelled: Labelled,
    *,
    summary: Summary,
    decisions: Decisions,
    history: Sequence[Mapping[str, Any]],
    shortcuts: Mapping[str, float],
    lines_S: NDArray[np.intp],
    minutes: float,
) -> Facts:
    """The facts of a job whose held-out rows were predicted.

    `lines_S` is the line of each row in oof.csv, `history` the epochs of all folds, `summary` metrics.json's content.
    """
    config, target, probs_SK = setup.config, labelled.target, decisions.judged_SK
    judged_S = np.flatnonzero(~np.isnan(probs_SK[:, 0]))
    targets_SQ = target.judged_columns(labelled.targets_SK[judged_S])
    probs_SQ = target.judged_columns(probs_SK[judged_S])
    names = target.answer_names[1:] if target.has_binary_answer else target.class_names
    thresholds = tuple(summary["overall"]["thresholds"])
    found = check_found(setup.run.job.output_dir)
    unit = "image" if labelled.table.has_own_group_S.all() else group_word(labelled)
    num_folds = len(summary["folds"])
    make = CaseMaker(
        read=training.read,
        target=target,
        lines_S=lines_S,
        name_S=labelled.table.name_S if config.report_names else None,
        group_S=labelled.table.group_or_row_S,
    )
    judged = Judged(judged_S, targets_SQ, probs_SQ, thresholds)
    return Facts(
        title=title_of(target),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        names_are_shown=config.report_names,
        question=Question(**target.as_json()),
        headline=headline(summary, unit, len(judged_S), num_units(labelled, judged_S)),
        judging=Judging(
            how=how_judged(num_folds, unit),
            unit=unit,
            num_rows=len(judged_S),
            num_units=num_units(labelled, judged_S),
            interval=f"95 % intervals by resampling {unit}s; they do not hold how another training run would differ.",
            warnings=(
                "The threshold was chosen on the rows that it is judged on: sensitivity and specificity flatter.",
            )
            if thresholds
            else (),
        ),
        data=data_card(found, training, labelled, judged_S),
        leaks=leak_check(found, summary),
        metrics=metrics_of(summary["overall"]),
        classes=() if target.has_binary_answer else classes_of(names, labelled, judged_S, targets_SQ, probs_SQ),
        folds=tuple(Fold(**{"num_groups": None, **fold}) for fold in summary["folds"])
        if num_folds > 1
        else Missing(why="A validation set was given: one network, no cross-validation."),
        sets=slides_of(summary),
        curves=curves_of_rows(names, targets_SQ, probs_SQ, history, config.metric),
        operating_points=operating_points(names, targets_SQ, probs_SQ, thresholds)
        if thresholds
        else Missing(why="The most probable class is answered: there is no threshold."),
        confusion=confusion(target, targets_SQ, probs_SQ, thresholds),
        mistakes=mistakes(make, judged),
        uncertain=uncertain(make, judged),
        label_errors=label_errors(make, judged),
        label_next=Missing(why="No images without a label were given."),
        shortcuts=shortcut_baseline(shortcuts, summary),
        cost=cost(setup, minutes, history),
        settings=settings_of(config),
        versions=package_versions(),
        reproduction=reproduction(config, labelled),
        explanation=OLD,
        subgroups=OLD,
        uncertainty=OLD,
        familiarity=OLD,
        quality=OLD,
        gains=OLD,
    )


def with_test(facts: Facts, test: Summary | None) -> Facts:
    """The facts with the metrics of a test set whose labels were known."""
    if test is None:
        return facts
    judged = "By the mean of all networks, none of which saw it:"
    return facts.model_copy(update={"sets": (*facts.sets, judged_set("Test set", judged, test))})


def title_of(target: Target) -> str:
    if target.positive_class is not None:
        return f"{target.positive_class}: training report"
    return f"{len(target.class_names):,} classes: training report"


def group_word(labelled: Labelled) -> str:
    """What a group is called: by its column's name, where that says it."""
    columns = labelled.table.columns
    column = "" if columns is None or columns.group is None else columns.group.lower()
    known = (word for word in ("patient", "lesion", "slide", "case", "eye", "study") if word in column)
    return next(known, "group")


def num_units(labelled: Labelled, rows_S: NDArray[np.intp]) -> int:
    return len(np.unique(labelled.table.group_or_row_S[rows_S]))


def headline(summary: Summary, unit: str, num_rows: int, units: int) -> Headline | Missing:
    known = {metric.key: metric for metric in metrics_of(summary["overall"])}
    first = known.get("roc_auc")
    if first is None:
        return Missing(why="No ROC AUC: it needs held-out rows of each class.")
    of = f"{num_rows:,} held-out images" + ("" if unit == "image" else f" of {units:,} {unit}s")
    seen = "of which" if unit == "image" else "of whose images"
    return Headline(metric=first, judged_on=f"{of}, none {seen} the network was trained on.", is_flattered=True)


def how_judged(num_folds: int, unit: str) -> str:
    side = f"no {unit}" if unit != "image" else "no image"
    rows = (
        f"{num_folds}-fold cross-validation: each image is predicted by the network of the fold that held it out"
        if num_folds > 1
        else "One network, which predicts the validation set"
    )
    return (
        f"{rows}; {side} is in training and in validation of one network, unless the leaks below say so. Each network "
        "keeps the epoch that is best on its validation rows, and is judged on the same rows: the numbers are too high "
        "by that."
    )


def metrics_of(judged: Mapping[str, Any]) -> tuple[Metric, ...]:
    """metrics.json's metrics of one set of rows, with intervals where it has them."""
    values, intervals = judged["metrics"], judged.get("interval_95", {})
    return tuple(
        Metric(key=key, name=METRIC_NAMES[key], number=number(values.get(key), intervals.get(key)), note=_note(key))
        for key in METRICS
    )


def number(value: float | None, interval: Sequence[float] | None = None) -> Number:
    ends = None if interval is None else (float(interval[0]), float(interval[1]))
    return Number.of(value, ends, why="not defined: a class has no rows here")


def _note(key: str) -> str:
    return "at a threshold of 0.5, or for the most probable class" if key.endswith("accuracy") else ""


def classes_of(
    names: Sequence[str],
    labelled: Labelled,
    judged_S: NDArray[np.intp],
    targets_SQ: NDArray[np.float32],
    probs_SQ: NDArray[np.float32],
) -> tuple[ClassMetrics, ...]:
    """ROC AUC of each class against the rest."""
    group_S, found = labelled.table.group_S, []
    for q, name in enumerate(names):
        is_S = targets_SQ[:, q] == 1
        value = roc_auc(targets_SQ[:, q], probs_SQ[:, q]) if 0 < is_S.sum() < len(is_S) else None
        groups = None if group_S is None else len(np.unique(group_S[judged_S[is_S]]))
        metric = Metric(key="roc_auc", name="ROC AUC", number=number(value))
        found.append(ClassMetrics(name=name, num_rows=int(is_S.sum()), num_groups=groups, metrics=(metric,)))
    return tuple(found)


def judged_set(name: str, judged: str, summary: Mapping[str, Any]) -> JudgedSet:
    return JudgedSet(
        name=name,
        judged=judged,
        num_rows=summary["num_rows"],
        num_groups=summary.get("num_groups"),
        classes=summary["classes"],
        metrics=metrics_of(summary),
    )


def slides_of(summary: Summary) -> tuple[JudgedSet, ...]:
    if (slides := summary.get("slides")) is None:
        return ()
    judged = f"A score for each slide, by slide_score={slides['score']}, of the held-out predictions:"
    return (judged_set("By slide", judged, {**slides, "num_rows": slides["num_slides"]}),)


def confusion(
    target: Target, targets_SQ: NDArray[np.float32], probs_SQ: NDArray[np.float32], thresholds: Sequence[float]
) -> ConfusionMatrix | Missing:
    """Truth by answer. Of many classes the most frequent mistakes; of several labels there is no one matrix."""
    from sklearn.metrics import confusion_matrix

    if target.has_binary_answer:
        names: tuple[str, ...] = target.answer_names
        truth_S = (targets_SQ[:, 0] == 1).astype(int)
        answer_S = (probs_SQ[:, 0] >= thresholds[0]).astype(int)
    elif target.has_multiclass_answer:
        names, truth_S, answer_S = target.class_names, targets_SQ.argmax(axis=1), probs_SQ.argmax(axis=1)
    else:
        return Missing(why="An image may have several labels: each has its own threshold above.")
    counts = confusion_matrix(truth_S, answer_S, labels=range(len(names)))
    wrong = np.where(np.eye(len(names), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:NUM_PAIRS]
    places = [divmod(int(place), len(names)) for place in order if wrong.flat[place] > 0]
    pairs = tuple((names[a], names[b], int(wrong[a, b])) for a, b in places)
    if len(names) > MAX_CONFUSED:
        return ConfusionMatrix(pairs=pairs)
    shown_pairs = () if target.has_binary_answer else pairs[:10]
    return ConfusionMatrix(classes=names, counts=tuple(tuple(row) for row in counts.tolist()), pairs=shown_pairs)


def shortcut_baseline(shortcuts: Mapping[str, float], summary: Summary) -> Shortcuts | Missing:
    if not shortcuts:
        return Missing(why="Shortcuts could not be judged: a fold lacks a class.")
    return Shortcuts(
        by={name: number(value) for name, value in shortcuts.items()},
        network=metrics_of(summary["overall"])[0].number,
        how="A simple model on image size, border and mean colour alone, by the same folds (0.5 is chance). The "
        "network may use them too, even if it scores higher.",
    )


def cost(setup: Setup, minutes: float, history: Sequence[Mapping[str, Any]]) -> Cost:
    run = setup.run
    speeds = [row["images_per_s"] for row in history if row.get("images_per_s")]
    where = f"{run.job.num_cores} CPU cores" if run.device.type == "cpu" else f"a GPU ({run.device})"
    return Cost(
        minutes=round(minutes, 2),
        device=f"{where}, {run.precision}",
        images_per_s=float(np.median(speeds)) if speeds else None,
        note=f"{len(history)} epochs of all networks together.",
    )


def settings_of(config: ClassifyConfig) -> tuple[Setting, ...]:
    fields = type(config).model_fields
    return tuple(
        Setting(name=name, value=value, is_default=value == _as_json(fields[name].default))
        for name, value in config.as_json().items()
    )


def _as_json(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def reproduction(config: ClassifyConfig, labelled: Labelled) -> Reproduction:
    changed = {setting.name: setting.value for setting in settings_of(config) if not setting.is_default}
    settings = json.dumps(changed, ensure_ascii=False)
    return Reproduction(
        commands=(f"# input/config/hyperparameters.json: {settings}", "lesion train --root my_job"),
        seed=config.seed,
        data_fingerprint=labelled.table.fingerprint(),
        note="The same data, settings and versions on the same kind of machine give the same weights.",
    )
