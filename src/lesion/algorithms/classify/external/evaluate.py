"""External: a finished model on a labelled set of its own: answers, metrics, report, beside the training report.

The whole calibrated ensemble answers, as it is served. What the set was trained on is not known here: an artifact holds
no names of patients or images.
"""

# S samples · K outputs · Q outputs that are judged · C classes, two for a binary answer

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.algorithms.base import Options
from lesion.algorithms.cases import outputs_of_cases
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.external.beside_training import as_text, beside_training
from lesion.algorithms.classify.external.facts import External, facts_of_set
from lesion.algorithms.classify.external.parts import PartAnswers
from lesion.algorithms.classify.prediction.answer import combine, probability_columns
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.report.reporter import write_report
from lesion.algorithms.classify.results.evaluation import (
    Answers,
    KeptSets,
    evaluate,
    intervals_of,
    sets_of_rows,
    subgroup_columns,
)
from lesion.algorithms.classify.results.summary import metrics_of
from lesion.algorithms.classify.results.tables import judged_labels, target_columns
from lesion.algorithms.classify.results.write import METRICS
from lesion.algorithms.evaluation_settings import check_settings
from lesion.data.channels import COLUMN_SETTINGS, columns_of
from lesion.data.labels.encode import Labelled
from lesion.data.labels.of_model import KnownTarget, label
from lesion.data.labels.uncertain import settled
from lesion.data.prediction_set import open_prediction_set, warn_of_unknown_words
from lesion.data.sources.frames import FramesOf, OfFiles
from lesion.data.sources.tables.table_files import other_tables
from lesion.data.table import Rows, Source
from lesion.data.write_csv import write_csv
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable, make_folder, write_atomic
from lesion.report.sections import Missing
from lesion.targets import Target

log = logging.getLogger(__name__)

PREDICTIONS = "predictions.csv"
AS_IN_TRAINING = ("group_column", "class_name_column", "label_separator", "on_uncertain")


@dataclass(frozen=True)
class Pictures:
    """A labelled set, opened: its rows with their targets, and the pictures of each row."""

    source: Source
    labelled: Labelled
    frames: FramesOf


def evaluate_set(
    path: Path,
    predictor: Ensemble,
    *,
    output: Path,
    source: str,
    settings: Mapping[str, str],
    num_cores: int,
    show_progress: bool,
) -> str:
    """Answers and judges the labelled set at `path`; writes predictions.csv, metrics.json and the report to `output`.
    Returns the table beside training's, as text.

    `settings` are those of training that say how a table is read; what is not set is as in training. An image that
    cannot be answered has its reason in predictions.csv, and is not judged. Raises UserError for a set without labels,
    for classes that the model does not know, and if no image can be answered.
    """
    started = time.monotonic()
    config = read_settings(settings, predictor)
    make_folder(output)
    ensure_writable(output / PREDICTIONS)
    pictures = open_labelled(path, predictor, config, set(settings), source=source)
    labelled, target = pictures.labelled, predictor.target
    log.info("evaluating rows=%d classes=%s", len(labelled.table), json.dumps(target.counts(labelled.targets_SK)))
    parts = PartAnswers.of(predictor, len(labelled.table))
    probs_SK, frame = answer_rows(pictures, predictor, parts, num_cores=num_cores, show_progress=show_progress)
    answers = answers_of(labelled, probs_SK, predictor)
    failed = frame.loc[frame["error"] != "", "error"].tolist()
    write_csv(output / PREDICTIONS, with_judged(with_sets(frame, probs_SK, predictor), answers))
    if not len(answers.known_S):
        raise UserError(
            f"none of the {len(frame)} images can be answered; the first: {failed[0]}",
            where=path,
            do=f"{output / PREDICTIONS} has the reason of each.",
        )
    kept = KeptSets(predictor.model.prediction_sets, answers.probs_SK)
    evaluation = evaluate(answers, subgroups=subgroup_columns(labelled), kept_sets=kept)
    here = {
        **labelled.counts(answers.known_S),
        **metrics_of(answers.probs_SK, labelled, answers.known_S, answers.is_positive_SQ),
        "interval_95": intervals_of(evaluation["judged"]),
        "operating_point": predictor.points.default.spec,
        "thresholds": list(predictor.points.default.thresholds_Q),
    }
    comparison = beside_training(
        here,
        predictor.manifest.metrics,
        unit_is_known=labelled.table.group_S is not None,
        prevalence=answers.prevalence,
    )
    found = External(
        predictor=predictor,
        source=pictures.source,
        answers=answers,
        evaluation=evaluation,
        comparison=comparison,
        frame=frame,
        gains=parts.gains(answers),
        settings=settings,
        names_are_shown=config.report_names,
        minutes=(time.monotonic() - started) / 60,
    )
    write_atomic(output / METRICS, (json.dumps(summary_of(found, here, len(failed)), indent=2) + "\n").encode())
    write_report(output, facts_of_set(found))
    log.info("report=%s rows=%d unanswered=%d", output / "report.html", len(frame), len(failed))
    if failed:
        what = "%d of %d images could not be answered, and are not judged; %s has the reasons"
        log.warning(what, len(failed), len(frame), output / PREDICTIONS)
    return as_text(comparison, target)


