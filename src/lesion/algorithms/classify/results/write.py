"""Results: what a job leaves in output/data, the quick and certain first: out-of-fold and test predictions, metrics."""

# K outputs · S samples · V views

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.explanation.choice import save_explanation
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.algorithms.classify.prediction.answer import combine
from lesion.algorithms.classify.prediction.predictor import Ensemble, Prepared
from lesion.algorithms.classify.report.reporter import Reporter
from lesion.algorithms.classify.results.decide import Decisions
from lesion.algorithms.classify.results.evaluation import (
    Answers,
    evaluate,
    held_out_answers,
    intervals_of,
    subgroup_columns,
)
from lesion.algorithms.classify.results.summary import Summary, judge_slides, judge_test, numbers_for_the_log
from lesion.algorithms.classify.results.tables import fold_of_rows, out_of_fold_rows, write_submission
from lesion.algorithms.classify.save import save_later, with_disagreement
from lesion.algorithms.classify.save_graph import save_graph
from lesion.algorithms.classify.save_reference import save_reference
from lesion.algorithms.classify.save_safeguards import save_safeguards
from lesion.algorithms.classify.task import Task
from lesion.algorithms.classify.training.fold import curves_of
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.networks import Networks
from lesion.algorithms.classify.training.setup import Setup
from lesion.check.run import Checked
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import Row
from lesion.data.table import Readable, Source
from lesion.data.write_csv import write_csv
from lesion.engine.training_log import TrainingLog
from lesion.errors import LesionError
from lesion.files import make_folder, write_atomic
from lesion.inference.batches import compute_in_batches
from lesion.logs import timed_step
from lesion.words import plural_of

log = logging.getLogger(__name__)

METRICS = "metrics.json"
OF_NO_EPOCH = ["fold", "epoch", "lr", "train_loss"]  # history.csv of a linear probe alone: its header


def write_results(
    setup: Setup,
    checked: Checked[Task],
    networks: Networks,
    predictor: Ensemble,
    *,
    decisions: Decisions,
    summary: Summary,
    training_log: TrainingLog,
    started: float,
) -> None:
    """Writes the results: tables, metrics, the metric lines for a tuner, and the report; and adds to the artifact what
    it is whole without: the graph, warnings of unusual images, which map explains an answer.

    `summary` is what the artifact was saved with; what takes longer is added to it here. `started` is when the job
    began, by `time.monotonic`.

    The order is from certain to risky: the out-of-fold rows and metrics are written before the test set is
    predicted. Raises PlatformError where the disk refuses.
    """
    job, config, labelled = setup.run.job, setup.config, checked.task.labelled
    folder, results, served = job.output_dir, networks.judged, networks.served
    make_folder(folder)
    write_csv(folder / "history.csv", pd.DataFrame(networks.history or {name: [] for name in OF_NO_EPOCH}))
    write_csv(folder / "oof.csv", out_of_fold_rows(labelled, results, decisions))
    with timed_step(log, "evaluate"):
        evaluation = evaluate_held_out(checked, results, decisions, config)
    add_to_summary(summary, evaluation, checked, decisions, config, folder=folder)
    write_summary(folder, summary)
    overall, judged_SK = summary["overall"], decisions.judged_SK
    valid_S = ~np.isnan(judged_SK[:, 0])
    curves = curves_of(labelled.target, labelled.targets_SK[valid_S], judged_SK[valid_S])
    training_log.out_of_fold(numbers_for_the_log(overall, labelled, decisions.raw_SK), curves)
    log_doubts(summary, checked)

    # The graph, by which a CPU computes what follows two to four times as fast.
    by_torch = predictor
    if config.export_graph:
        with setup.run.step("exporting the graph", remedy="set export_graph=false"):
            predictor = save_graph(job.model_dir, predictor, setup, served, stop=job.stop, num_cores=job.host_cores)

    # The calibration of all networks together, the warnings of unusual pictures, and the report.
    calibration = decisions.calibration
    if calibration is not None:
        comparing = setup.run.step("comparing the networks", remedy="lower batch_size_predict")
        with comparing, timed_step(log, "compare_networks"):
            calibration = with_disagreement(calibration, predictor, setup, served)
        overall["calibration"]["variance_share_between_networks"] = share = calibration.pooling.disagreement
        log.info("calibration=%s variance_share_between_networks=%.3f", calibration.calibrator.method, share)
        write_summary(folder, summary)
    sets = evaluation["uncertainty"].get("sets")
    predictor = save_later(job.model_dir, predictor, summary, calibration=calibration, prediction_sets=sets)
    with timed_step(log, "safeguards"):
        predictor = save_safeguards(setup, predictor, served, labelled.table.group_or_row_S, checked.measures)
    with timed_step(log, "reference"):
        predictor = save_reference(setup, predictor, decisions.kept_SK, checked.measures)
    with timed_step(log, "report"):
        reporter = Reporter(
            setup, checked, networks, decisions=decisions, evaluation=evaluation, summary=summary, started=started
        )
        reporter.write(predictor)
    if checked.test is not None:
        probs_SK, summary["test"] = predict_test(setup, predictor, checked.test, checked.task)
        write_summary(folder, summary)
        reporter.add_test(checked.test, probs_SK)
    if config.explain:
        with setup.run.step("choosing a map that explains predictions", remedy="set explain=false"):
            job_s = time.monotonic() - started
            by_torch = by_torch.with_record(predictor.manifest, predictor.model)  # a graph gives no gradients
            by_torch = save_explanation(job.model_dir, by_torch, predictor, setup, served, job_s=job_s, stop=job.stop)
            predictor = predictor.with_record(by_torch.manifest, by_torch.model)
        with timed_step(log, "maps"):
            reporter.add_maps(by_torch)
    if config.explain or checked.test is not None:
        reporter.write(predictor)


