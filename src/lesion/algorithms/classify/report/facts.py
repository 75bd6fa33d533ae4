"""Report facts: what a training job knows, as the facts of its report. Reads check.json for what the check found.

Today's job measures what stands here; a section that nobody fills yet says so. Whoever measures more replaces sections
with `facts.model_copy(update={...})`: `report/sections.py` holds their forms.
"""

# K outputs · Q outputs that are judged: one for yes or no, one a class otherwise · S samples

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.manifest import ClassifierRecord, QualityRecord
from lesion.algorithms.classify.report.cases import CaseMaker, Judged, label_errors, label_next, mistakes, uncertain
from lesion.algorithms.classify.report.curves import curves_of_rows, operating_points
from lesion.algorithms.classify.report.gains import gains_of
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.results.evaluation import held_out_answers
from lesion.algorithms.classify.results.summary import Summary
from lesion.algorithms.classify.training.setup import Setup
from lesion.artifact import package_versions
from lesion.data.labels.encode import Labelled
from lesion.data.quality.quality_bounds import MIN_PICTURES
from lesion.data.table import Rows
from lesion.data.unit import in_words
from lesion.evaluation.enough import MIN_ROWS as ENOUGH
from lesion.evaluation.familiarity import MIN_ROWS, MIN_ROWS_OF_FOLD
from lesion.evaluation.metrics import METRICS
from lesion.report.data import check_found, data_card, leak_check
from lesion.report.facts import Facts
from lesion.report.readings import (
    calibration_curves,
    calibration_of,
    classes_from,
    decision_curves,
    metrics_from,
    subgroups_from,
    uncertainty_from,
)
from lesion.report.reproduction import reproduction, settings_of
from lesion.report.sections import (
    ConfusionMatrix,
    Cost,
    Fold,
    Group,
    Headline,
    JudgedSet,
    Judging,
    Metric,
    Missing,
    Number,
    Question,
    Shortcuts,
)
from lesion.report.words import METRIC_NAMES, plural, sentence
from lesion.targets import Target
from lesion.words import plural_of

NO_CLASS = "not defined: a class has no rows here"
AT_ROWS = "at the prevalence of these rows"
MAX_CONFUSED = 20  # classes of a matrix of counts; of more, the most frequent pairs
NUM_PAIRS = 30
HOW_SETS = "Conformal sets of classes, verified on {units} that did not make them."
HOW_GATE = "bounds are what nearly all of them keep; what all have is no warning"
FEW_PICTURES = Missing(why=f"No quality gate: it needs {MIN_PICTURES} images that can be read.")
NO_FOLDS = {
    "ensemble": "A validation set was given: one network, no cross-validation.",
    "soup": "One network, the mean of the folds' weights: no fold has numbers of it.",
}
ONE_TESTED = "served network, which never"
TESTED = {"ensemble": "mean of all networks, none of which", "refit": ONE_TESTED, "soup": ONE_TESTED}
SERVED_OTHER = {
    "ensemble": "",
    "refit": " The served network was trained again on all images, as the folds' networks were on fewer.",
    "soup": "",
}
FAR_FROM_FOLDS = 0.05  # of ROC AUC
NO_MAP = Missing(why="No map was chosen: explain=false, or none could be made.")


