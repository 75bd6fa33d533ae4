"""Train: from a job to an artifact and its results. The file to read first: the steps of training, in their order."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.algorithms.classify.results.decide import Decisions, decide
from lesion.algorithms.classify.results.summary import Summary, summarise
from lesion.algorithms.classify.results.write import METRICS, write_results
from lesion.algorithms.classify.save import save_artifact
from lesion.algorithms.classify.task import Task, questions
from lesion.algorithms.classify.training.backbone_features import backbone_features
from lesion.algorithms.classify.training.fold import run_fold
from lesion.algorithms.classify.training.fold_result import FoldResult
from lesion.algorithms.classify.training.networks import Networks
from lesion.algorithms.classify.training.parallel import cores_of_fold, plan_parallelism
from lesion.algorithms.classify.training.refit import refit
from lesion.algorithms.classify.training.setup import (
    BATCH_SIZE,
    Setup,
    digests,
    fingerprint,
    settings_and_versions,
    with_batch_size,
)
from lesion.algorithms.classify.training.soup import soup
from lesion.artifact import MANIFEST
from lesion.check.outcome import forget
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints, own_code
from lesion.engine.run import Run, open_run
from lesion.engine.training_log import TrainingLog
from lesion.job import Job
from lesion.logs import timed_step
from lesion.models.starting_weights import preprocess_for, pretrained_backbone

log = logging.getLogger(__name__)

LESS_MEMORY = "lower batch_size_train or image_size, or raise gradient_accumulation"


def train(job: Job, config: ClassifyConfig) -> None:
    """Cross-validates, and leaves the artifact in `job.model_dir` and the results in `job.output_dir`.

    Each process trains its share of the folds, or of each batch; the first gathers the results and writes. A killed
    job resumes from `job.checkpoint_dir`. Raises UserError for what the user can correct, and before the first batch
    for all that can be known by then.
    """
    writes = [job.model_dir / MANIFEST, job.output_dir / METRICS]
    preprocess = preprocess_for(config)
    with open_run(job, config, preprocess, writes=writes) as run:
        cross_validate(run, config, preprocess)


def cross_validate(run: Run, config: ClassifyConfig, preprocess: Preprocess) -> None:
    """The steps of training, in their order."""
    log.info("config %s", json.dumps(config.as_json(), sort_keys=True))
    log.info("image_size=%d fit=%s flips=%s views=%d", config.image_size, config.fit, config.flips, config.tta)
    job, started = run.job, time.monotonic()

    known = {**settings_and_versions(config, run), "code": own_code()}
    decided = {name: value for name, value in known.items() if (name, value) != (BATCH_SIZE, "auto")}
    run.refuse_foreign_checkpoints(decided)

    # What is trained on: starting weights that fit, and data that was checked.
    starting_weights = cache(partial(pretrained_backbone, config, job.channels.get("pretrained")))
    checked, pictures = run.check(
        questions(config, check_settings=lambda: starting_weights().remarks), fingerprint=known
    )
    weights, task = starting_weights(), checked.task
    log_start(task, run)

    # How: by which processes, in what batches, from which checkpoints.
    config = with_batch_size(
        config,
        task.labelled.target,
        preprocess,
        run,
        known=lambda: decided | digests(checked.training.table(), task.valid_FS, weights.tensors),
    )
    data_parallel, folds = plan_parallelism(config, task, run)
    setup = Setup(
        run=run,
        config=config,
        source=checked.training,
        pictures=pictures,
        targets_SK=task.labelled.targets_SK,
        metadata_rows=task.labelled.table.metadata_rows(),
        metadata_kinds=task.kinds,
        preprocess=preprocess,
        target=task.labelled.target,
        weights=weights.tensors,
        weights_file=weights.file,
        data_parallel=data_parallel,
        held_back_S=task.held_back_S,
    )
    checkpoints = run.checkpoints(fingerprint(setup, task.valid_FS), data_parallel)
    training_log = TrainingLog(
        job.tensorboard_dir if data_parallel.is_first else None,
        folds=[fold for fold, _ in folds],
        num_epochs=config.epochs,
        metric_lines=METRIC_LINES,
        machine=run.machine,
    )

    # Every fold, then all of them, or one network that follows from them, as one artifact; of a job that is stopped,
    # the folds that are finished.
    results: list[FoldResult] = []
    predictor = None
    try:
        with run.step("computing the features for the linear probe", remedy="lower batch_size_predict"):
            features_VSD = backbone_features(setup)
        with checkpoints, run.progress(config.epochs * len(task.labelled.table) * len(folds)) as bar:
            for fold, valid_S in folds:
                if data_parallel.size == 1:
                    run.take_cores(cores_of_fold(fold, len(task.trained_FS), job))
                with run.step(f"training fold {fold}", remedy=LESS_MEMORY):
                    results.append(
                        run_fold(fold, valid_S, setup, features_VSD, checkpoints, bar=bar, training_log=training_log)
                    )
            results = gather(results, setup) or results
            if run.processes.is_leader and data_parallel.size == 1:
                run.take_cores(job.host_cores)  # the other processes only wait from here on
            networks = final_networks(results, setup, features_VSD, checkpoints, bar=bar)
        if run.processes.is_leader:
            with job.stop.held():  # a job that is stopped here ends with a whole artifact
                with timed_step(log, "decide"):
                    decisions, summary = judge(networks, task, setup)
                predictor = save_artifact(job.model_dir, setup, networks, decisions, summary)
    except KeyboardInterrupt:  # a spot instance that is taken back, a stopped job, or its time is over
        with job.stop.held():
            if run.processes.is_leader and predictor is None and (done := finished(results, task, setup, checkpoints)):
                networks = Networks.ensemble(done)
                save_artifact(job.model_dir, setup, networks, *judge(networks, task, setup))
                log.info("stopped: the artifact holds %d of the folds; the same job resumes from here", len(done))
        raise

    # What people read of it. The artifact is whole before, and a job that fails from here on has lost no fold.
    if predictor is not None:
        write_results(
            setup,
            checked,
            networks,
            predictor,
            decisions=decisions,
            summary=summary,
            training_log=training_log,
            started=started,
        )
        told = (job.model_dir, networks.kind, len(results), (time.monotonic() - started) / 60)
        log.info("artifact=%s final_model=%s folds=%d minutes=%.1f", *told)
    run.processes.finish()
    checkpoints.clear()
    forget(job.checkpoint_dir)


def final_networks(
    results: Sequence[FoldResult],
    setup: Setup,
    features_VSD: NDArray[np.float32] | None,
    checkpoints: Checkpoints,
    *,
    bar: tqdm[Any],
) -> Networks:
    """What is served, by `final_model`: the folds, or one network. A refit is trained by all processes where they train
    each fold together, and else by the leader, with all of its host's cores; a soup is made by the leader."""
    run, kind = setup.run, setup.config.final_model
    takes_part = run.processes.is_leader or (kind == "refit" and setup.data_parallel.size > 1)
    if kind == "ensemble" or not takes_part:
        return Networks.ensemble(results)
    if kind == "soup":
        with run.step("averaging the folds' weights", remedy="lower batch_size_predict"):
            return Networks.soup(results, soup(results, setup))
    with run.step("training the refit", remedy=LESS_MEMORY):
        return Networks.refit(results, refit(results, setup, features_VSD, checkpoints, bar=bar))


