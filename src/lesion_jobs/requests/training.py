"""Training request: CreateTrainingJob."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from lesion.algorithms.registry import parse_hyperparameters
from lesion.errors import UserError, collecting, raise_all
from lesion.words import shortened
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_choice, check_each, check_number, check_whole, check_within

TENSORBOARD_DIR = "/opt/ml/output/tensorboard"
MAX_VOLUME_GB = 16_384
MAX_HOURS = 28 * 24  # SageMaker ends a training or processing job after 28 days

InputMode = Literal["File", "FastFile"]


def training_request(
    environment: Environment,
    name: str,
    channels: Mapping[str, str],
    hyperparameters: Mapping[str, object],
    *,
    num_instances: int = 1,
    volume_gb: int = 30,
    max_hours: float = 24,
    use_spot: bool = False,
    max_wait_hours: float | None = None,
    checkpoints: str | None = None,
    input_mode: InputMode = "File",
) -> dict[str, Any]:
    """CreateTrainingJob's request. `channels` are by name the URI of each; results go below the environment's output.

    Without `max_wait_hours` a spot job waits for machines up to twice `max_hours` in all. Raises one UserError
    for all hyperparameters, hours, numbers of machines, sizes of their disks and ways to read that are not taken.
    """
    problems: list[UserError] = []
    stopping: dict[str, int] = {}
    with collecting(problems):
        algorithm, _ = parse_hyperparameters(hyperparameters)
        texts = {key: as_text(value) for key, value in hyperparameters.items()}
    with collecting(problems):
        check_machines(num_instances, volume_gb)
    with collecting(problems):
        check_choice("input_mode", input_mode, get_args(InputMode))
    with collecting(problems):
        stopping["MaxRuntimeInSeconds"] = seconds_of(max_hours)
        if use_spot:
            stopping["MaxWaitTimeInSeconds"] = _wait_seconds(max_hours, max_wait_hours)
    if max_wait_hours is not None and not use_spot:
        what = "max_wait_hours and use_spot=False do not go together: only spot machines are waited for"
        do = "Set use_spot=True, or leave max_wait_hours out."
        problems.append(UserError(what, do=do, kind="environment"))
    raise_all(problems)
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": environment.image,
            "TrainingInputMode": input_mode,
            "MetricDefinitions": [{"Name": line.name, "Regex": line.regex} for line in algorithm.metric_lines.values()],
        },
        "RoleArn": environment.arn,
        "HyperParameters": texts,
        "InputDataConfig": [_channel(channel, uri) for channel, uri in channels.items()],
        "OutputDataConfig": {"S3OutputPath": environment.output_uri},
        "ResourceConfig": {
            "InstanceCount": num_instances,
            "InstanceType": environment.instance_type,
            "VolumeSizeInGB": volume_gb,
        },
        "StoppingCondition": stopping,
        "TensorBoardOutputConfig": {"S3OutputPath": environment.output_uri, "LocalPath": TENSORBOARD_DIR},
        "ProfilerConfig": {"DisableProfiler": True},
        "EnableNetworkIsolation": environment.isolated,
        "EnableInterContainerTrafficEncryption": True,
    }
    if use_spot:
        request["EnableManagedSpotTraining"] = True
    if checkpoints:
        request["CheckpointConfig"] = {"S3Uri": checkpoints}
    if environment.kms_key:
        request["OutputDataConfig"]["KmsKeyId"] = environment.kms_key
    if environment.volume_key:
        request["ResourceConfig"]["VolumeKmsKeyId"] = environment.volume_key
    if environment.vpc:
        request["VpcConfig"] = environment.vpc
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request


def check_machines(num_instances: int, volume_gb: int) -> None:
    """Raises UserError for numbers that there cannot be: botocore's description of the service takes 0 of both."""
    check_each(
        (check_whole, "num_instances", num_instances, 1),
        (check_whole, "volume_gb", volume_gb, 1, MAX_VOLUME_GB),
    )


def as_text(value: object) -> str:
    """A value as SageMaker carries it: text as it is, everything else in JSON. Raises UserError for what JSON lacks."""
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except (TypeError, ValueError) as error:
        what = f"{shortened(repr(value), 60)} is no value of JSON"
        raise UserError(what, do="Give text, a number, true or false, a list or a mapping.", kind="options") from error


def seconds_of(max_hours: float) -> int:
    """The limit of a job in seconds. Raises UserError for one that SageMaker does not take."""
    check_number("max_hours", max_hours)
    if not 0 < max_hours <= MAX_HOURS:
        raise UserError(
            f"max_hours={max_hours:g}, and a job may run more than 0 and at most {MAX_HOURS} hours",
            do="Choose another limit; a training job resumes from its checkpoints.",
            kind="environment",
        )
    return max(1, round(3600 * max_hours))


def _wait_seconds(max_hours: float, max_wait_hours: float | None) -> int:
    wait = 2 * max_hours if max_wait_hours is None else max_wait_hours
    check_within("max_wait_hours", wait, 0)
    if wait < max_hours:
        raise UserError(
            f"max_wait_hours={wait:g} is less than max_hours={max_hours:g}", do="Wait longer.", kind="environment"
        )
    return round(3600 * wait)


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}