def facts_of_job(
    setup: Setup,
    training: Rows,
    labelled: Labelled,
    *,
    summary: Summary,
    decisions: Decisions,
    evaluation: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    shortcuts: Mapping[str, float],
    lines_S: NDArray[np.intp],
) -> Facts:
    """The facts of a job whose held-out rows were predicted, decided on and evaluated.

    `lines_S` is the line of each row in oof.csv, `history` the epochs of all folds, `summary` metrics.json's content.
    """
    config, target, probs_SK = setup.config, labelled.target, decisions.judged_SK
    judged_S = np.flatnonzero(~np.isnan(probs_SK[:, 0]))
    targets_SQ = target.judged_columns(labelled.targets_SK[judged_S])
    names = target.answer_names[1:] if target.has_binary_answer else target.class_names
    thresholds = tuple(summary["overall"]["thresholds"])
    found = check_found(setup.run.job.output_dir)
    answers = held_out_answers(labelled, decisions, config)
    unit, served_SQ = answers.unit, target.judged_columns(decisions.served_SK[judged_S])
    num_folds = len(summary["folds"])
    make = CaseMaker(
        read=training.read,
        target=target,
        lines_S=lines_S,
        name_S=labelled.table.name_S if config.report_names else None,
        group_S=labelled.table.group_or_row_S,
        unit=answers.unit,
    )
    judged = Judged(judged_S, targets_SQ, served_SQ, thresholds)
    if decisions.operating is not None:
        point = decisions.points[decisions.operating.spec]
        judged = replace(judged, label_SQ=point.is_positive_SQ[judged_S], judged_at_SQ=point.judged_at_SQ[judged_S])
    ranked_SQ = target.judged_columns(decisions.raw_SK[judged_S])
    few = [fold["fold"] for fold in summary["folds"] if config.metric not in fold["metrics"]]
    curves = curves_of_rows(names, targets_SQ, served_SQ, history, config.metric, ranked_SQ=ranked_SQ, few_folds=few)
    found_of, verified = evaluation["judged"], evaluation["uncertainty"]
    at_rows = "" if config.deployment_prevalence is None else AT_ROWS
    metrics = measures_of(found_of, summary, has_epochs=config.epochs > 0)
    return Facts(
        title=title_of(target),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        names_are_shown=config.report_names,
        question=Question(**target.as_json()),
        headline=headline(metrics, summary, unit, len(judged_S), num_units(labelled, judged_S)),
        judging=Judging(
            how=how_judged(summary, unit, decisions.judged.why_not, has_epochs=config.epochs > 0)
            + ("" if config.deployment_prevalence is None else at_prevalence(names[0], config.deployment_prevalence)),
            unit=unit,
            num_rows=len(judged_S),
            num_units=num_units(labelled, judged_S),
            classes=labelled.counts(judged_S)["classes"],
            interval=f"95 % intervals by {unit}; they do not hold how another training run would differ.",
            served=served(summary["final_model"]),
            warnings=tuple(f"{text[:1].upper()}{text[1:]}." for text in found_of["cautions"]),
        ),
        data=data_card(found, training, labelled, judged_S),
        leaks=leak_check(found, summary),
        metrics=metrics,
        classes=() if target.has_binary_answer else classes_from(found_of),
        folds=tuple(fold_of(fold) for fold in summary["folds"])
        if num_folds > 1
        else Missing(why=NO_FOLDS[summary["final_model"]["kind"]]),
        sets=slides_of(summary),
        curves=curves.model_copy(
            update={"calibration": calibration_curves(found_of, note=at_rows), "decision": decision_curves(found_of)}
        ),
        operating_points=operating_points(names, decisions, evaluation["points"], answers)
        if thresholds
        else Missing(why="The most probable class is answered: there is no threshold."),
        confusion=confusion(target, judged),
        mistakes=mistakes(make, judged),
        uncertain=uncertain(make, judged),
        label_errors=label_errors(make, judged),
        label_next=Missing(why="No images without a label were given."),
        shortcuts=shortcut_baseline(shortcuts, summary),
        cost=cost(setup, history),
        settings=settings_of(config),
        versions=package_versions(),
        reproduction=reproduction(config, labelled.table, config.seed, summary["pretrained_weights"]),
        explanation=NO_MAP,
        subgroups=Missing(why=evaluation["subgroups"]["why"])
        if "why" in evaluation["subgroups"]
        else subgroups_from(evaluation["subgroups"], unit=unit, at_rows=at_rows),
        uncertainty=Missing(why=verified["why"])
        if "why" in verified
        else uncertainty_from(verified, unit=unit, how=HOW_SETS.format(units=plural_of(unit))),
        familiarity=unknown_familiarity(len(judged_S), num_units(labelled, judged_S), unit),
        quality=FEW_PICTURES,
        gains=gains_of(summary, num_views=config.tta),
    )


def with_test(facts: Facts, setup: Setup, test: Rows, probs_SK: NDArray[np.float32], judged: Summary | None) -> Facts:
    """The facts with the metrics of a test set that has labels; of one that has none, which images to label next."""
    if judged is not None:
        told = f"By the {TESTED[setup.config.final_model]} saw it:"
        return facts.model_copy(update={"sets": (*facts.sets, judged_set("Test set", told, judged))})
    target, table = setup.target, test.table()
    make = CaseMaker(
        read=test.read,
        target=target,
        lines_S=np.arange(len(table)) + 2,
        name_S=table.name_S if facts.names_are_shown else None,
        group_S=table.group_or_row_S,
        unit=facts.judging.unit,
        file="submission.csv",
    )
    thresholds_Q = tuple(point.threshold for point in facts.chosen)
    found = label_next(make, target.judged_columns(probs_SK), thresholds_Q)
    return facts.model_copy(update={"label_next": found})


def title_of(target: Target) -> str:
    if target.positive_class is not None:
        return f"{target.positive_class}: training report"
    return f"{len(target.class_names):,} classes: training report"


