"""Train: from a job to an artifact and its results. The file to read first: the steps of training, in their order."""

# K outputs · M metadata features · S samples

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lesion.algorithms.classify.algorithm import METRIC_LINES
from lesion.algorithms.classify.batch_size import with_batch_size
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.deal import cores_of_fold, deal
from lesion.algorithms.classify.ensemble import Ensemble
from lesion.algorithms.classify.fold import curves_of, run_fold
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.once import check_once
from lesion.algorithms.classify.predict import predict_source
from lesion.algorithms.classify.results import (
    METRICS,
    Summary,
    judge_slides,
    judge_test,
    summarise,
    write_csv,
    write_results,
    write_submission,
)
from lesion.algorithms.classify.save import save_artifact, save_graph
from lesion.algorithms.classify.settle import Checked
from lesion.algorithms.classify.sources import open_sources
from lesion.algorithms.classify.start import Shared, backbone_features
from lesion.artifact import MANIFEST
from lesion.data.cache import Cache
from lesion.data.folds import Folds
from lesion.data.labels import Labelled, Labels
from lesion.data.table import SampleTable, Source
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.device import Precision, limit_threads, pick_device, pick_precision
from lesion.engine.distributed import JobProcesses, join_job_processes
from lesion.engine.training_log import Machine, TrainingLog
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable
from lesion.job import Job
from lesion.models.backbone import create_backbone, num_features, pretrained_config
from lesion.models.weights import load_backbone_weights, pretrained_weights

log = logging.getLogger(__name__)


def train(job: Job, config: ClassifyConfig) -> None:
    """Cross-validates, and leaves the artifact in `job.model_dir` and the results in `job.output_dir`.

    Each process trains its share of the folds, or of each batch; the first gathers and writes. A job that was killed
    goes on from `job.checkpoint_dir`. Raises UserError for whatever the user can mend, and before the first batch for
    all that can be known by then.
    """
    shared_dir = job.shared_dir if len(job.hosts) == 1 else None
    with (
        join_job_processes(
            job.process_names, job.process_index, job.stop, address=job.hosts[0], shared_dir=shared_dir
        ) as processes,
        Cache(job.cache_dir, preprocess_for(config), is_wanted=config.cache == "auto") as cache,
    ):
        try:
            ensure_writable(job.model_dir / MANIFEST)
            ensure_writable(job.output_dir / METRICS)
            cross_validate(job, config, processes, cache)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the GPU's memory does not hold a step: {str(error).split('. ')[0]}",
                where=f"image_size={config.image_size} batch_size_train={config.batch_size_train} "
                f"batch_size_predict={config.batch_size_predict}",
                do="Lower one of them, or raise gradient_accumulation.",
                kind="memory",
            ) from error
        except RuntimeError as error:
            if "can't allocate memory" in str(error):  # torch's word for it on a CPU
                raise MemoryError(str(error)) from error
            raise