def evaluate_held_out(
    checked: Checked[Task], results: Sequence[FoldResult], decisions: Decisions, config: ClassifyConfig
) -> dict[str, Any]:
    """What is said of the held-out rows, by fold and by subgroup too."""
    labelled = checked.task.labelled
    parts = {"fold": fold_of_rows(results, len(labelled.table))} if len(results) > 1 else {}
    columns = subgroup_columns(labelled, checked.measures)
    found = evaluate(held_out_answers(labelled, decisions, config), parts=parts, subgroups=columns)
    if checked.measures is not None and "columns" in found["subgroups"]:
        found["subgroups"]["share_of_certain_tones"] = checked.measures.share_of_certain_tones
    return found


def add_to_summary(
    summary: Summary,
    evaluation: Mapping[str, Any],
    checked: Checked[Task],
    decisions: Decisions,
    config: ClassifyConfig,
    *,
    folder: Path,
) -> None:
    """Adds intervals, shortcuts and the scores of slides, which slides.csv holds too."""
    summary["overall"]["interval_95"] = intervals_of(evaluation["judged"])
    summary["shortcuts"] = {"roc_auc": checked.shortcuts}
    if config.slide_score != "none":
        summary["slides"], slides = judge_slides(checked.task.labelled, decisions.judged_SK, config, decisions.raw_SK)
        write_csv(folder / "slides.csv", slides)
        values = " ".join(f"{name}={value:.4f}" for name, value in summary["slides"]["metrics"].items())
        log.info("slides=%d score=%s %s", len(slides), config.slide_score, values)


def log_doubts(summary: Summary, checked: Checked[Task]) -> None:
    """What must be known before the metrics are believed."""
    if (shared := summary.get("groups_on_both_sides", {})).get("groups"):
        log.warning(
            "%d %s with %d rows were in training and in validation of a fold: the metrics look better than on new %s",
            shared["groups"],
            summary["unit"] if shared["groups"] == 1 else plural_of(summary["unit"]),
            shared["rows"],
            plural_of(summary["unit"]),
        )
    if "all" in checked.shortcuts and "roc_auc" in summary["mean_of_folds"]:
        log.info(
            "shortcuts: size, border and mean colour alone reach a ROC AUC of %.4f, the network %.4f",
            checked.shortcuts["all"],
            summary["mean_of_folds"]["roc_auc"],
        )


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
    prevalence = config.deployment_prevalence
    judged = judge_test(Answers(labelled, at_rows_SK, is_positive_SQ, probs_SK, thresholds_Q, prevalence))
    if config.slide_score != "none" and table.group_S is not None:
        judged["slides"], slides = judge_slides(labelled, at_rows_SK, config)
        write_csv(folder / "slides_test.csv", slides)
    for name, value in numbers_for_the_log(judged, labelled, at_rows_SK).items():
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
