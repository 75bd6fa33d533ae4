"""Monitoring request: CreateMonitoringSchedule with our own image as the monitoring container."""

from __future__ import annotations

from typing import Any, Literal

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_choice, check_whole
from lesion_jobs.requests.training import MAX_VOLUME_GB, seconds_of

Every = Literal["hour", "day"]

# Model Monitor runs a schedule within the hour that it names, and no oftener.
SCHEDULES: dict[str, str] = {"hour": "cron(0 * ? * * *)", "day": "cron(0 0 ? * * *)"}
INPUT, OUTPUT = "/opt/ml/processing/input/endpoint", "/opt/ml/processing/output"


def monitoring_request(
    environment: Environment,
    name: str,
    endpoint: str,
    model_uri: str,
    output_uri: str,
    *,
    every: Every = "day",
    volume_gb: int = 20,
    max_hours: float = 1,
) -> dict[str, Any]:
    """CreateMonitoringSchedule's request. The artifact comes as the baseline's statistics: there is no other input.

    Raises UserError for an `every` that is none, a disk that there cannot be, and a time that is longer than from one
    run to the next.
    """
    problems: list[UserError] = []
    with collecting(problems):
        check_choice("every", every, SCHEDULES)
    with collecting(problems):
        check_whole("volume_gb", volume_gb, 1, MAX_VOLUME_GB)
    with collecting(problems):
        max_seconds = seconds_of(max_hours)
        if max_hours > (1 if every == "hour" else 24):
            what = f"max_hours={max_hours:g} is longer than from one {every} to the next"
            raise UserError(what, do="Take less.", kind="environment")
    raise_all(problems)
    cluster: dict[str, Any] = {
        "InstanceCount": 1,
        "InstanceType": environment.instance_type,
        "VolumeSizeInGB": volume_gb,
    }
    outputs: dict[str, Any] = {
        "MonitoringOutputs": [
            {"S3Output": {"S3Uri": output_uri, "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}},
        ]
    }
    network: dict[str, Any] = {"EnableNetworkIsolation": environment.isolated}
    if environment.volume_key:
        cluster["VolumeKmsKeyId"] = environment.volume_key
    if environment.kms_key:
        outputs["KmsKeyId"] = environment.kms_key
    if environment.vpc:
        network["VpcConfig"] = environment.vpc
    request: dict[str, Any] = {
        "MonitoringScheduleName": name,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": SCHEDULES[every]},
            "MonitoringJobDefinition": {
                "BaselineConfig": {"StatisticsResource": {"S3Uri": model_uri}},
                "MonitoringInputs": [{"EndpointInput": {"EndpointName": endpoint, "LocalPath": INPUT}}],
                "MonitoringOutputConfig": outputs,
                "MonitoringResources": {"ClusterConfig": cluster},
                "MonitoringAppSpecification": {
                    "ImageUri": environment.image,
                    "ContainerEntrypoint": ["lesion", "drift"],
                },
                "StoppingCondition": {"MaxRuntimeInSeconds": max_seconds},
                "Environment": {"publish_cloudwatch_metrics": "Enabled"},
                "NetworkConfig": network,
                "RoleArn": environment.arn,
            },
        },
    }
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request
