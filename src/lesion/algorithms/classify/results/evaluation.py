"""Evaluation: all that is said of labelled rows, as plain dicts: measures, operating points, subgroups, uncertainty.

For a job's held-out rows, and for a set that the whole ensemble answered. Whoever calls has chosen probabilities and
labels honestly; here they are only judged. Pure.
"""

# S samples · Q outputs that are judged · K outputs · C classes, two for a binary answer

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.results.decide import Decisions
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import cell_text
from lesion.data.numbers import as_number_or_age
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.data.unit import in_units, unit_of
from lesion.evaluation.bands import banded
from lesion.evaluation.conformal import PredictionSets, fit_sets, nested_sets, sizes_of, two_classes, verify_sets
from lesion.evaluation.judgement import Rows, judge
from lesion.evaluation.metrics import METRICS
from lesion.evaluation.parts import parts_by_group
from lesion.evaluation.point_summary import summarise_points
from lesion.evaluation.selective import certainty_of_point, refer, risk_coverage
from lesion.evaluation.subgroups import judge_subgroups
from lesion.targets import Target

IS_ORIGIN = re.compile(
    "sex|gender|(^|_)age|site|anatom|origin|source|hospital|cent(er|re)|scanner|camera|device|dataset|skin|fitzpatrick|race|ethnic"
)
COVERAGE = 0.9  # that prediction sets promise
REFERRED = 0.1  # of the images, the least certain ones: what the answers to the others are then worth
MANY_CLASSES = 50  # of which no prediction sets are made
Json = dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """Labelled rows with what was answered: probabilities [S, K], calibrated, at the prevalence of the rows, and which
    labels [S, Q] were given; None for several classes, the most probable of which is the answer. NaN: not answered.

    `served_SK` are the probabilities as a server says them, at the deployment's prevalence: what thresholds_Q cut.
    """

    labelled: Labelled
    probs_SK: NDArray[np.float32]
    is_positive_SQ: NDArray[np.bool_] | None
    served_SK: NDArray[np.float32]
    thresholds_Q: Sequence[float]
    prevalence: float | None = None  # of the positive class at the deployment
    ranked_SK: NDArray[np.float32] | None = None  # by which rows are ranked, unless by the probabilities

    @property
    def target(self) -> Target:
        return self.labelled.target

    @property
    def unit(self) -> str:
        """What the groups are called."""
        return unit_of(self.labelled.table)

    @property
    def known_S(self) -> NDArray[np.intp]:
        """The rows that were answered."""
        return np.flatnonzero(~np.isnan(self.probs_SK[:, 0]))

    @property
    def names_Q(self) -> Sequence[str]:
        """What each judged output is the probability of."""
        return self.target.answer_names[1:] if self.target.has_binary_answer else self.target.class_names

    @property
    def group_S(self) -> NDArray[np.str_]:
        return self.labelled.table.group_or_row_S[self.known_S]

    def columns(self, values_SK: NDArray[Any]) -> NDArray[Any]:
        """The judged columns [S, Q] of the answered rows."""
        return self.target.judged_columns(values_SK[self.known_S])


@dataclass(frozen=True)
class KeptSets:
    """A model's prediction sets, None where its artifact has none, and the probabilities [S, K] that they are made of:
    calibrated, at the prevalence of the rows that fitted them."""

    sets: PredictionSets | None
    probs_SK: NDArray[np.float32]


def held_out_answers(labelled: Labelled, decisions: Decisions, config: ClassifyConfig) -> Answers:
    """The held-out rows as they are judged."""
    return Answers(
        labelled,
        decisions.judged_SK,
        decisions.is_positive_SQ,
        decisions.served_SK,
        decisions.thresholds_Q,
        config.deployment_prevalence,
        decisions.raw_SK,
    )


