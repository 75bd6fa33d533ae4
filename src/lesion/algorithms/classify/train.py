"""Train: from a job to an artifact and its results. The file to read first: the steps of training, in their order."""

# K outputs · M metadata features · S samples

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from lesion.algorithms.base import Job
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.fold import Shared, run_fold
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.predict import ClassifyPredictor, predict_source
from lesion.algorithms.classify.record import save_artifact
from lesion.algorithms.classify.results import judge_test, summarise, write_results, write_submission
from lesion.algorithms.classify.sources import open_sources
from lesion.data.check import check_pictures
from lesion.data.folds import Folds, assign_folds, check_folds, folds_from_column
from lesion.data.labels import Labelled, Labels, read_labels
from lesion.data.metadata import Kind, MetadataEncoder, column_kinds
from lesion.data.table import SampleTable, Source
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.device import limit_threads, pick_device
from lesion.engine.peers import Peers, join_peers
from lesion.errors import UserError
from lesion.metrics import METRICS, REPORTED
from lesion.models.backbone import create_backbone, pretrained_config
from lesion.models.weights import load_weights, starting_weights

log = logging.getLogger(__name__)


def train(job: Job, config: ClassifyConfig) -> None:
    """Cross-validates, and leaves the artifact in `job.model_dir` and the results in `job.output_dir`.

    Each host trains its share of the folds; the first gathers and writes. A job that was killed goes on from
    `job.checkpoint_dir`. Raises UserError for whatever the user can mend, and before the first batch for all that can
    be known by then.
    """
    with join_peers(job.hosts, job.rank, job.stop) as peers:
        cross_validate(job, config, peers)


def cross_validate(job: Job, config: ClassifyConfig, peers: Peers) -> None:
    """The steps of training, in their order."""
    log.info("config %s", json.dumps(config.as_json(), sort_keys=True))
    started = time.monotonic()
    device = pick_device(config.device)
    limit_threads(job.num_cores)
    num_workers = job.num_cores if config.num_workers == "auto" else config.num_workers

    training, test = open_sources(config, job.channels)
    weights = checked_weights(config, job.channels.get("pretrained"))
    training = check_pictures(training, policy=config.on_bad_image, num_workers=num_workers, what="training")
    if test is not None:
        test = check_pictures(test, policy=config.on_bad_image, num_workers=num_workers, what="test")
    table = training.table()
    labels = read_labels(table, output_size=config.output_size, of_interest=config.target_of_interest)
    labelled = Labelled(table, labels.target, labels.encode(table))
    held_FS = choose_folds(labelled, config)
    log_start(labelled, held_FS, device, num_workers)

    rows = table.metadata_rows()
    kinds = checked_kinds(table, config)
    if test is not None:  # a test row that cannot be encoded is told now, not when all folds are trained
        MetadataEncoder.fit(rows, kinds, logs=config.log_columns).encode(test.table().metadata_rows())
        if test.table().targets is not None:
            labels.encode(test.table())
    shared = Shared(
        config=config,
        source=training,
        targets_SK=labelled.targets_SK,
        metadata_rows=rows,
        metadata_kinds=kinds,
        preprocess=preprocess_for(config),
        target=labels.target,
        weights=weights,
        device=device,
        num_workers=num_workers,
    )
    checkpoints = Checkpoints(job.checkpoint_dir, fingerprint(config, table, held_FS), job.stop)
    folds = peers.share(list(enumerate(held_FS)))
    results: list[FoldResult] = []
    try:
        with tqdm(total=config.epochs * len(table) * len(folds), unit="picture", disable=not job.show_progress) as bar:
            for fold, held_S in folds:
                results.append(run_fold(fold, held_S, shared, checkpoints, stop=job.stop, bar=bar))
        contents = peers.gather([result.state().to_bytes() for result in results])
        results = sorted(map(FoldResult.of_bytes, contents), key=lambda result: result.fold) if peers.is_leader else []
    except KeyboardInterrupt:  # a spot instance that is taken back, a stopped job, or its time is over
        if results and peers.is_leader:
            save_artifact(job.model_dir, shared, table, results, summarise(results, labelled)[0])
            log.info("stopped: the artifact holds %d of the folds; the same job would go on from here", len(results))
        raise
    if peers.is_leader:
        write_all(job, shared, results, labelled=labelled, labels=labels, test=test)
        log.info("artifact=%s folds=%d minutes=%.1f", job.model_dir, len(results), (time.monotonic() - started) / 60)
    peers.finish()
    checkpoints.clear()


def write_all(
    job: Job, shared: Shared, results: Sequence[FoldResult], *, labelled: Labelled, labels: Labels, test: Source | None
) -> None:
    """The artifact, read back before anyone believes it; then the results, and last the lines that a tuner reads."""
    summary, probs_SK = summarise(results, labelled)
    predictor = save_artifact(job.model_dir, shared, labelled.table, results, summary)
    if test is not None:
        summary["test"] = predict_test(job, shared, predictor, test, labels)
    write_results(
        job.output_dir,
        labelled,
        results,
        probs_SK=probs_SK,
        summary=summary,
        read=lambda row: shared.preprocess(shared.source.read(row)),
    )
    for name, value in summary["overall"]["metrics"].items():
        log.info(REPORTED[f"validation:{name}"].line(value))