def cross_validate(job: Job, config: ClassifyConfig, processes: JobProcesses, cache: Cache) -> None:
    """The steps of training, in their order."""
    log.info("config %s", json.dumps(config.as_json(), sort_keys=True))
    started = time.monotonic()
    device = pick_device(config.device, process=job.process)
    precision = pick_precision(config.precision, device)
    limit_threads(job.num_cores)
    num_workers = job.num_cores if config.num_workers == "auto" else config.num_workers

    training, test = open_sources(config, job.channels)
    weights = checked_weights(config, job.channels.get("pretrained"))
    checked, pictures = check_once(
        config, training, test, job, cache, is_leader=processes.is_leader, num_workers=num_workers
    )
    labelled, held_FS = checked.labelled, checked.held_FS
    table = labelled.table
    log_start(labelled, held_FS, device, precision, num_workers)
    preprocess = preprocess_for(config)
    config = with_batch_size(config, labelled.target, preprocess, device, precision, agree=processes.minimum)
    data_parallel, folds = deal(config, held_FS, job, processes, device)

    shared = Shared(
        config=config,
        source=checked.training,
        pictures=pictures,
        targets_SK=labelled.targets_SK,
        metadata_rows=table.metadata_rows(),
        metadata_kinds=checked.kinds,
        preprocess=preprocess,
        target=labelled.target,
        weights=weights,
        device=device,
        precision=precision,
        num_workers=num_workers,
        data_parallel=data_parallel,
    )
    checkpoints = Checkpoints(
        job.checkpoint_dir,
        fingerprint(config, precision, table, held_FS, weights),
        job.stop,
        interval_s=config.checkpoint_interval_s,
        on_foreign=config.on_foreign_checkpoint,
        data_parallel=data_parallel,
        sets_aside=job.process == 0,
    )
    features_VSD = backbone_features(shared, processes.as_group())
    training_log = TrainingLog(
        job.tensorboard_dir if data_parallel.is_first else None,
        folds=[fold for fold, _ in folds],
        num_epochs=config.epochs,
        metric_lines=METRIC_LINES,
        machine=Machine(device, num_workers, job.num_cores),
    )
    results: list[FoldResult] = []
    written: Written | None = None
    try:
        num_pictures = config.epochs * len(table) * len(folds)
        with checkpoints, tqdm(total=num_pictures, unit="picture", disable=not job.show_progress) as bar:
            for fold, held_S in folds:
                if data_parallel.size == 1:
                    limit_threads(cores_of_fold(fold, len(held_FS), job))
                results.append(
                    run_fold(
                        fold,
                        held_S,
                        shared,
                        features_VSD,
                        checkpoints,
                        stop=job.stop,
                        bar=bar,
                        training_log=training_log,
                    )
                )
        contents = processes.gather([result.state().to_bytes() for result in results] if data_parallel.is_first else [])
        results = (
            sorted(map(FoldResult.of_bytes, contents), key=lambda result: result.fold) if processes.is_leader else []
        )
        if processes.is_leader:
            with job.stop.held():  # a job that is told to stop here ends with a whole artifact
                written = write_artifact(job, shared, results, labelled)
    except KeyboardInterrupt:  # a spot instance that is taken back, a stopped job, or its time is over
        with job.stop.held():
            if processes.is_leader and written is None and (done := finished(results, folds, checkpoints)):
                write_artifact(job, shared, done, labelled)
                log.info("stopped: the artifact holds %d of the folds; the same job would go on from here", len(done))
        raise
    if written is not None:
        write_results_of(job, shared, results, written, checked=checked, training_log=training_log)
        log.info("artifact=%s folds=%d minutes=%.1f", job.model_dir, len(results), (time.monotonic() - started) / 60)
    processes.finish()
    checkpoints.clear()


def finished(
    results: Sequence[FoldResult], folds: Sequence[tuple[int, Any]], checkpoints: Checkpoints
) -> list[FoldResult]:
    """The folds of this process that are finished: a stop may come between a fold's last state and its result here."""
    known = {result.fold: result for result in results}
    for fold, _ in folds:
        if fold not in known and (state := checkpoints.load_own(f"fold_{fold}")):
            known[fold] = FoldResult.of_state(state)
    return [known[fold] for fold in sorted(known)]


@dataclass(frozen=True)
class Written:
    """A whole artifact, and what is known of its folds."""

    predictor: Ensemble
    summary: Summary
    probs_SK: NDArray[np.float32]


def write_artifact(job: Job, shared: Shared, results: Sequence[FoldResult], labelled: Labelled) -> Written:
    """The artifact, read back before anyone believes it."""
    summary, probs_SK = summarise(results, labelled)
    return Written(save_artifact(job.model_dir, shared, labelled.table, results, summary), summary, probs_SK)


def write_results_of(
    job: Job,
    shared: Shared,
    results: Sequence[FoldResult],
    written: Written,
    *,
    checked: Checked,
    training_log: TrainingLog,
) -> None:
    """What lies beside the artifact, the lines that a tuner reads, and last the artifact's graph."""
    labelled, predictor, probs_SK = checked.labelled, written.predictor, written.probs_SK
    summary = dict(written.summary)
    summary["shortcuts"] = {"roc_auc": checked.shortcuts}
    if shared.config.slide_score != "none":
        summary["slides"], slides = judge_slides(labelled, probs_SK, shared.config)
        write_csv(job.output_dir / "slides.csv", slides)
        log.info("slides=%d score=%s %s", len(slides), shared.config.slide_score, summary["slides"]["metrics"])
    if checked.test is not None:
        summary["test"] = predict_test(job, shared, predictor, checked.test, checked.labels)
    write_results(
        job.output_dir,
        labelled,
        results,
        probs_SK=probs_SK,
        summary=summary,
        read=lambda row: shared.preprocess(shared.source.read(row)),
    )
    if "all" in checked.shortcuts and "roc_auc" in summary["overall"]["metrics"]:
        log.info(
            "shortcuts: size, border and mean colour alone reach a ROC AUC of %.4f, the network %.4f",
            checked.shortcuts["all"],
            summary["overall"]["metrics"]["roc_auc"],
        )
    held_S = ~np.isnan(probs_SK[:, 0])
    training_log.out_of_fold(
        summary["overall"]["metrics"], curves_of(labelled.target, labelled.targets_SK[held_S], probs_SK[held_S])
    )
    if shared.config.export_graph:
        save_graph(job.model_dir, predictor, shared, results, stop=job.stop, num_cores=job.num_cores)


