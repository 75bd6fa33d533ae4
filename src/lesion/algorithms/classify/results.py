"""Results: what a job leaves in output/data, the quick and certain first: out-of-fold and test predictions, metrics."""

# K outputs · S samples · V views

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.answer import combine
from lesion.algorithms.classify.decide import Decisions
from lesion.algorithms.classify.evaluation import Answers, evaluate, intervals_of, subgroup_columns
from lesion.algorithms.classify.explanation import save_explanation
from lesion.algorithms.classify.fold import FoldResult, curves_of
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.algorithms.classify.predictor import Ensemble, Prepared
from lesion.algorithms.classify.report_facts import facts_of_job, with_test
from lesion.algorithms.classify.save import save_graph, save_later, with_disagreement
from lesion.algorithms.classify.save_safeguards import save_safeguards
from lesion.algorithms.classify.setup import Setup
from lesion.algorithms.classify.summary import Summary, judge_slides, judge_test
from lesion.algorithms.classify.task import Task
from lesion.check.run import Checked
from lesion.data.labels import Labelled
from lesion.data.metadata import Row
from lesion.data.table import Readable, SampleTable, Source
from lesion.data.write_csv import write_csv
from lesion.engine.training_log import TrainingLog
from lesion.errors import LesionError
from lesion.files import make_folder, write_atomic
from lesion.inference.batches import compute_in_batches
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.figure import try_to_draw
from lesion.targets import Target

log = logging.getLogger(__name__)

METRICS = "metrics.json"


def write_results(
    setup: Setup,
    checked: Checked[Task],
    results: Sequence[FoldResult],
    predictor: Ensemble,
    *,
    decisions: Decisions,
    summary: Summary,
    training_log: TrainingLog,
    started: float,
) -> None:
    """Writes the results: tables, metrics and report, the metric lines for a tuner, and last what the artifact is whole
    without: which map explains it, and the graph.

    `summary` is what the artifact was saved with; what takes longer is added to it here. `started` is when the job
    began, by `time.monotonic`.

    The order is from certain to risky: the out-of-fold rows and metrics are written before the test set is
    predicted. Raises PlatformError where the disk refuses.
    """
    job, config, labelled = setup.run.job, setup.config, checked.task.labelled
    target, folder = labelled.target, job.output_dir
    make_folder(folder)
    write_csv(folder / "history.csv", pd.DataFrame([row for result in results for row in result.history]))
    write_csv(folder / "oof.csv", out_of_fold_rows(labelled, results, decisions))
    lines_S = lines_of_oof(results, len(labelled.table))
    probs_SK = decisions.judged_SK
    valid_S = ~np.isnan(probs_SK[:, 0])
    overall = summary["overall"]
    training_log.out_of_fold(overall["metrics"], curves_of(target, labelled.targets_SK[valid_S], probs_SK[valid_S]))
    answers = Answers(labelled, probs_SK, decisions.is_positive_SQ, config.deployment_prevalence)
    evaluation = evaluate(
        answers,
        parts={} if len(results) < 2 else {"fold": fold_of_rows(results, len(probs_SK))},
        subgroups=subgroup_columns(labelled),
    )
    overall["interval_95"] = intervals_of(evaluation["judged"])
    summary["shortcuts"] = {"roc_auc": checked.shortcuts}
    if config.slide_score != "none":
        summary["slides"], slides = judge_slides(labelled, probs_SK, config)
        write_csv(folder / "slides.csv", slides)
        values = " ".join(f"{name}={value:.4f}" for name, value in summary["slides"]["metrics"].items())
        log.info("slides=%d score=%s %s", len(slides), config.slide_score, values)
    write_summary(folder, summary)
    calibration = decisions.calibration
    if calibration is not None:
        with setup.run.step("comparing the networks", remedy="lower batch_size_predict"):
            calibration = with_disagreement(calibration, predictor, setup, results)
        log.info("calibration=%s disagreement=%.3f", calibration.calibrator.method, calibration.pooling.disagreement)
        overall["calibration"]["disagreement_of_networks"] = calibration.pooling.disagreement
        write_summary(folder, summary)
    sets = evaluation["uncertainty"].get("sets")
    predictor = save_later(job.model_dir, predictor, summary, calibration=calibration, prediction_sets=sets)
    predictor = save_safeguards(setup, predictor, results, labelled.table.group_or_row_S, checked.measures)
    facts = try_to_draw(
        "the report",
        lambda: facts_of_job(
            setup,
            checked.training,
            labelled,
            summary=summary,
            decisions=decisions,
            evaluation=evaluation,
            history=[row for result in results for row in result.history],
            shortcuts=checked.shortcuts,
            lines_S=lines_S,
            minutes=(time.monotonic() - started) / 60,
        ),
    )
    write_report(folder, facts)
    if (shared := summary.get("groups_on_both_sides", {})).get("groups"):
        log.warning(
            "%d groups with %d rows were in training and in validation of a fold: the metrics look better than on new "
            "patients",
            shared["groups"],
            shared["rows"],
        )
    if "all" in checked.shortcuts and "roc_auc" in overall["metrics"]:
        log.info(
            "shortcuts: size, border and mean colour alone reach a ROC AUC of %.4f, the network %.4f",
            checked.shortcuts["all"],
            overall["metrics"]["roc_auc"],
        )
    if checked.test is not None:
        probs_test_SK, summary["test"] = predict_test(setup, predictor, checked.test, checked.task)
        write_summary(folder, summary)
        if facts is not None:
            more = partial(with_test, facts, setup, checked.test, probs_test_SK, summary["test"])
            write_report(folder, try_to_draw("the report", more))
    if config.explain:
        with setup.run.step("choosing a map that explains predictions", remedy="set explain=false"):
            predictor = save_explanation(
                job.model_dir, predictor, setup, results, job_s=time.monotonic() - started, stop=job.stop
            )
    if config.export_graph:
        with setup.run.step("exporting the graph", remedy="set export_graph=false"):
            save_graph(job.model_dir, predictor, setup, results, stop=job.stop, num_cores=job.num_cores)


