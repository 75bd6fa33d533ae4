"""SageMaker monitoring: what Model Monitor, or a Processing job, tells a monitoring container, as a MonitoringJob.

A monitoring schedule has room for one input, the captured data, and for two files of a baseline: the artifact comes as
one of these. A Processing job may bring it as an input of its own.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-byoc-contract-inputs.html
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from lesion.drift.job import MonitoringJob, read_time
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic
from lesion.sagemaker import ROOT

MAX_MESSAGE_BYTES = 1024  # what the platform keeps of the file `message` as ExitMessage


def is_monitoring(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether Model Monitor started this container."""
    return "dataset_source" in environ


def read_monitoring_job(
    *,
    captured: Path | None,
    model: Path | None,
    output: Path | None,
    environ: Mapping[str, str] = os.environ,
    root: Path = ROOT,
) -> MonitoringJob:
    """The job, of what was given and else of the platform's variables. Raises UserError for all that is missing."""
    places = {
        "captured data (CAPTURED)": captured or _path(environ, "dataset_source"),
        "an artifact (--model)": model or _artifact(environ, root),
        "an output folder (--output)": output or _path(environ, "output_path"),
    }
    if missing := [name for name, place in places.items() if place is None]:
        do = (
            "Give them, or start this as the container of a monitoring schedule, which sets dataset_source, "
            "output_path and baseline_statistics (the model.tar.gz)."
        )
        raise UserError(f"missing: {', '.join(missing)}", do=do)
    dataset_format = environ.get("dataset_format", "")
    if captured is None and dataset_format and "sagemakerCaptureJson" not in dataset_format:
        what = f"dataset_format is {dataset_format[:80]}, and only the data capture of endpoints is read"
        raise UserError(what, where="environment", do="Monitor an endpoint.", kind="captured")
    found_captured, found_model, found_output = (Path(place) for place in places.values() if place is not None)
    is_published = environ.get("publish_cloudwatch_metrics", "").strip().lower() == "enabled"
    return MonitoringJob(
        captured=found_captured,
        model=found_model,
        output=found_output,
        period=(_time(environ, "start_time"), _time(environ, "end_time")),
        metrics_folder=root / "output" / "metrics" / "cloudwatch" if is_published else None,
        dimensions={
            "Endpoint": environ.get("sagemaker_endpoint_name", ""),
            "MonitoringSchedule": environ.get("sagemaker_monitoring_schedule_name", ""),
        },
    )


def write_exit_message(text: str, *, root: Path = ROOT) -> None:
    """Writes what the job's ExitMessage says. Raises PlatformError where the disk refuses."""
    make_folder(root / "output")
    shortened = text.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")  # no half letter: the job would fail
    write_atomic(root / "output" / "message", shortened.encode())


def _artifact(environ: Mapping[str, str], root: Path) -> Path | None:
    """The artifact as an input of its own, else as one of the files of the baseline."""
    own = root / "processing" / "model"
    if own.is_dir():
        return own
    return _path(environ, "baseline_statistics") or _path(environ, "baseline_constraints")


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    text = environ.get(name, "").strip()
    return Path(text) if text else None


def _time(environ: Mapping[str, str], name: str) -> datetime | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    try:
        return read_time(text)
    except ValueError as error:
        what = f"{name}={text[:80]} is not a time such as 2026-11-30T15:20:00Z"
        raise UserError(what, where="environment", do="Set one, or leave it out.") from error