def predict_test(job: Job, shared: Shared, predictor: Ensemble, test: Source, labels: Labels) -> dict[str, Any] | None:
    """Writes submission.csv; the metrics of the whole ensemble where the test set says what is true."""
    table, config = test.table(), shared.config
    probs_SK = predict_source(
        predictor,
        test,
        table.metadata_rows(),
        batch_size=config.batch_size_predict,
        num_workers=shared.num_workers,
        on_error=fail,
    )
    write_submission(job.output_dir / "submission.csv", table, probs_SK, labels.target, config.target_column)
    if table.targets is None:
        return None
    labelled = Labelled(table, labels.target, labels.encode(table))
    judged = judge_test(labelled, probs_SK)
    if config.slide_score != "none" and table.group_S is not None:
        judged["slides"], slides = judge_slides(labelled, probs_SK, config)
        write_csv(job.output_dir / "slides_test.csv", slides)
    for name, value in judged["metrics"].items():
        log.info(METRIC_LINES[f"test:{name}"].line(value))
    return judged


def fingerprint(
    config: ClassifyConfig,
    precision: Precision,
    table: SampleTable,
    held_FS: Folds,
    weights: Mapping[str, Tensor] | None,
) -> dict[str, Any]:
    """What a checkpoint must share with a job to be gone on from: all that could change a weight."""
    settings = config.that_affect("weights")
    packages = (
        *("lesion", "torch", "timm", "numpy", "scipy", "scikit-learn"),
        *("albumentations", "opencv-python-headless", "pillow"),
    )
    versions = {package: importlib.metadata.version(package) for package in packages}
    rows = hashlib.sha256(table.fingerprint().encode() + held_FS.tobytes()).hexdigest()
    start = hashlib.sha256()
    for name, tensor in sorted((weights or {}).items()):
        start.update(name.encode() + tensor.numpy().tobytes())
    return {**settings, **versions, "precision": precision, "data": rows, "weights": start.hexdigest()}


def checked_weights(config: ClassifyConfig, channel: Path | None) -> Mapping[str, Tensor] | None:
    """The starting weights, known to fit the network, which takes pictures of this size; None starts from noise."""
    backbone = create_backbone(config.model, config.model_args)
    num_features(backbone, config.image_size)
    weights = pretrained_weights(config.model, config.model_args, config.pretrained, channel)
    if weights is not None:
        load_backbone_weights(
            backbone,
            config.model,
            weights,
            where=config.pretrained if config.pretrained is not True else "pretrained weights",
        )
    return weights


def preprocess_for(config: ClassifyConfig) -> Preprocess:
    """The image size the user chose, and the mean and deviation that the user or else timm states for the weights."""
    stated = pretrained_config(config.model)
    mean = config.image_mean or stated.get("mean") or (0.5, 0.5, 0.5)
    std = config.image_std or stated.get("std") or (0.5, 0.5, 0.5)
    return Preprocess(config.image_size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def log_start(labelled: Labelled, held_FS: Folds, device: torch.device, precision: Precision, num_workers: int) -> None:
    """What was chosen and why the folds can be trusted: the question, device, workers, and what each fold holds."""
    target = labelled.target
    asked = "" if target.of_interest is None else f" of_interest={target.of_interest}"
    log.info("task=%s outputs=%d classes=%s%s", target.kind, target.num_outputs, "|".join(target.class_names), asked)
    log.info(
        "device=%s precision=%s torch=%s workers=%d threads=%d",
        device,
        precision,
        torch.__version__,
        num_workers,
        torch.get_num_threads(),
    )
    for fold, held_S in enumerate(held_FS):
        counts = labelled.counts(held_S)
        groups = f" groups={counts['num_groups']}" if "num_groups" in counts else ""
        classes = " ".join(f"{name}={count}" for name, count in counts["classes"].items())
        log.info("fold=%d rows=%d%s %s", fold, counts["num_rows"], groups, classes)


def fail(index: int, error: LesionError) -> None:  # noqa: ARG001
    """A test picture that could be read before training and no more: tell it as it is."""
    raise error
