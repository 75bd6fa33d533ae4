"""Monitoring: a schedule by which our own image compares what an endpoint captured with what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.kinds import PROCESSING
from lesion_jobs.account.preflight import check_account
from lesion_jobs.account.send import send
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import read_current
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.requests.monitoring import Every, monitoring_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.training import TrainingRun, refuse_anomaly


@dataclass(frozen=True)
class Schedule:
    """A monitoring schedule, and the prefix that gets drift.html, statistics.json and constraint_violations.json."""

    name: str
    environment: Environment
    output: str

    def describe(self) -> Mapping[str, Any]:
        """SageMaker's own description, with the last execution. Raises UserError for one that is gone."""
        with plain_errors(f"monitoring schedule {self.name} is not known", do="Is it of this account and region?"):
            client = open_client(self.environment)
            answer: Mapping[str, Any] = client.describe_monitoring_schedule(MonitoringScheduleName=self.name)
        return answer

    def delete(self) -> None:
        """Stop monitoring, and with it its cost. What it wrote stays."""
        request = {"MonitoringScheduleName": self.name}
        send(self.environment, [("DeleteMonitoringSchedule", request)], what=f"{self.name} was not deleted")


@typed
def monitor(
    environment: Environment,
    endpoint: Endpoint,
    run: TrainingRun,
    *,
    every: Every = "day",
    name: str | None = None,
    volume_gb: int = 20,
    max_hours: float = 1,
) -> Schedule:
    """Run `lesion drift` on what `endpoint` captured, every hour or day, on a machine of `environment`.

    `run` is the training job of the model that is served: its artifact says what images and answers were like. Each
    time costs a machine for at most `max_hours`, until `schedule.delete()`. Raises UserError for an endpoint that
    captures nothing, and for a run of algorithm=anomaly, before anything is paid for.
    """
    name = name or new_name("monitor")
    schedule = Schedule(name, environment, f"{environment.output_uri}/{name}")
    problems: list[UserError] = []
    notes = [f"so much each {every}, until schedule.delete()"]
    with collecting(problems):
        _check_captures(endpoint)
    with collecting(problems):
        notes += _check_run(run)
    with collecting(problems):
        request = monitoring_request(
            environment,
            name,
            endpoint.name,
            run.model,
            schedule.output,
            every=every,
            volume_gb=volume_gb,
            max_hours=max_hours,
        )
        check_requests([("CreateMonitoringSchedule", request)])
    raise_all(problems)
    notes += check_account(environment, PROCESSING, reads={"the model": run.model})
    announce(PROCESSING, name, environment, max_hours=max_hours, notes=notes)
    send(environment, [("CreateMonitoringSchedule", request)], what=f"monitoring schedule {name} was not made")
    return schedule


def _check_captures(endpoint: Endpoint) -> None:
    if not read_current(endpoint).config.get("DataCaptureConfig", {}).get("EnableCapture"):
        raise UserError(
            f"endpoint {endpoint.name} captures nothing to look at",
            do="Deploy with capture=Capture(); Serverless and Async have none.",
            kind="environment",
        )


def _check_run(run: TrainingRun) -> list[str]:
    """Raises UserError for a run whose model keeps nothing to compare with. A note where it is not known."""
    try:
        training = run.describe()
    except UserError as error:
        return [f"not checked: whether the model is of algorithm=anomaly ({error})"]
    what = "anomaly detection keeps nothing that served images could be compared with: it learned from normal ones"
    refuse_anomaly(training, what, do="Watch the share of anomalous answers in the audit lines instead.")
    return []