def num_units(labelled: Labelled, rows_S: NDArray[np.intp]) -> int:
    return len(np.unique(labelled.table.group_or_row_S[rows_S]))


def headline(metrics: Sequence[Metric], summary: Summary, unit: str, num_rows: int, units: int) -> Headline | Missing:
    first = next(metric for metric in metrics if metric.key == "roc_auc")
    if first.number.value is None:
        return Missing(why=sentence(first.number.why))
    of = f"{num_rows:,} held-out images" + ("" if unit == "image" else f" of {plural(units, unit)}")
    seen = "of which" if unit == "image" else "of whose images"
    return Headline(
        metric=first,
        judged_on=f"{of}, none {seen} the network was trained on.{SERVED_OTHER[summary['final_model']['kind']]}",
        is_flattered="epoch_not_chosen_by_others" in summary["overall"],
        beside_folds=beside_folds(first.number.value, summary["mean_of_folds"].get("roc_auc")),
    )


def beside_folds(pooled: float, mean: float | None) -> str:
    """Why the AUC of all rows together is another than the mean over the folds, which the first screen tells too."""
    if mean is None or abs(pooled - mean) <= FAR_FROM_FOLDS:
        return ""
    costs = f"{'costs' if pooled < mean else 'adds'} {abs(pooled - mean):.3f}"
    return (
        f"The mean over the folds is {mean:.3f}. All together, images are ranked across networks whose scales differ, "
        f"which {costs}."
    )


def at_prevalence(name: str, prevalence: float) -> str:
    """At which prevalence each number of the page holds, where the deployment's is another than the rows'."""
    return (
        f" deployment_prevalence={prevalence:g}: probabilities of images, thresholds and what they mean, and "
        f"the decision curve are those of a place where {prevalence:.1%} are {name}, as the endpoint answers. "
        "Calibration, Brier score and log loss are judged at the rows' own prevalence, where outcomes can be counted."
    )


def how_judged(summary: Summary, unit: str, why_not: str | None, *, has_epochs: bool) -> str:
    kind, num_folds = summary["final_model"]["kind"], len(summary["folds"])
    side, units = f"no {unit}", plural_of(unit)
    if kind == "soup":
        of = "" if unit == "image" else f" of {units}"
        rows = f"The served network predicts images{of} that were held back from all folds"
    elif num_folds > 1:
        rows = f"{num_folds}-fold cross-validation: each image is predicted by the network of the fold that held it out"
    else:
        rows = "One network, which predicts the validation set"
    if not has_epochs:
        epoch = "Its weights are the pretrained ones, with a linear probe for a head: no epoch was chosen."
    elif why_not is not None:
        epoch = f"Its epoch was chosen on the same rows, so the numbers are too high: {in_words(why_not, unit)}."
    elif kind == "soup":
        epoch = "Its epochs were chosen on other rows."
    elif kind == "refit":
        epoch = (
            "Its epoch is the one that the other folds chose. The served network was trained again on all rows by the "
            "same rule: the numbers are the cross-validation estimate of it, mostly a little too low."
        )
    else:
        epoch = (
            f"Its epoch is, for each fifth of the held-out {units}, the one that the others chose (or, where these are "
            "too few, the other folds)."
        )
    return (
        f"{rows}; {side} is in training and in validation of one network, unless the leaks below say so. {epoch} "
        f"Calibration and threshold are, for each fifth of the {units}, those that the others taught."
    )


def served(final_model: Mapping[str, Any]) -> str:
    """What is served, in words, where it is one network that was made of the folds."""
    return {
        "refit": f"one network, trained again on all rows for {plural(final_model.get('epochs', 0), 'epoch')}",
        "soup": "one network, the mean of the folds' weights",
    }.get(final_model["kind"], "")


def metrics_of(judged: Mapping[str, Any]) -> tuple[Metric, ...]:
    """metrics.json's metrics of one set of rows, with intervals and notes where it has them."""
    values, intervals, notes = judged["metrics"], judged.get("interval_95", {}), judged.get("notes", {})
    return tuple(
        Metric(
            key=key,
            name=METRIC_NAMES[key],
            number=number(values.get(key), intervals.get(key), why=notes.get(key, NO_CLASS)),
            note=notes.get(key, "") if key in values else "",
        )
        for key in METRICS
    )


def measures_of(judged: Mapping[str, Any], summary: Summary, *, has_epochs: bool) -> tuple[Metric, ...]:
    """All measures of the judged rows, and their calibration; beside some what they are at the folds' own best epochs.
    A linear probe alone has none."""
    best = summary["overall"]["of_best_epochs"]["metrics"] if has_epochs else {}
    measures = metrics_from(
        judged["overall"], {key: {"value": best[key]} for key in best if not key.endswith("accuracy")}
    )
    return measures + calibration_of(judged)