def predict_test(
    job: Job, shared: Shared, predictor: ClassifyPredictor, test: Source, labels: Labels
) -> dict[str, Any] | None:
    """Writes submission.csv; the metrics of the whole ensemble where the test set says what is true."""
    table, config = test.table(), shared.config
    probs_SK = predict_source(
        predictor,
        test,
        table.metadata_rows(),
        batch_size=config.batch_size_test,
        num_workers=shared.num_workers,
        on_error=fail,
    )
    write_submission(job.output_dir / "submission.csv", table, probs_SK, labels.target, config.target_column)
    if table.targets is None:
        return None
    judged = judge_test(Labelled(table, labels.target, labels.encode(table)), probs_SK)
    for name, value in judged["metrics"].items():
        log.info(REPORTED[f"test:{name}"].line(value))
    return judged


def fingerprint(config: ClassifyConfig, table: SampleTable, held_FS: Folds) -> dict[str, Any]:
    """What a checkpoint must share with a job to be gone on from: all that could change a weight."""
    settings = {name: value for name, value in config.as_json().items() if name not in {"device", "num_workers"}}
    versions = {package: importlib.metadata.version(package) for package in ("lesion", "torch", "timm")}
    rows = hashlib.sha256(table.fingerprint().encode() + held_FS.tobytes()).hexdigest()
    return {**settings, **versions, "data": rows}


def checked_weights(config: ClassifyConfig, channel: Path | None) -> Mapping[str, Tensor] | None:
    """The starting weights, known to fit the network; None starts from noise."""
    backbone = create_backbone(config.model, config.model_args)
    weights = starting_weights(config.model, config.model_args, config.pretrained, channel)
    if weights is not None:
        load_weights(
            backbone,
            config.model,
            weights,
            where=config.pretrained if config.pretrained is not True else "pretrained weights",
        )
    return weights


def choose_folds(labelled: Labelled, config: ClassifyConfig) -> Folds:
    """What each fold holds out, by the user's splitter or column; a validation channel's rows are the one fold there
    is."""
    table, target, targets_SK = labelled.table, labelled.target, labelled.targets_SK
    if table.is_held_S is not None:
        held_FS: Folds = table.is_held_S[None]
    elif table.fold_S is not None:
        held_FS = folds_from_column(table.fold_S)
    else:
        held_FS = assign_folds(
            table.group_S,
            target.class_of(targets_SK),
            config.folds,
            seed=config.seed,
            split=config.split,
            repeats=config.repeats,
            name_S=table.name_S,
        )
    are_groups_kept = config.split not in {"kfold", "stratified_kfold"}
    judged = target.judged(targets_SK) if METRICS[config.metric].needs_both else {}
    check_folds(held_FS, target.classes(targets_SK), judged, table.group_S if are_groups_kept else None)
    return held_FS


def checked_kinds(table: SampleTable, config: ClassifyConfig) -> dict[str, Kind]:
    """What each metadata column holds. Raises UserError where a logarithm is asked of what holds no numbers."""
    kinds = column_kinds(table.metadata_rows(), list(table.metadata.columns))
    if wrong := [name for name in config.log_columns if kinds.get(name) != "number"]:
        raise UserError(
            f"log_columns={wrong[0]} is not a metadata column of numbers",
            where=f"{table.where}: {kinds}",
            do="Take it out, or add the column to metadata_columns.",
            kind="hyperparameters",
        )
    return kinds


def preprocess_for(config: ClassifyConfig) -> Preprocess:
    """The image size the user chose, and the mean and deviation that the user or else timm states for the weights."""
    stated = pretrained_config(config.model)
    mean = config.image_mean or stated.get("mean") or (0.5, 0.5, 0.5)
    std = config.image_std or stated.get("std") or (0.5, 0.5, 0.5)
    return Preprocess(config.image_size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def log_start(labelled: Labelled, held_FS: Folds, device: torch.device, num_workers: int) -> None:
    """What was chosen and why the folds can be trusted: the question, device, workers, and what each fold holds."""
    target = labelled.target
    asked = "" if target.of_interest is None else f" of_interest={target.of_interest}"
    log.info("task=%s outputs=%d classes=%s%s", target.kind, target.num_outputs, "|".join(target.class_names), asked)
    log.info(
        "device=%s torch=%s workers=%d threads=%d", device, torch.__version__, num_workers, torch.get_num_threads()
    )
    for fold, held_S in enumerate(held_FS):
        counts = labelled.counts(held_S)
        groups = f" groups={counts['num_groups']}" if "num_groups" in counts else ""
        classes = " ".join(f"{name}={count}" for name, count in counts["classes"].items())
        log.info("fold=%d rows=%d%s %s", fold, counts["num_rows"], groups, classes)


def fail(index: int, error: UserError) -> None:  # noqa: ARG001
    """A test picture that could be read before training and no more: tell it as it is."""
    raise error
