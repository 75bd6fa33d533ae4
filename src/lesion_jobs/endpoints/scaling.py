"""Scaling: an endpoint's number of machines follows its requests; and stands still while the endpoint is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import read_current
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.environment import Environment
from lesion_jobs.hosting import Async, RealTime, Scale, Serverless, check_how
from lesion_jobs.requests.scaling import (
    INSTANCES,
    policy_request,
    resource_id,
    suspension,
    target_request,
    wake_alarm_request,
    wake_policy_request,
)
from lesion_jobs.requests.validate import check_requests

SERVICE = "application-autoscaling"
Suspension = dict[str, bool]


@typed
def autoscale(endpoint: Endpoint, scale: Scale | None) -> None:
    """Let each variant's machines follow its requests, within `scale`; None takes scaling off, and machines stay.

    Each machine costs what it cost when it was deployed. Raises UserError for an endpoint that is being updated, and
    for what its kind does not offer: Serverless scales by itself, and only Async can go down to no machine.
    """
    current = read_current(endpoint)
    variants = [variant["VariantName"] for variant in current.variants]
    if scale is None:
        targets = _targets(endpoint)
        with plain_errors(f"scaling of {endpoint.name} was not taken off", do="Look at it in the console."):
            client = open_client(endpoint.environment, SERVICE)
            for target in targets:
                client.deregister_scalable_target(**INSTANCES, ResourceId=target["ResourceId"])
        return
    how = Serverless() if current.is_serverless else Async() if current.is_async else RealTime()
    check_how(endpoint.environment, how, scale=scale)
    requests = [("RegisterScalableTarget", target_request(endpoint.name, one, scale)) for one in variants]
    requests += [
        ("PutScalingPolicy", policy_request(endpoint.name, one, scale, is_async=current.is_async)) for one in variants
    ]
    check_requests(requests, service=SERVICE)
    with plain_errors(f"endpoint {endpoint.name} does not scale", do="Correct the call."):
        client = open_client(endpoint.environment, SERVICE)
        for operation, request in requests:
            method = client.register_scalable_target if operation.startswith("Register") else client.put_scaling_policy
            method(**request)
        if scale.min_instances == 0:
            _wake(endpoint, variants, scale, client)


def suspend(endpoint: Endpoint) -> dict[str, Suspension]:
    """Stops the scaling of all variants that scale, and returns what was suspended of each before.

    Bounds, policies and alarms stay as they are, whatever happens before `restore`.
    """
    before = {
        target["ResourceId"]: {**suspension(is_suspended=False), **target.get("SuspendedState", {})}
        for target in _targets(endpoint)
    }
    restore(endpoint.environment, dict.fromkeys(before, suspension(is_suspended=True)))
    return before


def restore(environment: Environment, before: Mapping[str, Suspension]) -> None:
    """Lets scaling go on as it did: what `suspend` returned."""
    if not before:
        return
    with plain_errors("scaling was not stopped or resumed", do="Look at the endpoint's scaling in the console."):
        client = open_client(environment, SERVICE)
        for resource, state in before.items():
            client.register_scalable_target(**INSTANCES, ResourceId=resource, SuspendedState=state)


def _targets(endpoint: Endpoint) -> list[Mapping[str, Any]]:
    """Application Auto Scaling's description of the variants that scale."""
    variants = [variant["VariantName"] for variant in endpoint.describe()["ProductionVariants"]]
    ids = [resource_id(endpoint.name, variant) for variant in variants]
    with plain_errors(f"scaling of {endpoint.name} is not known", do="Look at it in the console."):
        client = open_client(endpoint.environment, SERVICE)
        targets: list[Mapping[str, Any]] = client.describe_scalable_targets(**INSTANCES, ResourceIds=ids)[
            "ScalableTargets"
        ]
    return targets


def _wake(endpoint: Endpoint, variants: Sequence[str], scale: Scale, client: Any) -> None:
    """Lets the first waiting request start a machine."""
    (variant,) = variants  # an asynchronous endpoint has one
    policy = client.put_scaling_policy(**wake_policy_request(endpoint.name, variant, scale))
    alarm = wake_alarm_request(endpoint.name, policy["PolicyARN"])
    open_client(endpoint.environment, "cloudwatch").put_metric_alarm(**alarm)
