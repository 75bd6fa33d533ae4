"""Rollout: another model on a running endpoint, step by step, taken back by itself when an alarm rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.kinds import ENDPOINT
from lesion_jobs.account.preflight import check_account
from lesion_jobs.account.send import send
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import PREVIOUS, Current, read_config, read_current
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.endpoints.scaling import Suspension, restore, suspend
from lesion_jobs.environment import new_name
from lesion_jobs.hosting import AllAtOnce, Canary, Shift
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.scaling import alarm_names, errors_alarm_request
from lesion_jobs.requests.update import next_config, present_variant, update_request
from lesion_jobs.requests.validate import Requests, check_requests
from lesion_jobs.runs.models import Model, model_uri_of


@dataclass(frozen=True)
class Update(Endpoint):
    """An endpoint that is being changed to the configuration `config`. `wait` returns when that serves."""

    config: str
    scaling: Mapping[str, Suspension]  # of variants whose scaling stands still until `wait` returns, as it was

    @typed
    def wait(self, *, print_logs: bool = False, poll_s: float = 30) -> Self:
        """Returns once the new configuration serves, and lets scaling go on then.

        Raises UserError if SageMaker took the change back: the endpoint then serves what it served before.
        """
        try:
            super().wait(print_logs=print_logs, poll_s=poll_s)
        finally:
            restore(self.environment, self.scaling)
        now = self.describe()["EndpointConfigName"]
        if now != self.config:
            raise UserError(
                f"endpoint {self.name} was rolled back: it serves {now} again",
                do=f"An alarm rang, or {self.config} did not start: look at the endpoint's logs and alarms.",
                kind="job_failed",
            )
        return self


@typed
def rollout(
    endpoint: Endpoint,
    model: Model,
    *,
    shift: Shift = Canary(),
    bake_minutes: float = 10,
    alarms: Sequence[str] | None = None,
    wait: bool = True,
) -> Update:
    """Replace the model that an endpoint serves, without a second in which nobody answers.

    `shift` says how traffic goes over: Canary(percent, wait_minutes), Linear(…) or AllAtOnce(); the old machines stay
    for `bake_minutes` more. While it lasts, both old and new machines are paid for. If one of the `alarms` (1 to 10
    names in CloudWatch) rings, SageMaker goes back by itself; without any, one is made that rings at the first error of
    the server. Numbers of machines, weights, capture, encryption and tags stay, and scaling stands still meanwhile.

    Raises UserError for an endpoint that is being updated or has several variants, and for alarms that are not there or
    ring already, before anything is changed.
    """
    problems: list[UserError] = []
    name, model_uri = new_name("model"), ""
    names = alarm_names(endpoint.name)[1:] if alarms is None else list(alarms)
    with collecting(problems):
        update = update_request(endpoint.name, name, shift, bake_minutes=bake_minutes, alarms=names)
    with collecting(problems):
        model_uri = model_uri_of(endpoint.environment, model)
    with collecting(problems):
        current = read_current(endpoint)
        with collecting(problems):
            variant = _only_variant(endpoint, current)
        with collecting(problems):
            _check_way_back(endpoint, current, shift, bake_minutes, names)
        with collecting(problems):
            _check_alarms(endpoint, names, are_own=alarms is None)
    raise_all(problems)
    changed = present_variant(current.config["ProductionVariants"][0], variant, ModelName=name)
    config = next_config(endpoint.environment, name, current.config, [changed], tags=current.next_tags)
    makes = [errors_alarm_request(endpoint.name, variant["VariantName"])] if alarms is None else []
    check_requests([("PutMetricAlarm", alarm) for alarm in makes], service="cloudwatch")
    requests: Requests = [
        ("CreateModel", model_request(endpoint.environment, name, model_uri)),
        ("CreateEndpointConfig", config),
        ("UpdateEndpoint", update),
    ]
    check_requests(requests)
    announce_update(endpoint, current, config, reads={"the model": model_uri})
    for alarm in makes:
        with plain_errors(f"the alarm {alarm['AlarmName']} was not made", do="Give alarms of your own."):
            open_client(endpoint.environment, "cloudwatch").put_metric_alarm(**alarm)
    return start_update(endpoint, requests, wait=wait)


@typed
def roll_back(endpoint: Endpoint, *, wait: bool = True) -> Update:
    """Serve again what the endpoint served before its last change, all at once. Raises UserError if there is none."""
    current = read_current(endpoint)
    previous = current.tags.get(PREVIOUS)
    if previous is None:
        raise UserError(
            f"endpoint {endpoint.name} was not changed since it was deployed",
            do="Roll out the model that it is to serve.",
            kind="environment",
        )
    config, _ = read_config(endpoint, previous)
    has_same = _names(config) == _names(current.config)
    now = {variant["VariantName"]: variant for variant in current.variants}
    variants = [
        present_variant(variant, now[variant["VariantName"]]) if has_same else variant
        for variant in config["ProductionVariants"]
    ]
    announce_update(endpoint, current, {**config, "ProductionVariants": variants}, reads={})
    update = update_request(endpoint.name, previous, AllAtOnce(), has_same_variants=has_same)
    return start_update(endpoint, [("UpdateEndpoint", update)], wait=wait)


def announce_update(
    endpoint: Endpoint, current: Current, config: Mapping[str, Any], *, reads: Mapping[str, str]
) -> None:
    """Prints what the endpoint costs with the next `config`, and meanwhile. Raises UserError for a quota or model that
    is missing, before anything is changed.
    """
    variants = [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]
    after = sum(variant.get("InitialInstanceCount", 0) for variant in variants)
    meanwhile = after + sum(variant.get("CurrentInstanceCount", 0) for variant in current.variants)
    kind = ENDPOINT if after else None  # Serverless has no machines
    notes = check_account(endpoint.environment, kind, num_instances=meanwhile, reads=reads)
    if after:
        notes = [f"until the change is done the old machines are paid for too: {meanwhile} in all", *notes]
    cost = None if after else "cost: as before"
    announce(ENDPOINT, endpoint.name, endpoint.environment, num_instances=after, notes=notes, cost=cost)


def start_update(endpoint: Endpoint, requests: Requests, *, wait: bool) -> Update:
    """Sends the requests, the last of which is UpdateEndpoint's, while scaling stands still."""
    scaling = suspend(endpoint)
    try:
        send(endpoint.environment, requests, what=f"endpoint {endpoint.name} was not changed")
    except UserError:
        restore(endpoint.environment, scaling)
        raise
    config = requests[-1][1]["EndpointConfigName"]
    update = Update(endpoint.name, endpoint.environment, config, scaling)
    if scaling and not wait:
        print(f"scaling of {endpoint.name} stands still until .wait() of what is returned")  # noqa: T201
    return update.wait() if wait else update


