"""Processing: a command of Lesion on machines that go away when it is done: `lesion prepare shards`, for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.kinds import PROCESSING
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import send
from lesion_jobs.account.storage import readable_uri
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.local.run import run_job
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.requests.processing import INPUT, OUTPUT, processing_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.job import Job

SHARDS = ("prepare", "shards", INPUT, "--output", OUTPUT, "--no-progress")
SHARDS_OWN = ("output", "root", "engine", "no_progress")  # options that are the job's


@dataclass(frozen=True)
class ProcessingRun(Job):
    """A processing job, and the prefix that gets what it writes."""

    output: str
    kind = PROCESSING


class ShardsRun(ProcessingRun):
    """A job that writes shards, and the prefix that is to be the `training` channel of the next."""


@typed
def prepare_shards(
    environment: Environment,
    data: str | Path,
    *,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    num_instances: int = 1,
    volume_gb: int = 100,
    max_hours: float = 24,
    wait: bool = True,
) -> ShardsRun:
    """Turn a data set into shards, each instance its share of them. `options` are those of the command: {"size": 384}.

    A failed job starts from the beginning: it could resume only if SageMaker mounted its earlier output again, which it
    does not. With one instance the data card lies beside the shards, with
    several the same command on the joined folder writes it. Raises UserError with all that is wrong before it starts,
    and with the reason if the job fails.
    """
    name = name or new_name("shards")
    run = ShardsRun(name, environment, f"{environment.output_uri}/{name}")
    problems: list[UserError] = []
    data_uri, arguments, request = "", [], {}
    with collecting(problems):
        check_name(environment, PROCESSING, name)
    with collecting(problems):
        data_uri = readable_uri(data, environment, what="the data set")
    with collecting(problems):
        arguments = command_arguments(SHARDS, options or {}, own=SHARDS_OWN)
    with collecting(problems):
        request = processing_request(
            environment,
            name,
            SHARDS,
            arguments,
            # Every instance needs the whole table to plan the shards, and is dealt shards, not files.
            inputs={"data": (data_uri, INPUT)},
            output=("shards", run.output),
            num_instances=num_instances,
            volume_gb=volume_gb,
            max_hours=max_hours,
        )
    raise_all(problems)
    start_processing(run, request, reads={"the data set": data_uri}, max_hours=max_hours)
    return run.wait() if wait and not environment.is_local else run


def start_processing(
    run: Job, request: Mapping[str, Any], *, reads: Mapping[str, str], max_hours: float, notes: Sequence[str] = ()
) -> None:
    """Starts a processing job; in local mode runs it to its end. `reads` are by what they are called what it needs,
    `notes` lines to be printed before it starts."""
    environment, what = run.environment, f"processing job {run.name}"
    if environment.is_local:
        announce(PROCESSING, run.name, environment)
        run_job(environment, "create_processing_job", request, what=what)
        return
    check_requests([("CreateProcessingJob", request)])
    num_instances = request["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
    notes = [*notes, *check_account(environment, PROCESSING, num_instances=num_instances, reads=reads)]
    announce(PROCESSING, run.name, environment, num_instances=num_instances, max_hours=max_hours, notes=notes)
    send(environment, [("CreateProcessingJob", request)], what=f"{what} failed")
