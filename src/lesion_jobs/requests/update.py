"""Update requests: an endpoint's next configuration, made of the present one, and how traffic goes over to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.environment import Environment
from lesion_jobs.hosting import MAX_WAIT_MINUTES, AllAtOnce, Canary, Linear, Shift
from lesion_jobs.numbers import check_within
from lesion_jobs.requests.endpoint import INFERENCE_AMI

# What CreateEndpointConfig takes of what DescribeEndpointConfig tells, besides name and tags.
KEPT = (
    *("DataCaptureConfig", "KmsKeyId", "AsyncInferenceConfig", "ExplainerConfig", "ExecutionRoleArn", "VpcConfig"),
    *("EnableNetworkIsolation", "MetricsConfig"),
)
MAX_ROLLOUT_S = 28_800
MAX_ALARMS = 10


def next_config(
    environment: Environment,
    name: str,
    config: Mapping[str, Any],
    variants: Sequence[Mapping[str, Any]],
    *,
    tags: Mapping[str, str],
    shadows: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """CreateEndpointConfig's request: the present `config` with other variants. Encryption, capture, queue, network and
    explainer stay."""
    request: dict[str, Any] = {key: config[key] for key in KEPT if config.get(key)}
    request |= {"EndpointConfigName": name, "ProductionVariants": [_with_driver(environment, one) for one in variants]}
    if shadows:
        request["ShadowProductionVariants"] = [_with_driver(environment, one) for one in shadows]
    request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    return request


def present_variant(configured: Mapping[str, Any], now: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A variant of the configuration with the number of machines and the weight that it has now, and `changes`."""
    variant = {
        **configured,
        "InitialVariantWeight": now.get("DesiredWeight", configured.get("InitialVariantWeight", 1)),
    }
    if now.get("DesiredInstanceCount"):  # none of serverless; 0 of an asynchronous one that nobody asks
        variant["InitialInstanceCount"] = now["DesiredInstanceCount"]
    return variant | changes


def update_request(
    endpoint: str,
    config_name: str,
    shift: Shift,
    *,
    bake_minutes: float = 0,
    alarms: Sequence[str] = (),
    has_same_variants: bool = True,
) -> dict[str, Any]:
    """UpdateEndpoint's request: blue and green, taken back by itself if one of the `alarms` rings.

    `bake_minutes` is how long the old machines stay beside the new. Numbers of machines and weights are retained as
    they are when the update begins; where variants come or go, those that the configuration has count.
    """
    problems: list[UserError] = []
    with collecting(problems):
        check_within("bake_minutes", bake_minutes, 0, MAX_WAIT_MINUTES)
    if len(alarms) > MAX_ALARMS:
        what = f"{len(alarms)} alarms, and a rollout takes at most {MAX_ALARMS}"
        do = "Leave some out, or make a composite alarm of them."
        problems.append(UserError(what, do=do, kind="environment"))
    raise_all(problems)
    wait_s = 0 if isinstance(shift, AllAtOnce) else round(60 * shift.wait_minutes)
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": wait_s}
    num_waits = 1
    if isinstance(shift, Canary):
        routing |= {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": shift.percent}}
    elif isinstance(shift, Linear):
        routing |= {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": shift.percent}}
        num_waits = ceil(100 / shift.percent)
    bake_s = round(60 * bake_minutes)
    waits_s = num_waits * wait_s + bake_s
    if waits_s >= MAX_ROLLOUT_S:
        raise UserError(
            f"the rollout would wait {waits_s / 3600:.1f} hours, and SageMaker gives it at most 8",
            do="Wait less, or take larger steps.",
            kind="environment",
        )
    policy = {
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": bake_s,
        "MaximumExecutionTimeoutInSeconds": min(MAX_ROLLOUT_S, waits_s + 3600),  # an hour for the machines to start
    }
    request: dict[str, Any] = {
        "EndpointName": endpoint,
        "EndpointConfigName": config_name,
        "RetainAllVariantProperties": has_same_variants,
    }
    # All at once is what SageMaker does unasked, also where it has nothing else: Serverless, several variants, shadows.
    if not isinstance(shift, AllAtOnce) or bake_s or alarms:
        request["DeploymentConfig"] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        listed = [{"AlarmName": alarm} for alarm in alarms]
        request["DeploymentConfig"]["AutoRollbackConfiguration"] = {"Alarms": listed}
    return request


def _with_driver(environment: Environment, variant: Mapping[str, Any]) -> Mapping[str, Any]:
    """A GPU's variant keeps the machine image that was chosen, or gets the one whose driver runs the image's CUDA."""
    if not environment.has_gpu or "ServerlessConfig" in variant:
        return variant
    return {"InferenceAmiVersion": INFERENCE_AMI, **variant}
