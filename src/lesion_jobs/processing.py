"""Processing: a command of Lesion on machines that go away when it is done: `lesion prepare shards`, for one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion.errors import UserError
from lesion_jobs.announce import PROCESSING, announce
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.session import open_session, plain_errors
from lesion_jobs.storage import readable_uri

INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"
SHARDS = ("prepare", "shards", INPUT, "--output", OUTPUT, "--no-progress")


@dataclass(frozen=True)
class ShardsRun:
    """A job that writes shards, and the prefix that is to be the `training` channel of the next."""

    name: str
    environment: Environment
    output: str


def prepare_shards(
    environment: Environment,
    data: str | Path,
    *,
    options: Mapping[str, object] | None = None,
    name: str | None = None,
    num_instances: int = 1,
    volume_gb: int = 100,
    max_hours: float = 24,
    wait: bool = True,
) -> ShardsRun:
    """Turn a data set into shards, each instance its share of them. `options` are those of the command: {"size": 384}.

    A failed job starts from the beginning: it could resume only if SageMaker mounted its earlier output again, which it
    does not. With one instance the data card lies beside the shards, with
    several the same command on the joined folder writes it. Raises UserError with the reason if the job fails.
    """
    data_uri = readable_uri(data, environment, what="the data set")
    name = name or new_name("shards")
    run = ShardsRun(name, environment, f"{environment.output_uri}/{name}")
    arguments = command_arguments(options or {}, own=("output", "root", "engine", "no_progress"))
    run_processing(
        environment,
        name,
        SHARDS,
        arguments,
        # Every instance needs the whole table to plan the shards, and is dealt shards, not files.
        inputs={"data": (data_uri, INPUT)},
        output=("shards", run.output),
        num_instances=num_instances,
        volume_gb=volume_gb,
        max_hours=max_hours,
        wait=wait,
    )
    return run


def run_processing(
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
    wait: bool = True,
) -> None:
    """Runs a command of `lesion` as a Processing job. `inputs` are by name what to read and where it lies in the
    container, all of it on each instance; `output` is the name and the location of what the command leaves in OUTPUT.

    Local mode always waits. Raises UserError with the reason if the job fails.
    """
    session = open_session(environment)
    announce(PROCESSING, name, environment, session, num_instances=num_instances, max_hours=max_hours)
    with plain_errors(f"processing job {name} failed", do="If it started, its logs, named above, say more."):
        if environment.is_local:
            # Not by the SDK's Processor, which would first upload a folder of this machine to an account's bucket.
            request = local_request(environment, name, command, arguments, inputs=inputs, output=output)
            try:
                session.sagemaker_client.create_processing_job(**request)
            except RuntimeError as error:  # the SDK says only that compose ended with another code than 0
                what = f"processing job {name} failed: {error}"
                raise UserError(what, do="The log above says why.", kind="job_failed") from error
            return
        from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor

        settings = processor_arguments(
            environment, command, num_instances=num_instances, volume_gb=volume_gb, max_hours=max_hours
        )
        Processor(**settings, sagemaker_session=session).run(
            inputs=[
                ProcessingInput(uri, path, key, s3_data_distribution_type="FullyReplicated")
                for key, (uri, path) in inputs.items()
            ],
            outputs=[ProcessingOutput(OUTPUT, output[1], output[0])],
            arguments=list(arguments),
            job_name=name,
            wait=wait,
            logs=wait,
        )


def processor_arguments(
    environment: Environment,
    command: Sequence[str],
    *,
    num_instances: int = 1,
    volume_gb: int = 100,
    max_hours: float = 24,
) -> dict[str, Any]:
    """The arguments of sagemaker.processing.Processor, without the session."""
    from sagemaker.network import NetworkConfig

    return {
        "role": environment.arn,
        "image_uri": environment.image,
        "instance_count": num_instances,
        "instance_type": environment.instance_type,
        "entrypoint": ["lesion", *command],
        "volume_size_in_gb": volume_gb,
        "volume_kms_key": environment.volume_key,
        "output_kms_key": environment.kms_key,
        "max_runtime_in_seconds": round(3600 * max_hours),
        "tags": environment.tag_list or None,
        "network_config": NetworkConfig(
            enable_network_isolation=environment.isolated,
            subnets=list(environment.subnets) or None,
            security_group_ids=list(environment.security_group_ids) or None,
        ),
    }


def local_request(
    environment: Environment,
    name: str,
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    inputs: Mapping[str, tuple[str, str]],
    output: tuple[str, str],
) -> dict[str, Any]:
    """The request that local mode's client takes: CreateProcessingJob's, with folders of this machine. The folder of a
    file is mounted where SageMaker would put the file alone."""
    return {
        "ProcessingJobName": name,
        "AppSpecification": {
            "ImageUri": environment.image,
            "ContainerEntrypoint": ["lesion", *command],
            "ContainerArguments": list(arguments),
        },
        "ProcessingResources": {"ClusterConfig": {"InstanceType": environment.instance_type, "InstanceCount": 1}},
        "ProcessingInputs": [
            {"InputName": key, "S3Input": {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix"}}
            for key, (uri, path) in inputs.items()
        ],
        "ProcessingOutputConfig": {
            "Outputs": [
                {
                    "OutputName": output[0],
                    "S3Output": {"S3Uri": output[1], "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                }
            ]
        },
    }


def command_arguments(options: Mapping[str, object], *, own: Sequence[str]) -> list[str]:
    """The command's options; the value of `set` is a mapping of hyperparameters.

    Raises UserError for those that the job itself sets, `own`.
    """
    if taken := sorted(set(options) & set(own)):
        raise UserError(f"the job sets {', '.join(taken)} itself", do="Leave it out.", kind="environment")
    arguments: list[str] = []
    for name, value in options.items():
        values = [f"{key}={text}" for key, text in value.items()] if isinstance(value, Mapping) else [str(value)]
        for text in values:
            arguments += [f"--{name.replace('_', '-')}", text]
    return arguments
