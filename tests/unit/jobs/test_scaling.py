"""Scaling and monitoring of endpoints: what Application Auto Scaling, played by moto, and Model Monitor are told."""

from __future__ import annotations

from typing import Any

import pytest
from requested import WHOLE, golden
from wire import account

from lesion.errors import UserError
from lesion_jobs import Environment, Schedule, autoscale, deploy, monitor
from lesion_jobs.hosting import Async, Capture, Scale, Serverless
from lesion_jobs.requests.monitoring import monitoring_request
from lesion_jobs.requests.scaling import errors_alarm_request, wake_alarm_request, wake_policy_request
from lesion_jobs.requests.validate import find_faults
from lesion_jobs.runs.training import describe_run

MODEL = "s3://bucket/run/output/model.tar.gz"


def test_machines_follow_the_requests_until_scaling_is_taken_off():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        autoscale(endpoint, Scale(8, min_instances=2, target=120, scale_in_cooldown_s=600))
        scaling = wire.session.client("application-autoscaling")
        (target,) = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 8)
        assert target["ResourceId"] == "endpoint/skin/variant/AllTraffic"
        (policy,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        config = policy["TargetTrackingScalingPolicyConfiguration"]
        metric = config["PredefinedMetricSpecification"]["PredefinedMetricType"]
        assert (config["TargetValue"], metric) == (120, "SageMakerVariantInvocationsPerInstance")
        assert (config["ScaleInCooldown"], config["ScaleOutCooldown"]) == (600, 60)
        autoscale(endpoint, None)
        assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_an_asynchronous_endpoint_sleeps_and_the_first_request_wakes_it():
    with account() as (wire, environment):
        deploy(environment, MODEL, name="later", how=Async(), scale=Scale(3, min_instances=0, target=5))
        scaling = wire.session.client("application-autoscaling")
        policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        track, wake = sorted(policies, key=lambda policy: str(policy["PolicyName"]))
        metric = track["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
        assert metric["MetricName"] == "ApproximateBacklogSizePerInstance"
        (alarm,) = wire.session.client("cloudwatch").describe_alarms()["MetricAlarms"]
        assert alarm["AlarmActions"] == [wake["PolicyARN"]] and alarm["MetricName"] == "HasBacklogWithoutCapacity"


def test_requests_that_moto_does_not_look_at_are_valid():
    assert find_faults("PutMetricAlarm", wake_alarm_request("e", "arn:p"), service="cloudwatch") == []
    assert find_faults("PutMetricAlarm", errors_alarm_request("e", "v"), service="cloudwatch") == []
    wake = wake_policy_request("e", "v", Scale(2))
    assert find_faults("PutScalingPolicy", wake, service="application-autoscaling") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scale": Scale(2, min_instances=0)}, "min_instances=0 is for Async alone"),
        ({"scale": Scale(2), "how": Serverless()}, "Serverless scales by itself"),
        ({"scale": Scale(2), "wait": False}, "scale needs an endpoint that is in service"),
    ],
)
def test_what_cannot_scale_is_refused_before_the_endpoint_is_made(settings: dict[str, Any], said: str):
    with account(isolated=False) as (wire, environment):
        with pytest.raises(UserError, match=said):
            deploy(environment, MODEL, **settings)
        assert wire.operations == []


@pytest.mark.parametrize(
    "bounds", [{"max_instances": 1, "min_instances": 2}, {"max_instances": 0}, {"target": 0}, {"max_instances": "8"}]
)
def test_bounds_that_are_no_range_are_refused(bounds: dict[str, Any]):
    with pytest.raises(UserError):
        Scale(**{"max_instances": 2, **bounds})


def test_a_monitoring_schedule_is_what_the_golden_file_says_and_valid():
    request = monitoring_request(WHOLE, "watch", "skin", MODEL, "s3://bucket/lesion/watch", every="hour")
    assert request == golden("CreateMonitoringSchedule")
    assert find_faults("CreateMonitoringSchedule", request) == []


def test_an_endpoint_is_monitored_from_what_it_captures(capsys):
    with account() as (wire, environment):
        run = describe_run(environment, "run")
        wire.session.client("s3").put_object(Bucket="bucket", Key="lesion/run/output/model.tar.gz", Body=b"x")
        silent = deploy(environment, MODEL, name="silent")
        with pytest.raises(UserError, match="captures nothing to look at"):
            monitor(environment, silent, run)
        schedule = monitor(environment, deploy(environment, MODEL, name="skin", capture=Capture()), run, name="watch")
        assert schedule == Schedule("watch", environment, "s3://bucket/lesion/watch")
        printed = capsys.readouterr().out
        assert "at most 1.50 USD" in printed and "so much each day, until schedule.delete()" in printed
        config = wire.body("sagemaker.CreateMonitoringSchedule")["MonitoringScheduleConfig"]
        assert config["ScheduleConfig"]["ScheduleExpression"] == "cron(0 0 ? * * *)"
        (captured,) = config["MonitoringJobDefinition"]["MonitoringInputs"]
        assert captured["EndpointInput"]["EndpointName"] == "skin"
        schedule.delete()
        assert wire.operations[-1] == "sagemaker.DeleteMonitoringSchedule"


@pytest.mark.parametrize("settings", [{"every": "minute"}, {"every": "hour", "max_hours": 1.5}, {"max_hours": 25}])
def test_a_schedule_that_model_monitor_does_not_keep_is_refused(settings: dict[str, Any]):
    with pytest.raises(UserError):
        monitoring_request(WHOLE, "watch", "skin", MODEL, "s3://b/o", **settings)


def test_local_mode_does_not_scale(tmp_path):
    from lesion_jobs import Endpoint

    with pytest.raises(UserError, match="local mode has one model an endpoint"):
        autoscale(Endpoint("e", Environment("i", "local", tmp_path)), Scale(2))