def predict_test(
    setup: Setup, predictor: Ensemble, test: Source, task: Task
) -> tuple[NDArray[np.float32], Summary | None]:
    """Writes submission.csv; the probabilities [S, K] of the whole ensemble, and its metrics where the test set has
    labels."""
    config, folder, table, target = setup.config, setup.run.job.output_dir, test.table(), task.labelled.target
    with setup.run.step("predicting the test set", remedy="lower batch_size_predict or image_size"):
        probs_SK = predict_source(
            predictor, test, table.metadata_rows(), num_workers=setup.run.num_workers, on_error=fail
        )
    write_submission(folder / "submission.csv", table, probs_SK, target, task.labelled.table.target_names)
    if table.targets is None:
        return probs_SK, None
    labelled = Labelled(table, target, task.labels.encode(table))
    thresholds_Q, calibration = predictor.model.target.thresholds, predictor.calibration
    is_positive_SQ = target.judged_columns(probs_SK) >= np.array(thresholds_Q) if thresholds_Q else None
    at_rows_SK = probs_SK if calibration is None else calibration.for_rows(probs_SK)
    judged = judge_test(Answers(labelled, at_rows_SK, is_positive_SQ, config.deployment_prevalence))
    if config.slide_score != "none" and table.group_S is not None:
        judged["slides"], slides = judge_slides(labelled, probs_SK, config)
        write_csv(folder / "slides_test.csv", slides)
    for name, value in judged["metrics"].items():
        log.info(METRIC_LINES[f"test:{name}"].line(value))
    return probs_SK, judged


def predict_source(
    predictor: Ensemble,
    source: Readable,
    rows: Sequence[Row],
    *,
    num_workers: int,
    on_error: Callable[[int, LesionError], None],
) -> NDArray[np.float32]:
    """Probabilities [S, K] of a source's pictures with their rows of metadata, read by threads.

    A picture or row that cannot be used, or whose output is not finite, is reported to `on_error` with its place, and
    its probabilities are NaN.
    """

    def prepare(index: int) -> Prepared:
        return predictor.prepare(source.read(index), rows[index])

    probs_SK = np.full((len(rows), predictor.target.num_outputs), np.nan, dtype=np.float32)
    outputs = compute_in_batches(
        predictor.executors, prepare, len(rows), max_batch=predictor.max_batch, num_workers=num_workers
    )
    for index, output in outputs:
        if isinstance(output, LesionError):
            on_error(index, output)
        else:
            probs_SK[index] = combine(predictor.target, output.logits_FVK, predictor.calibration)
    return probs_SK


def fail(index: int, error: LesionError) -> None:  # noqa: ARG001
    """The error for a test picture that was readable before training and is not now."""
    raise error


def write_summary(folder: Path, summary: Summary) -> None:
    """metrics.json."""
    write_atomic(folder / METRICS, (json.dumps(summary, indent=2) + "\n").encode())


def write_report(folder: Path, facts: Facts | None) -> None:
    """report.html, report.json and the two cards. Without them, and with a warning, where they cannot be made."""
    made = None if facts is None else try_to_draw("the report", lambda: documents(facts))
    for name, text in (made or {}).items():
        write_atomic(folder / name, text.encode())


