"""Processing request: CreateProcessingJob, for a command of `lesion`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.environment import Environment
from lesion_jobs.requests.training import check_machines, seconds_of

INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


def processing_request(
    environment: Environment,
    name: str,
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    inputs: Mapping[str, tuple[str, str]],
    output: tuple[str, str],
    num_instances: int = 1,
    volume_gb: int = 100,
    max_hours: float = 24,
) -> dict[str, Any]:
    """CreateProcessingJob's request for `lesion` with the command and its arguments.

    `inputs` are by name a URI and its path in the container, all of it on each instance; `output` is the name and the
    URI of what the command leaves in OUTPUT, uploaded when the job ends. Raises UserError for hours, numbers of
    machines and sizes of their disks that SageMaker does not take.
    """
    problems: list[UserError] = []
    with collecting(problems):
        check_machines(num_instances, volume_gb)
    with collecting(problems):
        max_seconds = seconds_of(max_hours)
    raise_all(problems)
    cluster: dict[str, Any] = {
        "InstanceCount": num_instances,
        "InstanceType": environment.instance_type,
        "VolumeSizeInGB": volume_gb,
    }
    written = {"S3Uri": output[1], "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
    outputs: dict[str, Any] = {"Outputs": [{"OutputName": output[0], "S3Output": written}]}
    network: dict[str, Any] = {"EnableNetworkIsolation": environment.isolated}
    specification: dict[str, Any] = {"ImageUri": environment.image, "ContainerEntrypoint": ["lesion", *command]}
    if arguments:
        specification["ContainerArguments"] = list(arguments)
    if environment.volume_key:
        cluster["VolumeKmsKeyId"] = environment.volume_key
    if environment.kms_key:
        outputs["KmsKeyId"] = environment.kms_key
    if environment.vpc:
        network["VpcConfig"] = environment.vpc
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": environment.arn,
        "AppSpecification": specification,
        "ProcessingResources": {"ClusterConfig": cluster},
        "ProcessingInputs": [_input(key, uri, path) for key, (uri, path) in inputs.items()],
        "ProcessingOutputConfig": outputs,
        "NetworkConfig": network,
        "StoppingCondition": {"MaxRuntimeInSeconds": max_seconds},
    }
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request


def _input(name: str, uri: str, path: str) -> dict[str, Any]:
    source = {
        "S3Uri": uri,
        "LocalPath": path,
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"InputName": name, "S3Input": source}