def fold_of(fold: Mapping[str, Any]) -> Fold:
    return Fold(**{"num_groups": None, **{key: value for key, value in fold.items() if key in Fold.model_fields}})


def number(value: float | None, interval: Sequence[float] | None = None, *, why: str = NO_CLASS) -> Number:
    ends = None if interval is None else (float(interval[0]), float(interval[1]))
    return Number.of(value, ends, why=why)


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


def confusion(target: Target, judged: Judged) -> ConfusionMatrix | Missing:
    """Truth by answer. Of many classes the most frequent mistakes; of several labels there is no one matrix."""
    from sklearn.metrics import confusion_matrix

    if target.has_binary_answer:
        names: tuple[str, ...] = target.answer_names
        truth_S, answer_S = judged.is_yes_SQ[:, 0].astype(int), judged.says_SQ[:, 0].astype(int)
    elif target.has_multiclass_answer:
        names, truth_S = target.class_names, judged.targets_SQ.argmax(axis=1)
        answer_S = judged.probs_SQ.argmax(axis=1)
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
        return Missing(why=f"Shortcuts could not be judged: it takes {ENOUGH} positives and {ENOUGH} negatives.")
    if "roc_auc" not in summary["mean_of_folds"]:
        few = next((fold["notes"]["roc_auc"] for fold in summary["folds"] if "roc_auc" in fold.get("notes", {})), "")
        return Missing(why=f"Shortcuts are judged by the mean AUC over folds, and a fold has none: {few or NO_CLASS}.")
    return Shortcuts(
        by={name: number(value) for name, value in shortcuts.items()},
        network=number(summary["mean_of_folds"].get("roc_auc")),
        how="A simple model on image size, border and mean colour alone, by the same folds (0.5 is chance); both "
        "numbers are means over the folds, the simple model's weighted by each fold's pairs of a positive and a "
        "negative image. The network may use them too, even if it scores higher.",
    )


def unknown_familiarity(num_rows: int, num_units: int, unit: str) -> Missing:
    """Why there is no familiarity score, until there is one."""
    of = "" if unit == "image" else f" of {plural(num_units, unit)}"
    needs = f"{MIN_ROWS} held-out images, in folds of at least {MIN_ROWS_OF_FOLD} and of several {plural_of(unit)}"
    return Missing(why=f"No familiarity score: it needs {needs}. Held out were {plural(num_rows, 'image')}{of}.")


def warned_of(quality: QualityRecord, *, are_apart: bool) -> Group:
    """The share of the images that the quality gate would warn of; `are_apart`: some train, and others validate."""
    of = "images of training and validation together" if are_apart else "training images"
    return Group(
        metrics=tuple(
            Metric(key=name, name=f"warned: {name.replace('_', ' ')}", number=number(share))
            for name, share in quality.share_warned.items()
        ),
        how=f"The share of {quality.num_pictures:,} {of} that the gate would warn of ({HOW_GATE}).",
    )


def safeguards_of(facts: Facts, model: ClassifierRecord, minutes: float) -> Facts:
    """The facts with what the artifact has against unusual images, and with how long the job has taken."""
    updates: dict[str, Any] = {}
    if (quality := model.quality) is not None:
        are_apart = isinstance(facts.folds, Missing)  # no image is both trained on and held out
        updates["quality"] = warned_of(quality, are_apart=are_apart)
    if (familiarity := model.familiarity) is not None:
        seen = "training" if model.final_model == "refit" else "held-out"  # a refit has seen all
        how = (
            f"Learnt on {familiarity.num_rows:,} {seen} images. An image that is less familiar than "
            f"{1 - familiarity.rare:.0%} of them is called unfamiliar, so about {familiarity.rare:.0%} of images like "
            "these are, by chance."
        )
        updates["familiarity"] = Group(metrics=(), how=how)
    if not isinstance(facts.cost, Missing):
        updates["cost"] = facts.cost.model_copy(update={"minutes": round(minutes, 2)})
    return facts.model_copy(update=updates)


def cost(setup: Setup, history: Sequence[Mapping[str, Any]]) -> Cost:
    run = setup.run
    speeds = [row["images_per_s"] for row in history if row.get("images_per_s")]
    where = f"{run.job.host_cores} CPU cores" if run.device.type == "cpu" else f"a GPU ({run.device})"
    return Cost(
        minutes=0.0,  # until it is written
        device=f"{where}, {run.precision}",
        images_per_s=float(np.median(speeds)) if speeds else None,
        note=f"{len(history)} epochs of all networks together.",
    )
