"""Train: from a job to an artifact and its results. The file to read first: the steps of training, in their order."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import time
from typing import Any

import numpy as np

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.decide import HeldOut, decide
from lesion.algorithms.anomaly.judge import judge_rows
from lesion.algorithms.anomaly.learner import held_out_maps, learner_of, preprocess_of
from lesion.algorithms.anomaly.masks import mask_paths, read_masks
from lesion.algorithms.anomaly.report import write_job_report
from lesion.algorithms.anomaly.results import METRICS, Results, write_results
from lesion.algorithms.anomaly.save import SCORER, save_artifact, save_graph
from lesion.algorithms.anomaly.seen import sizes_of
from lesion.algorithms.anomaly.task import AnomalyTask, questions
from lesion.artifact import MANIFEST
from lesion.check.outcome import forget
from lesion.data.unit import unit_of
from lesion.engine.checkpoint import own_code
from lesion.engine.distributed import DataParallelGroup
from lesion.engine.run import Run, open_run
from lesion.job import Job
from lesion.words import plural_of

log = logging.getLogger(__name__)

PACKAGES = ("lesion", "torch", "timm", "numpy", "opencv-python-headless", "pillow")


def train(job: Job, config: AnomalyConfig) -> None:
    """Learns what normal images look like, and leaves the artifact in `job.model_dir` and the results in
    `job.output_dir`.

    Several processes share the images; the first writes. A killed job resumes from `job.checkpoint_dir`. Raises
    UserError for what the user can correct, and before the first image for all that can be known by then.
    """
    writes = [job.model_dir / MANIFEST, job.output_dir / METRICS]
    with open_run(job, config, preprocess_of(config), writes=writes) as run:
        learn_normal(run, config)


def learn_normal(run: Run, config: AnomalyConfig) -> None:
    """The steps of training, in their order."""
    log.info("config %s", json.dumps(config.as_json(), sort_keys=True))
    job, started = run.job, time.monotonic()
    known = {**settings_and_versions(config), "code": own_code()}
    run.refuse_foreign_checkpoints(known)

    # What is learned from: a scorer that can be trained here, and data that was checked.
    learner = learner_of(config, job.channels.get("pretrained"))
    learner.refuse(run)
    checked, pictures = run.check(questions(config, job.channels, check_settings=learner.remarks), fingerprint=known)
    task, source, preprocess = checked.task, checked.training, preprocess_of(config)
    table = source.table()
    paths = mask_paths(table, config, job.channels, part="training")
    held_out = np.flatnonzero(task.valid_FS[0])
    masks = read_masks(paths, held_out[task.is_anomalous_S[held_out]].tolist(), source, preprocess)
    log_start(task, run)

    # Normal images become the scorer; the held-out ones get their distances from it.
    checkpoints = run.checkpoints(
        {
            **known,
            "data": table.fingerprint(),
            "held_out_rows": held_out.tolist(),
            "weights": learner.starting_digest(),
        },
        DataParallelGroup(),
    )
    how: dict[str, Any] = {"run": run, "checkpoints": checkpoints}
    with checkpoints:
        with run.step(f"training the {learner.name}", remedy=learner.less_memory):
            learned = np.flatnonzero(task.learned_S)
            scorer = learner.learn(pictures, learned, table.group_or_row_S[learned], **how)
        with run.step("predicting held-out images", remedy=learner.less_memory):
            maps_Shw = held_out_maps(scorer, pictures, held_out, batch_size=config.batch_size_predict, **how)

    # The threshold, judged on groups that did not choose it where others can; then the artifact, and what people read.
    if run.processes.is_leader:
        size_S2 = sizes_of(source, held_out, num_workers=run.num_workers) if preprocess.fit == "pad" else None
        rows = HeldOut(held_out, task.is_anomalous_S[held_out], table.group_or_row_S[held_out], maps_Shw, size_S2)
        decision = decide(
            rows,
            operating_point=config.operating_point,
            area=config.anomalous_area,
            pixel_specificity=config.pixel_specificity,
            seed=config.seed,
        )
        judged = judge_rows(
            rows,
            score_S=decision.score_S,
            label_S=decision.label_S,
            is_flagged_Shw=decision.is_flagged_Shw,
            masks=masks,
            scale=decision.scale,
            unit=unit_of(table),
            is_own_label_S=decision.is_own_label_S,
            is_own_flag_S=decision.is_own_flag_S,
        )
        results = Results(rows, decision, judged, num_learned=len(learned), weights_file=learner.weights_file)
        with job.stop.held():  # a job that is stopped here ends with a whole artifact
            predictor = save_artifact(
                job.model_dir,
                scorer,
                source,
                rows,
                decision,
                scorer_record=learner.record(scorer, SCORER),
                config=config,
                preprocess=preprocess,
                num_normal=len(learned),
                false_positive_rate=judged.false_positive_rate,
                pixel_false_positive_rate=judged.pixel_false_positive_rate,
                metrics=results.summary(),
                device=run.device,
            )
        tested = write_results(run, config, checked, results, predictor)
        if config.export_graph:
            save_graph(job.model_dir, predictor, source, rows, stop=job.stop, num_cores=job.num_cores)
        write_job_report(run, config, checked, results, predictor, tested=tested, masks=masks, started=started)
        log.info("artifact=%s minutes=%.1f", job.model_dir, (time.monotonic() - started) / 60)
    run.processes.finish()
    checkpoints.clear()
    forget(job.checkpoint_dir)


def settings_and_versions(config: AnomalyConfig) -> dict[str, Any]:
    """What influences memory and maps, and is known before the data is read."""
    return {**config.that_affect("weights"), **{name: importlib.metadata.version(name) for name in PACKAGES}}


def log_start(task: AnomalyTask, run: Run) -> None:
    """What was chosen: device and workers, and how many normal and anomalous rows each side holds."""
    log.info("%s", run.describe())
    units = plural_of(unit_of(task.labelled.table))
    for name, is_in_S in (("learned", task.learned_S), ("held_out", task.valid_FS[0])):
        counts = task.labelled.counts(is_in_S)
        groups = f" {units.replace(' ', '_')}={counts['num_groups']}" if "num_groups" in counts else ""
        classes = " ".join(f"{label}={count}" for label, count in counts["classes"].items())
        log.info("%s: rows=%d%s %s", name, counts["num_rows"], groups, classes)
    if num := int(task.unused_S.sum()):
        log.info("unused: rows=%d anomalous, of %s that are learned from: they neither teach nor judge", num, units)
    if not task.is_anomalous_S[task.valid_FS[0]].any():
        log.info("no anomalous row is held out: the threshold follows from normal rows alone (unsupervised)")
