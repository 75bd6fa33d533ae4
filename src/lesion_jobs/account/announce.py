"""Announce: prints a job's name, cost and the address of its logs before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from lesion_jobs.account.aws import open_session
from lesion_jobs.account.cost import ask_price, cost_line
from lesion_jobs.account.kinds import JobKind
from lesion_jobs.environment import Environment

CONSOLES = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}


def announce(
    kind: JobKind,
    name: str,
    environment: Environment,
    *,
    num_instances: int = 1,
    max_hours: float | None = None,
    notes: Sequence[str] = (),
    cost: str | None = None,
) -> None:
    """Print name, cost, logs and notes. Queries the price list, except in local mode and where `cost` is given."""
    if environment.is_local:
        cost, logs = "cost: nothing, it runs on this machine", "logs: below"
    else:
        aws = open_session(environment)
        machine = environment.instance_type
        cost = cost or cost_line(
            ask_price(aws, machine, aws.region_name, kind.billed_as),
            machine,
            num_instances=num_instances,
            max_hours=max_hours,
            until=kind.until,
        )
        logs = f"logs: {kind.log_group.format(name=name)}, {log_url(kind, name, aws.region_name)}"
    print(f"{kind.title} {name} in {environment.image}", cost, logs, *notes, sep="\n", flush=True)  # noqa: T201


def log_url(kind: JobKind, name: str, region: str) -> str:
    """The console's page with the log streams of one job. It writes $25 for the % of a twice quoted slash."""
    host = next((host for prefix, host in CONSOLES.items() if region.startswith(prefix)), "console.aws.amazon.com")
    group = quote(quote(kind.log_group.format(name=name), safe=""), safe="").replace("%", "$")
    streams = "" if "{name}" in kind.log_group else f"$3FlogStreamNameFilter$3D{name}"
    return f"https://{host}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{group}{streams}"