def evaluate(
    answers: Answers,
    *,
    parts: Mapping[str, NDArray[Any]] | None = None,
    subgroups: Mapping[str, Sequence[Any]],
    kept_sets: KeptSets | None = None,
) -> Json:
    """`judged`: what `judgement.judge` says, by `parts` too. `points`: for each judged output that has a threshold what
    `summarise_points` says. `subgroups`: what `judge_subgroups` says, by the columns given, for a binary answer.
    `uncertainty`: prediction sets, the risk–coverage curve and what referral gives. What cannot be is {"why": …}.

    Prediction sets are fitted on these rows, and verified on others of them; with `kept_sets` the model's are verified.
    """
    rows, known_S = rows_of(answers), answers.known_S
    found = {
        "judged": judge_rows(answers, parts=parts),
        "points": [] if answers.is_positive_SQ is None else points_of(answers, [answers.is_positive_SQ])[0],
        "subgroups": _subgroups(rows, subgroups, known_S) if answers.target.has_binary_answer else _no_subgroups(),
        "uncertainty": _uncertainty(rows, answers, kept_sets),
    }
    return in_units(found, answers.unit)


def rows_of(answers: Answers) -> Rows:
    """The answered rows in evaluation's form."""
    labels = answers.is_positive_SQ
    return Rows(
        answers.columns(answers.labelled.targets_SK).astype(np.float64),
        answers.columns(answers.probs_SK).astype(np.float64),
        answers.group_S,
        list(answers.names_Q),
        answers.target.has_multiclass_answer,
        None if labels is None else labels[answers.known_S],
        None if answers.prevalence is None else [answers.prevalence],
        None if answers.ranked_SK is None else answers.columns(answers.ranked_SK).astype(np.float64),
        answers.columns(answers.served_SK).astype(np.float64),
    )


def judge_rows(answers: Answers, *, parts: Mapping[str, NDArray[Any]] | None = None) -> Json:
    """What `judgement.judge` says of the answered rows, and of each of the `parts` that a column [S] makes."""
    return judge(rows_of(answers), parts={name: values[answers.known_S] for name, values in (parts or {}).items()})


def intervals_of(judged: Json) -> dict[str, tuple[float, float]]:
    """The 95 % intervals, by patient, of the metrics of metrics.json, as far as they are known.

    They do not say how another training run would differ.
    """
    found = {name: judged["overall"].get(name, {}) for name in METRICS}
    return {name: (value["low"], value["high"]) for name, value in found.items() if "low" in value and "high" in value}


def points_of(answers: Answers, labels: Sequence[NDArray[np.bool_]]) -> list[list[Json]]:
    """What `summarise_points` says of several labels [S, Q], for each and each judged output."""
    targets_SQ = answers.columns(answers.labelled.targets_SK).astype(np.float64)
    of_known = [labels_SQ[answers.known_S] for labels_SQ in labels]
    return summarise_points(targets_SQ, of_known, answers.group_S, prevalence=answers.prevalence)


def subgroup_columns(labelled: Labelled, measures: PictureMeasures | None = None) -> dict[str, list[Any]]:
    """The columns by which subgroups are made: the metadata, others that say where an image is from, and what the
    images show (skin tone, ink, hair, ruler, dark corners) and how large they are, if they were measured. A measured
    column has a name that says so: a table may have a skin_tone of its own, by people.
    """
    table = labelled.table
    columns = {name: _numbers_or_cells(table.metadata[name].tolist()) for name in map(str, table.metadata.columns)}
    if table.others is not None:
        for name in map(str, table.others.columns):
            if IS_ORIGIN.search(name.lower()) and name not in columns:
                columns[name] = table.others[name].tolist()
    if measures is not None:
        columns |= measures.groups()
        columns["short side of the image"] = measures["short_side_px"].tolist()
    return columns


def _numbers_or_cells(cells: list[Any]) -> list[Any]:
    """The numbers of a column that holds nothing else, with ages in years, 058Y too, as a network reads them; else its
    cells as they are.
    """
    texts = [cell_text(cell) for cell in cells]
    numbers = [None if text is None else as_number_or_age(text) for text in texts]
    is_numbers = all((number is None) == (text is None) for number, text in zip(numbers, texts, strict=True))
    return numbers if is_numbers else cells


