"""Scaling requests: what Application Auto Scaling is told of a variant of an endpoint."""

from __future__ import annotations

from typing import Any

from lesion_jobs.hosting import Scale

INSTANCES = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
POLICY, WAKE = "lesion-target", "lesion-wake"


def resource_id(endpoint: str, variant: str) -> str:
    """What Application Auto Scaling calls a variant."""
    return f"endpoint/{endpoint}/variant/{variant}"


def target_request(endpoint: str, variant: str, scale: Scale) -> dict[str, Any]:
    """RegisterScalableTarget's request: between how many machines the variant varies."""
    return {
        **INSTANCES,
        "ResourceId": resource_id(endpoint, variant),
        "MinCapacity": scale.min_instances,
        "MaxCapacity": scale.max_instances,
    }


def suspension(*, is_suspended: bool) -> dict[str, bool]:
    """A scalable target's SuspendedState: whether it stands still. Its policies and bounds stay as they are."""
    what = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    return dict.fromkeys(what, is_suspended)


def policy_request(endpoint: str, variant: str, scale: Scale, *, is_async: bool) -> dict[str, Any]:
    """PutScalingPolicy's request: the target of requests a minute for each machine, or of those that wait."""
    metric: dict[str, Any] = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    }
    if is_async:
        backlog = _metric("ApproximateBacklogSizePerInstance", endpoint)
        metric = {"CustomizedMetricSpecification": {**backlog, "Statistic": "Average"}}
    return {
        **INSTANCES,
        "PolicyName": POLICY,
        "ResourceId": resource_id(endpoint, variant),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": scale.target,
            **metric,
            "ScaleInCooldown": scale.scale_in_cooldown_s,
            "ScaleOutCooldown": scale.scale_out_cooldown_s,
        },
    }


def wake_policy_request(endpoint: str, variant: str, scale: Scale) -> dict[str, Any]:
    """PutScalingPolicy's request for an endpoint without machines: the first request in the queue starts one.

    Without it the queue would have to grow over the target first. An alarm (`wake_alarm_request`) sets it off.
    """
    return {
        **INSTANCES,
        "PolicyName": WAKE,
        "ResourceId": resource_id(endpoint, variant),
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": scale.scale_in_cooldown_s,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }


def alarm_names(endpoint: str) -> list[str]:
    """The alarms that are made for an endpoint."""
    return [f"lesion-{endpoint}-{purpose}" for purpose in ("wake", "errors")]


def wake_alarm_request(endpoint: str, policy_arn: str) -> dict[str, Any]:
    """PutMetricAlarm's request: requests wait and there is no machine."""
    return {
        "AlarmName": alarm_names(endpoint)[0],
        **_metric("HasBacklogWithoutCapacity", endpoint),
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy_arn],
    }


def errors_alarm_request(endpoint: str, variant: str) -> dict[str, Any]:
    """PutMetricAlarm's request: the variant answered with a server's error within the last minute."""
    metric = _metric("Invocation5XXErrors", endpoint)
    return {
        "AlarmName": alarm_names(endpoint)[1],
        "AlarmDescription": "A rollout is taken back while this rings",
        **metric,
        "Dimensions": [*metric["Dimensions"], {"Name": "VariantName", "Value": variant}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
    }


def _metric(name: str, endpoint: str) -> dict[str, Any]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}]
    return {"MetricName": name, "Namespace": "AWS/SageMaker", "Dimensions": dimensions}
