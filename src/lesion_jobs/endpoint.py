"""Endpoint: serves a model over HTTPS, and costs money until it is deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lesion_jobs.announce import ENDPOINT, announce
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.session import local_server, open_session, plain_errors
from lesion_jobs.storage import readable_uri
from lesion_jobs.training import TrainingRun

# NVIDIA driver 550, on which the image's CUDA 12 runs; left unset, hosts were seen with 470, on which it does not.
INFERENCE_AMI = "al2-ami-sagemaker-inference-gpu-3-1"
START_LIMIT_S = 600  # for the model's download, and for the container's first answer to /ping


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint, and its environment."""

    name: str
    environment: Environment


def deploy(
    environment: Environment,
    model: TrainingRun | str,
    *,
    name: str | None = None,
    num_instances: int = 1,
    wait: bool = True,
) -> Endpoint:
    """Serve `model`, a run or the location of a model.tar.gz, and return once it answers, or at once without `wait`.

    It costs money until `delete_endpoint`. Local mode serves on port 8080 of this machine, one endpoint at a time.
    Raises UserError with the reason if it does not start.
    """
    model_uri = readable_uri(model.model if isinstance(model, TrainingRun) else model, environment, what="the model")
    name = name or new_name("endpoint")
    session = open_session(environment)
    announce(ENDPOINT, name, environment, session, num_instances=num_instances)
    arguments = deploy_arguments(environment, name, num_instances=num_instances)
    sdk_model = make_model(environment, model_uri, name, session)
    if environment.is_local:
        with local_server(f"endpoint {name}", stop=lambda: session.delete_endpoint(name)):
            sdk_model.deploy(**arguments, wait=False)  # it is ready by then; waiting would sleep 30 s before it looks
    else:
        with plain_errors(f"endpoint {name} did not start", do="If it started, its logs, named above, say more."):
            sdk_model.deploy(**arguments, wait=wait)
    return Endpoint(name, environment)


def delete_endpoint(endpoint: Endpoint) -> None:
    """Stop the endpoint, and with it its cost; its configuration and model go too. The artifact stays."""
    session = open_session(endpoint.environment)
    with plain_errors(f"endpoint {endpoint.name} was not deleted", do="Delete it in the console: it costs money."):
        session.delete_endpoint(endpoint.name)
        session.delete_endpoint_config(endpoint.name)
        session.delete_model(endpoint.name)


def deploy_arguments(environment: Environment, name: str, *, num_instances: int = 1) -> dict[str, Any]:
    """What sagemaker.model.Model.deploy is called with."""
    arguments: dict[str, Any] = {
        "initial_instance_count": num_instances,
        "instance_type": environment.instance_type,
        "endpoint_name": name,
    }
    if environment.is_local:
        return arguments
    return arguments | {
        "tags": environment.tag_list,
        "kms_key": environment.volume_key,
        "model_data_download_timeout": START_LIMIT_S,
        "container_startup_health_check_timeout": START_LIMIT_S,
        "inference_ami_version": INFERENCE_AMI if environment.has_gpu else None,
    }


def make_model(environment: Environment, model_uri: str, name: str, session: Any) -> Any:
    """The SDK's Model: artifact and image under a name, not yet on any machine."""
    from sagemaker.model import Model

    return Model(
        image_uri=environment.image,
        model_data=model_uri,
        role=environment.arn,
        name=name,
        vpc_config=environment.vpc,
        enable_network_isolation=environment.isolated,
        sagemaker_session=session,
    )