def _no_subgroups() -> Json:
    return {"why": "Subgroups are judged for an answer that is one probability; here each class has one."}


def _subgroups(rows: Rows, columns: Mapping[str, Sequence[Any]], known_S: NDArray[np.intp]) -> Json:
    levels = {}
    for name, values in columns.items():
        banded_S = banded(name, values)[known_S]
        if len(np.unique(banded_S)) > 1:
            levels[name] = banded_S
    if not levels:
        return {"why": "No column divides the rows: name metadata columns, or leave them in the table."}
    assert rows.label_SQ is not None  # a binary answer has a label
    columns_S = (rows.target_SQ[:, 0], rows.prob_SQ[:, 0], rows.label_SQ[:, 0], rows.group_S)
    return judge_subgroups(levels, *columns_S, score_S=rows.ranked_SQ[:, 0])


def sets_of_rows(probs_SK: NDArray[np.float32], target: Target, sets: PredictionSets) -> NDArray[np.bool_]:
    """The classes [S, C] in each row's prediction set; of a binary answer the negative class first."""
    probs_SQ = target.judged_columns(probs_SK)
    return sets.apply(two_classes(probs_SQ[:, 0]) if target.has_binary_answer else probs_SQ)


def _uncertainty(rows: Rows, answers: Answers, kept: KeptSets | None) -> Json:
    """Prediction sets of a single answer, verified on patients that did not make them, and the risk of the surest."""
    target = answers.target
    if target.kind == "multilabel":
        return {"why": "Labels are judged each by itself: a set of classes is not what is answered."}
    if rows.prob_SQ.shape[1] > MANY_CLASSES:
        return {"why": f"No prediction sets are made of more than {MANY_CLASSES} classes."}
    if kept is not None and kept.sets is None:
        return {"why": "The model's artifact holds no prediction sets."}
    if target.has_binary_answer:
        class_S, probs_SC = rows.target_SQ[:, 0].astype(np.intp), two_classes(rows.prob_SQ[:, 0])
        assert rows.label_SQ is not None and rows.served_SQ is not None
        is_wrong_S = rows.label_SQ[:, 0] != (class_S == 1)
        certainty_S = certainty_of_point(rows.served_SQ[:, 0], answers.thresholds_Q[0])
    else:
        class_S, probs_SC = rows.target_SQ.argmax(axis=1), rows.prob_SQ
        is_wrong_S = probs_SC.argmax(axis=1) != class_S
        certainty_S = probs_SC.max(axis=1)
    names = target.answer_names if target.has_binary_answer else target.class_names
    found: Json = {"classes": list(names)}
    risk = risk_coverage(is_wrong_S, certainty_S)
    referral = refer(is_wrong_S, certainty_S, rows.group_S, share_referred=REFERRED)
    if kept is not None and kept.sets is not None:
        sets, sets_SC = kept.sets, sets_of_rows(kept.probs_SK[answers.known_S], target, kept.sets)
    else:
        # For each class by itself: of all together nearly all of the common class are covered, half of the rare one.
        sets = fit_sets(class_S, probs_SC, rows.group_S, coverage=COVERAGE, by_class=True)
        part_S = parts_by_group(rows.group_S)
        sets_SC = nested_sets(class_S, probs_SC, part_S, rows.group_S, coverage=COVERAGE, by_class=True)
        # More patients make the served quantiles than any part's: where a class has few, those let it into every set.
        found["served"] = sizes_of(sets.apply(probs_SC))
    is_by_class = len(sets.quantiles) > 1
    verified = verify_sets(class_S, sets_SC, rows.group_S, coverage=sets.coverage, by_class=is_by_class)
    return {**found, "sets": sets, "verified": verified, "risk": risk, "referral": referral}