def read_settings(settings: Mapping[str, str], predictor: Ensemble) -> ClassifyConfig:
    """How the table is read: as the user set, or else as in training. Raises UserError for settings of the model."""
    check_settings(settings)
    trained = predictor.manifest.config
    as_in_training = {name: trained[name] for name in AS_IN_TRAINING if trained.get(name) is not None}
    return ClassifyConfig.parse({**as_in_training, **settings})


def open_labelled(path: Path, predictor: Ensemble, config: ClassifyConfig, named: set[str], *, source: str) -> Pictures:
    """The labelled set at `path` by the model's classes; what was decided is logged. `named` are the user's settings.

    Raises UserError for a column that the user named and that is not there.
    """
    model, trained = predictor.model, predictor.manifest.config
    image_column = config.image_column or model.image_column
    columns = replace(
        columns_of(config),
        image=image_column,
        targets=config.target_column if "target_column" in named else tuple(model.target_columns),
        metadata=tuple(model.metadata_columns),
        is_group_needed="group_column" in named,
        unset=frozenset(COLUMN_SETTINGS - named - {"metadata_columns"}),
        frames=predictor.dicom_frames,
        decode_px=predictor.decode_px,
    )
    opened = open_prediction_set(path, columns, source=source)
    if "image_column" in named and (taken := opened.table().image_column).casefold() != image_column.casefold():
        do = f"Name one that is there, or leave image_column out to take '{taken}'."
        raise UserError(f"column '{image_column}' not found", where=opened.table().where, do=do)
    kept = settled(opened, columns)
    known = KnownTarget(
        predictor.target,
        model.target_columns,
        is_positive_set=trained.get("positive_class") is not None,
        label_separator=config.label_separator,
        on_uncertain=config.on_uncertain,
    )
    beside = other_tables(path, kept.table().where) if path.is_dir() else []
    labelled, remarks = label(kept.table(), known, are_columns_set="target_column" in named, beside=beside)
    table = labelled.table
    for remark in (*[one for one in table.remarks if one not in opened.table().remarks], *remarks):
        log.log(logging.WARNING if remark.level == "warning" else logging.INFO, "%s", remark)
    if absent := [name for name in model.metadata_columns if name not in table.metadata.columns]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    warn_of_unknown_words(table.metadata_rows(), predictor.metadata_words)
    paths = list(opened.paths) if isinstance(opened, OfFiles) else [None] * len(opened.table())
    if isinstance(kept, Rows) and kept is not opened:
        paths = [paths[index] for index in kept.index_S.tolist()]
    frames = FramesOf(kept, paths, predictor.dicom_frames)
    if frames_left := frames.remark(str(path)):
        log.warning("%s", frames_left.what)
    return Pictures(kept, labelled, frames)


def answer_rows(
    pictures: Pictures, predictor: Ensemble, parts: PartAnswers, *, num_cores: int, show_progress: bool
) -> tuple[NDArray[np.float32], pd.DataFrame]:
    """The probabilities [S, K] as they are served, NaN where there is no answer; and the rows of predictions.csv. What
    parts of the ensemble answer is added to `parts`."""
    labelled, target = pictures.labelled, predictor.target
    table = labelled.table
    probs_SK = np.full((len(table), target.num_outputs), np.nan, dtype=np.float32)
    nothing = {**dict.fromkeys(predictor.column_names, ""), "familiarity": ""}
    answers: list[dict[str, Any]] = []
    outputs = outputs_of_cases(predictor, pictures.frames, table.metadata_rows(), num_workers=num_cores)
    with tqdm(total=len(table), unit="image", disable=not show_progress) as bar:
        for row, found in enumerate(outputs):
            if isinstance(found, LesionError):
                answers.append({**nothing, "error": str(found)})
            else:
                probs_SK[row] = combine(target, found.logits_FVK, predictor.calibration)
                parts.add(row, found.logits_FVK)
                answer = predictor.answer(found, Options())
                familiarity = answer.fields.get("familiarity", "")
                answers.append({**nothing, **answer.columns, "familiarity": familiarity, "error": ""})
            bar.update()
    names = [*nothing, "error"]
    groups = {} if table.group_S is None else {"group": table.group_or_row_S}
    columns = {name: [answer[name] for answer in answers] for name in names}
    if all(value == "" for value in columns["familiarity"]):
        del columns["familiarity"]
    return probs_SK, pd.DataFrame(
        {table.image_column: table.name_S, **groups, **target_columns(target, labelled.targets_SK), **columns}
    )


