"""Processing: `lesion prepare shards` on machines that go away when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion.errors import UserError
from lesion_jobs.announce import PROCESSING, announce
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.session import open_session, plain_errors
from lesion_jobs.storage import readable_uri

INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


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
    session = open_session(environment)
    announce(PROCESSING, name, environment, session, num_instances=num_instances, max_hours=max_hours)
    from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor

    processor = Processor(
        **processor_arguments(environment, num_instances=num_instances, volume_gb=volume_gb, max_hours=max_hours),
        sagemaker_session=session,
    )
    with plain_errors(f"processing job {name} failed", do="If it started, its logs, named above, say more."):
        processor.run(
            # Every instance needs the whole table to plan the shards, and is dealt shards, not files.
            inputs=[ProcessingInput(data_uri, INPUT, "data", s3_data_distribution_type="FullyReplicated")],
            outputs=[ProcessingOutput(OUTPUT, run.output, "shards")],
            arguments=command_arguments(options or {}),
            job_name=name,
            wait=wait,
            logs=wait and not environment.is_local,
        )
    return run


def processor_arguments(
    environment: Environment, *, num_instances: int = 1, volume_gb: int = 100, max_hours: float = 24
) -> dict[str, Any]:
    """The arguments of sagemaker.processing.Processor, without the session."""
    arguments: dict[str, Any] = {
        "role": environment.arn,
        "image_uri": environment.image,
        "instance_count": num_instances,
        "instance_type": environment.instance_type,
        "entrypoint": ["lesion", "prepare", "shards", INPUT, "--output", OUTPUT, "--no-progress"],
    }
    if environment.is_local:
        return arguments
    from sagemaker.network import NetworkConfig

    return arguments | {
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


def command_arguments(options: Mapping[str, object]) -> list[str]:
    """The command's options; the value of `set` is a mapping of hyperparameters.

    Raises UserError for those that the job itself sets.
    """
    if own := sorted(set(options) & {"output", "root", "engine", "no_progress"}):
        raise UserError(f"the job sets {', '.join(own)} itself", do="Leave it out.", kind="environment")
    arguments: list[str] = []
    for name, value in options.items():
        values = [f"{key}={text}" for key, text in value.items()] if isinstance(value, Mapping) else [str(value)]
        for text in values:
            arguments += [f"--{name.replace('_', '-')}", text]
    return arguments