def _check_way_back(
    endpoint: Endpoint, current: Current, shift: Shift, bake_minutes: float, alarms: Sequence[str]
) -> None:
    """Raises UserError for a rollout that nothing would take back, and for one step by step where there are none."""
    if current.is_serverless:
        if (shift, bake_minutes, list(alarms)) != (AllAtOnce(), 0, []):
            what = f"endpoint {endpoint.name} is Serverless, which goes over all at once"
            do = "Give shift=AllAtOnce(), bake_minutes=0, alarms=[]."
            raise UserError(what, do=do, kind="environment")
    elif not alarms:
        raise UserError(
            "alarms is empty, so that nothing would take the rollout back",
            where=endpoint.name,
            do="Leave alarms out: one is made that rings at the first server error. Or name your own.",
            kind="alarm",
        )


def _only_variant(endpoint: Endpoint, current: Current) -> Any:
    if len(current.variants) != 1:
        names = ", ".join(variant["VariantName"] for variant in current.variants)
        raise UserError(
            f"endpoint {endpoint.name} has several variants ({names}), of which a rollout replaces none",
            do="Give one of them all the traffic first: split(endpoint, {NAME: 1}).",
            kind="environment",
        )
    return current.variants[0]


def _names(config: Any) -> set[str]:
    return {variant["VariantName"] for variant in config["ProductionVariants"]}


def _check_alarms(endpoint: Endpoint, alarms: Sequence[str], *, are_own: bool) -> None:
    """Raises UserError for alarms that are not there, or ring already: SageMaker would go back at once.

    Our own need not be there yet. One of an earlier rollout goes on ringing when it is made anew.
    """
    if not alarms:
        return
    with plain_errors("the alarms are not known", do="Correct their names."):
        client = open_client(endpoint.environment, "cloudwatch")
        answer = client.describe_alarms(AlarmNames=list(alarms), AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    states = {
        alarm["AlarmName"]: alarm["StateValue"]
        for kind in ("MetricAlarms", "CompositeAlarms")
        for alarm in answer[kind]
    }
    problems = [f"there is no alarm '{alarm}'" for alarm in alarms if alarm not in states and not are_own]
    problems += [f"the alarm '{alarm}' rings already" for alarm, state in states.items() if state == "ALARM"]
    if problems:
        do = "Nothing was changed."
        if are_own:
            do += " It rings for a minute after the last server error: wait, roll_back(endpoint), or name other alarms."
        raise UserError("; ".join(problems), where=endpoint.name, do=do, kind="alarm")
