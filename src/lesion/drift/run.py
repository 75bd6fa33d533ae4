"""Run: `lesion drift`: captured requests and answers beside an artifact, to violations, statistics and a page."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.drift.captured import read_captured
from lesion.drift.compared import compare, violations
from lesion.drift.gathered import BAD_LINE, gather
from lesion.drift.job import MonitoringJob
from lesion.drift.page import PAGE, render, verdict
from lesion.drift.platform_files import (
    STATISTICS,
    VIOLATIONS,
    exit_message,
    metric_rows,
    statistics_json,
    violations_json,
)
from lesion.errors import UserError
from lesion.files import ensure_writable, make_folder, write_atomic
from lesion.packed_model import unpacked

log = logging.getLogger(__name__)


def find_drift(job: MonitoringJob, *, alpha: float, operating_point: str | None, num_cores: int) -> tuple[str, str]:
    """Writes constraint_violations.json, statistics.json and drift.html to the job's output folder, and the metrics
    that it publishes. Returns the verdict as a sentence, and the platform's exit message.

    Without any captured request nothing was looked at, which is a violation: the capture may have ended. Raises
    UserError for a wrong artifact, and where no line of the files is data capture.
    """
    ensure_writable(job.output / VIOLATIONS)
    with unpacked(job.model) as model_dir:
        reference = algorithm_of_artifact(model_dir).load_reference(model_dir, operating_point=operating_point)
    found = gather(read_captured(job.captured), reference, period=job.period, num_cores=num_cores)
    if found.num_lines and found.faults[BAD_LINE] == found.num_lines:
        raise UserError(
            f"none of {found.num_lines} lines is data capture; the first: {found.examples[BAD_LINE][0]}",
            where=job.captured,
            do="Give the folder that DataCaptureConfig's DestinationS3Uri was downloaded to.",
            kind="captured",
        )
    comparisons = compare(found, reference, alpha=alpha)
    listed = violations(comparisons, found)
    _write(job.output / STATISTICS, json.dumps(statistics_json(found), indent=1))
    _write(job.output / PAGE, render(found, comparisons, listed, reference, alpha=alpha))
    if job.metrics_folder is not None:
        make_folder(job.metrics_folder)
        time = job.period[1] or datetime.now(UTC)
        rows = metric_rows(comparisons, listed, time=time, dimensions=job.dimensions)
        _write(job.metrics_folder / "cloudwatch_metrics.jsonl", "\n".join(map(json.dumps, rows)))
    _write(job.output / VIOLATIONS, json.dumps(violations_json(listed), indent=1))
    log.info("drift: requests=%d answers=%d violations=%d", found.num_requests, found.num_answers, len(listed))
    said = verdict(found, comparisons, listed)
    return said, exit_message(comparisons, listed, verdict=said)


def _write(path: Path, text: str) -> None:
    write_atomic(path, f"{text}\n".encode())