def fold_of_rows(results: Sequence[FoldResult], num_rows: int) -> NDArray[np.intp]:
    """The first fold [S] that held each row out; -1 where none did."""
    fold_S = np.full(num_rows, -1, dtype=np.intp)
    for result in reversed(results):
        fold_S[result.index_S] = result.fold
    return fold_S


def lines_of_oof(results: Sequence[FoldResult], num_rows: int) -> NDArray[np.intp]:
    """The line [S] of oof.csv where each row of the table stands first, its header being line 1; 0 for those that no
    fold held out."""
    index_N = np.sort(np.concatenate([result.index_S for result in results]))
    rows, first = np.unique(index_N, return_index=True)
    lines_S = np.zeros(num_rows, dtype=np.intp)
    lines_S[rows] = first + 2
    return lines_S


def out_of_fold_rows(labelled: Labelled, results: Sequence[FoldResult], decisions: Decisions) -> pd.DataFrame:
    """The rows of oof.csv in the order of the table, a row once for each fold that held it out.

    `probability` and `logit` are of the kept networks, as `lesion predict --fold` answers; `judged_probability` is
    what the metrics are made of, a row's mean where folds are repeated; and `judged_positive` the label.
    """
    table, target = labelled.table, labelled.target
    index_S = np.concatenate([result.index_S for result in results])
    fold_S = np.repeat([result.fold for result in results], [len(result.index_S) for result in results])
    in_order = np.lexsort((fold_S, index_S))
    rows = index_S[in_order]
    logits_SVK = np.concatenate([result.logits_SVK for result in results])[in_order]
    of_judged = answer_columns(target, decisions.judged_SK[rows])
    return pd.DataFrame(
        {
            table.image_column: table.name_S[rows],
            "group": table.group_or_row_S[rows],
            "fold": fold_S[in_order],
            **target_columns(target, labelled.targets_SK[rows]),
            **answer_columns(target, combine(target, logits_SVK[:, None], decisions.calibration)),
            **logit_columns(target, logits_SVK.mean(axis=1)),
            **{f"judged_{name}": column for name, column in of_judged.items()},
            **judged_labels(target, decisions, rows),
        }
    )


def judged_labels(target: Target, decisions: Decisions, rows: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    """The labels that metrics are made of, 0 or 1, at the thresholds that the other folds chose; none for several
    classes, the most probable of which is the answer.
    """
    if decisions.is_positive_SQ is None:
        return {}
    is_positive_NQ = decisions.is_positive_SQ[rows].astype(int)
    if target.has_binary_answer:
        return {"judged_positive": is_positive_NQ[:, 0]}
    return {f"judged_positive_{name}": is_positive_NQ[:, q] for q, name in enumerate(target.class_names)}


def target_columns(target: Target, targets_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The targets as oof.csv holds them: 0 or 1, the class's name, or for multilabel a column of 0 and 1 a class."""
    if target.has_binary_answer:
        return {"target": target.judged_columns(targets_SK)[:, 0].astype(int)}
    if target.has_multiclass_answer:
        return {"target": np.array(target.class_names)[targets_SK.argmax(axis=1)]}
    return {f"target_{name}": targets_SK[:, k].astype(int) for k, name in enumerate(target.class_names)}


def answer_columns(target: Target, probs_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The probability columns of a table: of the positive class for a binary answer, and one per class of several."""
    columns = {"probability": target.judged_columns(probs_SK)[:, 0]} if target.has_binary_answer else {}
    if target.kind != "binary":
        columns |= {f"probability_{name}": probs_SK[:, k] for k, name in enumerate(target.class_names)}
    return columns


def logit_columns(target: Target, logits_SK: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """The logits as oof.csv holds them, each the mean over the views: one, or one a class of several."""
    if target.kind == "binary":
        return {"logit": logits_SK[:, 0]}
    return {f"logit_{name}": logits_SK[:, k] for k, name in enumerate(target.class_names)}


def write_submission(
    path: Path, table: SampleTable, probs_SK: NDArray[np.float32], target: Target, target_names: Sequence[str]
) -> None:
    """The test set's probabilities, one row per picture in the table's order, in the format of challenges. Binary: a
    column with the name of the target column; else a column per class."""
    names = target_names if target.has_binary_answer else target.class_names
    answers = target.judged_columns(probs_SK)
    columns = {name: answers[:, q] for q, name in enumerate(names)}
    write_csv(path, pd.DataFrame({table.image_column: table.name_S, **columns}))
