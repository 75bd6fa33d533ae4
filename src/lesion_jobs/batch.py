"""Batch: a folder of pictures predicted in one batch, by machines that go away when they are done."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion_jobs.announce import TRANSFORM, announce
from lesion_jobs.endpoint import make_model
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.prediction import Prediction, decode_answer
from lesion_jobs.session import local_server, open_session, plain_errors
from lesion_jobs.storage import download, readable_uri
from lesion_jobs.training import TrainingRun

# NVIDIA driver 535, on which the image's CUDA 12 runs; the SDK's own Transformer cannot ask for it.
TRANSFORM_AMI = "al2-ami-sagemaker-batch-gpu-535"
MAX_PICTURE_MB, MAX_CONCURRENT = 25, 4  # SageMaker's limit is 100 for their product


@dataclass(frozen=True)
class TransformRun:
    """A batch transform and the folder that gets NAME.out for each picture NAME."""

    name: str
    environment: Environment
    output: str


def transform(
    environment: Environment,
    model: TrainingRun | str,
    pictures: str | Path,
    *,
    name: str | None = None,
    num_instances: int = 1,
    wait: bool = True,
) -> TransformRun:
    """Predict every picture under a folder or S3 prefix, which may hold only pictures.

    Raises UserError with the reason if the job fails. Local mode always waits, and needs port 8080 free.
    """
    model_uri = readable_uri(model.model if isinstance(model, TrainingRun) else model, environment, what="the model")
    pictures_uri = readable_uri(pictures, environment, what="the folder of images")
    name = name or new_name("transform")
    run = TransformRun(name, environment, f"{environment.output_uri}/{name}")
    session = open_session(environment)
    announce(TRANSFORM, name, environment, session, num_instances=num_instances)
    arguments = transform_arguments(run, pictures_uri, num_instances=num_instances)
    _start(run, session, model_uri, arguments, wait=wait)
    return run


def transform_arguments(run: TransformRun, pictures_uri: str, *, num_instances: int = 1) -> dict[str, Any]:
    """The arguments of sagemaker.Session.transform: one picture per request."""
    environment = run.environment
    # A prefix without its slash would match its neighbours too: …/new and …/new_rejected.
    source = {"S3DataType": "S3Prefix", "S3Uri": pictures_uri.rstrip("/") + "/"}
    arguments: dict[str, Any] = {
        "job_name": run.name,
        "model_name": run.name,
        "strategy": "SingleRecord",
        "max_concurrent_transforms": MAX_CONCURRENT,
        "max_payload": MAX_PICTURE_MB,
        "env": None,
        "input_config": {"DataSource": {"S3DataSource": source}, "ContentType": "application/x-image"},
        "output_config": {"S3OutputPath": run.output, "Accept": "application/json"},
        "resource_config": {"InstanceCount": num_instances, "InstanceType": environment.instance_type},
        "experiment_config": None,
        "tags": environment.tag_list,
        "data_processing": None,
        "model_client_config": None,
    }
    if environment.kms_key:
        arguments["output_config"]["KmsKeyId"] = environment.kms_key
    if environment.volume_key:
        arguments["resource_config"]["VolumeKmsKeyId"] = environment.volume_key
    if environment.has_gpu and not environment.is_local:
        arguments["resource_config"]["TransformAmiVersion"] = TRANSFORM_AMI
    return arguments


def fetch_predictions(run: TransformRun) -> dict[str, Prediction]:
    """Path of each picture below the folder → prediction. Raises UserError for a picture that was refused."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = download(run.environment, run.output, scratch)
        answers = {str(path.relative_to(folder))[:-4]: path.read_bytes() for path in sorted(folder.rglob("*.out"))}
    return {name: decode_answer(body, where=name) for name, body in answers.items()}


def _start(run: TransformRun, session: Any, model_uri: str, arguments: dict[str, Any], *, wait: bool) -> None:
    environment = run.environment
    model = make_model(environment, model_uri, run.name, session)
    if environment.is_local:

        def stop() -> None:
            session.sagemaker_client._transform_jobs[run.name].container.stop_serving()  # the SDK has no door to it

        with local_server(f"batch transform {run.name}", stop=stop):
            model.create(instance_type=environment.instance_type)
            session.transform(**arguments)
        return
    with plain_errors(f"batch transform {run.name} failed", do="If it started, its logs, named above, say more."):
        model.create(instance_type=environment.instance_type, tags=environment.tag_list)
        session.transform(**arguments)
        if wait:
            session.logs_for_transform_job(run.name, wait=True)
            session.delete_model(run.name)
