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

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lesion.algorithms.base import Job
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.fold import Shared, run_fold
from lesion.algorithms.classify.fold_result import FoldResult
from lesion.algorithms.classify.predict import predict_source
from lesion.algorithms.classify.record import save_artifact
from lesion.algorithms.classify.results import summarise, write_results, write_submission
from lesion.algorithms.classify.sources import open_sources
from lesion.data.check import check_pictures
from lesion.data.folds import NEVER, Folds, assign_folds, check_folds, each_fold, folds_from_column
from lesion.data.metadata import MetadataEncoder, column_kinds
from lesion.data.table import SampleTable, Source
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.device import limit_threads, pick_device
from lesion.engine.peers import Peers, join_peers
from lesion.errors import UserError
from lesion.metrics import REPORTED
from lesion.models.backbone import create_backbone, pretrained_config
from lesion.models.weights import load_weights, starting_weights
from lesion.targets import Target

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
    fold_S = choose_folds(table, config)
    log_start(table, fold_S, device, num_workers)

    rows = table.metadata_rows()
    kinds = column_kinds(rows, config.metadata_columns)
    if test is not None:  # a test row that cannot be encoded is told now, not when all folds are trained
        MetadataEncoder.fit(rows, kinds).encode(test.table().metadata_rows())
    shared = Shared(
        config=config,
        source=training,
        targets_SK=targets_of(table),
        metadata_rows=rows,
        metadata_kinds=kinds,
        preprocess=preprocess_for(config),
        target=Target("binary", table.class_names),
        weights=weights,
        device=device,
        num_workers=num_workers,
    )
    checkpoints = Checkpoints(job.checkpoint_dir, fingerprint(config, table, fold_S), job.stop)
    folds = peers.share(list(each_fold(fold_S)))
    results: list[FoldResult] = []
    try:
        with tqdm(total=config.epochs * len(table) * len(folds), unit="picture", disable=not job.show_progress) as bar:
            for fold, held_S in folds:
                results.append(run_fold(fold, held_S, shared, checkpoints, stop=job.stop, bar=bar))
        contents = peers.gather([result.state().to_bytes() for result in results])
        results = sorted(map(FoldResult.of_bytes, contents), key=lambda result: result.fold) if peers.is_leader else []
    except KeyboardInterrupt:  # a spot instance that is taken back, a stopped job, or its time is over
        if results and peers.is_leader:
            save_artifact(job.model_dir, shared, table, results, summarise(results, table, fold_S)[0])
            log.info("stopped: the artifact holds %d of the folds; the same job would go on from here", len(results))
        raise
    if peers.is_leader:
        write_all(job, shared, results, table=table, fold_S=fold_S, test=test)
        log.info("artifact=%s folds=%d minutes=%.1f", job.model_dir, len(results), (time.monotonic() - started) / 60)
    peers.finish()
    checkpoints.clear()


def write_all(
    job: Job, shared: Shared, results: Sequence[FoldResult], *, table: SampleTable, fold_S: Folds, test: Source | None
) -> None:
    """The artifact, read back before anyone believes it; then the results, and last the lines that a tuner reads."""
    summary, prob_S = summarise(results, table, fold_S)
    predictor = save_artifact(job.model_dir, shared, table, results, summary)
    write_results(
        job.output_dir,
        table=table,
        fold_S=fold_S,
        prob_S=prob_S,
        results=results,
        summary=summary,
        read=lambda row: shared.preprocess(shared.source.read(row)),
    )
    if test is not None:
        probs_SK = predict_source(
            predictor,
            test,
            test.table().metadata_rows(),
            batch_size=shared.config.batch_size_test,
            num_workers=shared.num_workers,
            on_error=fail,
        )
        write_submission(job.output_dir / "submission.csv", test.table(), probs_SK, shared.config.target_column)
    for name, value in summary["overall"]["metrics"].items():
        log.info(REPORTED[f"validation:{name}"].line(value))


def fingerprint(config: ClassifyConfig, table: SampleTable, fold_S: Folds) -> dict[str, Any]:
    """What a checkpoint must share with a job to be gone on from: all that could change a weight."""
    settings = {name: value for name, value in config.as_json().items() if name not in {"device", "num_workers"}}
    versions = {package: importlib.metadata.version(package) for package in ("lesion", "torch", "timm")}
    rows = hashlib.sha256(table.fingerprint().encode() + fold_S.astype(np.int64).tobytes()).hexdigest()
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


def choose_folds(table: SampleTable, config: ClassifyConfig) -> Folds:
    """Each row's fold, by the user's splitter or column; a validation channel's rows are the one fold there is."""
    assert table.target_S is not None
    fold_S: Folds
    if table.is_held_S is not None:
        fold_S = np.where(table.is_held_S, 0, NEVER)
    elif table.fold_S is not None:
        fold_S = folds_from_column(table.fold_S)
    else:
        fold_S = assign_folds(
            table.group_S, table.target_S, config.folds, seed=config.seed, split=config.split, name_S=table.name_S
        )
    are_groups_kept = config.split not in {"kfold", "stratified_kfold"}
    check_folds(fold_S, table.target_S, table.group_S if are_groups_kept else None)
    return fold_S


def preprocess_for(config: ClassifyConfig) -> Preprocess:
    """The image size the user chose, and the mean and deviation that the user or else timm states for the weights."""
    stated = pretrained_config(config.model)
    mean = config.image_mean or stated.get("mean") or (0.5, 0.5, 0.5)
    std = config.image_std or stated.get("std") or (0.5, 0.5, 0.5)
    return Preprocess(config.image_size, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def targets_of(table: SampleTable) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    assert table.target_S is not None  # a training table without targets was refused when it was read
    return table.target_S.reshape(-1, 1)


def log_start(table: SampleTable, fold_S: Folds, device: torch.device, num_workers: int) -> None:
    """What was chosen and why the folds can be trusted: device, workers, rows, groups and positives of each fold."""
    assert table.target_S is not None
    log.info(
        "device=%s torch=%s workers=%d threads=%d", device, torch.__version__, num_workers, torch.get_num_threads()
    )
    for fold, held_S in each_fold(fold_S):
        groups = "" if table.group_S is None else f" groups={len(np.unique(table.group_S[held_S]))}"
        log.info("fold=%d rows=%d positives=%d%s", fold, held_S.sum(), int(table.target_S[held_S].sum()), groups)


def fail(index: int, error: UserError) -> None:  # noqa: ARG001
    """A test picture that could be read before training and no more: tell it as it is."""
    raise error
