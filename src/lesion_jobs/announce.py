"""Announce: prints a job's name, cost and the address of its logs before it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lesion_jobs.cost import BilledAs, ask_price, cost_line
from lesion_jobs.environment import Environment


@dataclass(frozen=True)
class JobType:
    """A type of job: how it is billed, and the CloudWatch log group it writes to."""

    title: str
    billed_as: BilledAs
    log_group: str  # {name}: an endpoint has a group of its own
    until: str = ""  # what ends it where no time limit does


TRAINING = JobType("training job", "Training", "/aws/sagemaker/TrainingJobs")
PROCESSING = JobType("processing job", "Processing", "/aws/sagemaker/ProcessingJobs")
ENDPOINT = JobType("endpoint", "Hosting", "/aws/sagemaker/Endpoints/{name}", "delete_endpoint(endpoint)")
TRANSFORM = JobType("batch transform", "BatchTransform", "/aws/sagemaker/TransformJobs", "the last image is predicted")

CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


def announce(
    kind: JobType,
    name: str,
    environment: Environment,
    session: Any,
    *,
    num_instances: int = 1,
    max_hours: float | None = None,
) -> None:
    """Print name, cost and logs. Queries the price list, except in local mode."""
    if environment.is_local:
        cost, logs = "cost: nothing, it runs on this machine", "logs: below"
    else:
        region = session.boto_region_name
        price = ask_price(session.boto_session, environment.instance_type, region, kind.billed_as)
        cost = cost_line(
            price, environment.instance_type, num_instances=num_instances, max_hours=max_hours, until=kind.until
        )
        logs = f"logs: {kind.log_group.format(name=name)}, {log_url(kind, name, region)}"
    print(f"{kind.title} {name} in {environment.image}\n{cost}\n{logs}", flush=True)  # noqa: T201


def log_url(kind: JobType, name: str, region: str) -> str:
    """The console's page with the log streams of one job. It writes $25 for the % of a twice quoted slash."""
    host = next((host for prefix, host in CONSOLES.items() if region.startswith(prefix)), "console.aws.amazon.com")
    group = quote(quote(kind.log_group.format(name=name), safe=""), safe="").replace("%", "$")
    streams = "" if "{name}" in kind.log_group else f"$3FlogStreamNameFilter$3D{name}"
    return f"https://{host}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{streams}"