def answers_of(labelled: Labelled, probs_SK: NDArray[np.float32], predictor: Ensemble) -> Answers:
    """The answers: labels as served, by the operating point's thresholds at the deployment's prevalence if one is
    known; probabilities at that of the training rows, at which training judged its own."""
    thresholds_Q = predictor.points.default.thresholds_Q
    is_positive_SQ = positives(probs_SK, predictor.target, thresholds_Q)
    return Answers(
        labelled, at_rows(probs_SK, predictor), is_positive_SQ, probs_SK, thresholds_Q, prevalence_of(predictor)
    )


def positives(probs_SK: NDArray[np.float32], target: Target, thresholds_Q: Sequence[float]) -> NDArray[np.bool_] | None:
    """The labels [S, Q]; None for several classes, the most probable of which is the answer."""
    return np.asarray(target.judged_columns(probs_SK) >= np.array(thresholds_Q)) if thresholds_Q else None


def prevalence_of(predictor: Ensemble) -> float | None:
    """How frequent the positive class is where the model is used, as far as training was told."""
    prevalence = predictor.manifest.config.get("deployment_prevalence")
    return None if prevalence is None else float(prevalence)


def at_rows(probs_SK: NDArray[np.float32], predictor: Ensemble) -> NDArray[np.float32]:
    """The probabilities at the prevalence of the training rows, on which the prediction sets were fitted."""
    return probs_SK if predictor.calibration is None else predictor.calibration.for_rows(probs_SK)


def with_sets(frame: pd.DataFrame, probs_SK: NDArray[np.float32], predictor: Ensemble) -> pd.DataFrame:
    """The rows with a column of the classes in each one's prediction set, if the model has such sets."""
    sets, target = predictor.model.prediction_sets, predictor.target
    if sets is None:
        return frame
    names = target.answer_names if target.has_binary_answer else target.class_names
    is_in_SC = sets_of_rows(np.nan_to_num(at_rows(probs_SK, predictor)), target, sets)
    texts = ["|".join(name for name, is_in in zip(names, row, strict=True) if is_in) for row in is_in_SC.tolist()]
    column = np.where(np.isnan(probs_SK[:, 0]), "", np.array(texts, dtype=np.str_))
    return frame.assign(prediction_set=column)[[*frame.columns[:-1], "prediction_set", "error"]]


def with_judged(frame: pd.DataFrame, answers: Answers) -> pd.DataFrame:
    """The rows with what metrics.json is made of, as an oof.csv has it: probabilities at the prevalence of the training
    rows, and labels. Nothing where there is no answer."""
    target, is_known_S = answers.target, ~np.isnan(answers.probs_SK[:, 0])
    probs = {f"judged_{name}": column for name, column in probability_columns([*answers.probs_SK.T], target).items()}
    labels = {
        name: pd.Series(column, dtype="Int64").where(is_known_S)
        for name, column in judged_labels(target, answers.is_positive_SQ).items()
    }
    return frame.drop(columns="error").assign(**probs, **labels, error=frame["error"])


def summary_of(found: External, here: dict[str, Any], num_failed: int) -> dict[str, Any]:
    """metrics.json: counts, metrics and intervals as in training's, and all that evaluation says."""
    uncertainty = {name: value for name, value in found.evaluation["uncertainty"].items() if name != "sets"}
    return {
        "question": found.predictor.target.as_json(),
        "model": found.predictor.manifest.version,
        "unit": found.answers.unit,
        "overall": here,
        "unanswered": num_failed,
        "gains": found.gains.model_dump()
        if isinstance(found.gains, Missing)
        else [one.model_dump() for one in found.gains],
        "beside_training": found.comparison.model_dump(mode="json"),
        "judged": found.evaluation["judged"],
        "points": found.evaluation["points"],
        "subgroups": found.evaluation["subgroups"],
        "uncertainty": uncertainty,
    }