def judge(networks: Networks, task: Task, setup: Setup) -> tuple[Decisions, Summary]:
    """What is learnt from the judged rows; their metrics, and what these are of."""
    decisions = decide(networks.judged, task.labelled, setup.config, is_refit=networks.is_refit)
    summary = summarise(networks.judged, decisions, task.labelled)
    file = setup.weights_file
    of = {"final_model": networks.as_json(), "pretrained_weights": None if file is None else file.as_json()}
    return decisions, {**summary, **of}


def gather(results: Sequence[FoldResult], setup: Setup) -> list[FoldResult]:
    """On the leader the results of all processes in the order of their folds; elsewhere none."""
    processes = setup.run.processes
    if len(processes.names) == 1:
        return list(results)
    states = [result.state().to_bytes() for result in results] if setup.data_parallel.is_first else []
    return sorted(map(FoldResult.of_bytes, processes.gather(states)), key=lambda result: result.fold)


def finished(results: Sequence[FoldResult], task: Task, setup: Setup, checkpoints: Checkpoints) -> list[FoldResult]:
    """The folds that are finished, as far as this host knows: the `results` here, and states that lie in its folder, of
    its other processes or of one that was stopped before its result was here. Those that would first have to be
    predicted again, with other settings, are left out."""
    known = {result.fold: result for result in results}
    for fold in range(len(task.trained_FS)):
        if fold not in known and (state := checkpoints.look_up(f"fold_{fold}")):
            result = FoldResult.of_state(state)
            if result.prediction_settings == setup.prediction_settings:
                known[fold] = result
    return [known[fold] for fold in sorted(known)]


def log_start(task: Task, run: Run) -> None:
    """What was chosen, and why the folds can be trusted: task type, device, workers, and what each fold holds."""
    target = task.labelled.target
    positive = "" if target.positive_class is None else f" positive_class={target.positive_class}"
    classes = "|".join(target.class_names)
    log.info("task=%s outputs=%d classes=%s%s", target.kind, target.num_outputs, classes, positive)
    log.info("%s", run.describe())
    for fold, valid_S in enumerate(task.trained_FS):
        counts = task.labelled.counts(valid_S)
        groups = f" groups={counts['num_groups']}" if "num_groups" in counts else ""
        classes = " ".join(f"{name}={count}" for name, count in counts["classes"].items())
        log.info("fold=%d rows=%d%s %s", fold, counts["num_rows"], groups, classes)
    if task.held_back_S is not None:
        log.info("held_back=%d rows, which evaluate the soup", task.held_back_S.sum())
