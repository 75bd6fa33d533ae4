"""Run: a request done on this machine by local mode's client, which is finished when the call returns."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from lesion.errors import UserError
from lesion_jobs.environment import Environment
from lesion_jobs.local.sdk import local_client

LOCAL_PORT = 8080  # where local mode serves, endpoint and batch transform alike

# What local mode takes of a request. It refuses some of the rest, and says of some that it is not supported.
FIELDS = {
    "create_training_job": {
        *("TrainingJobName", "AlgorithmSpecification", "OutputDataConfig", "ResourceConfig", "InputDataConfig"),
        *("Environment", "HyperParameters"),
    },
    "create_processing_job": {
        *("ProcessingJobName", "AppSpecification", "ProcessingResources", "Environment", "ProcessingInputs"),
        "ProcessingOutputConfig",
    },
    "create_model": {"ModelName", "PrimaryContainer"},
    "create_endpoint_config": {"EndpointConfigName", "ProductionVariants"},
    "create_endpoint": {"EndpointName", "EndpointConfigName"},
    "create_transform_job": {
        *("TransformJobName", "ModelName", "TransformInput", "TransformOutput", "TransformResources"),
        *("BatchStrategy", "MaxPayloadInMB", "Environment"),
    },
}


def run_job(environment: Environment, method: str, request: Mapping[str, Any], *, what: str) -> None:
    """Runs a training or processing job to its end. `method` is boto3's, such as create_training_job.

    Raises UserError, with `what` failed, if the container ends with another code than 0.
    """
    client = local_client(environment)
    try:
        getattr(client, method)(**_known(method, request))
    except RuntimeError as error:  # the SDK says only that compose ended with another code than 0
        raise UserError(f"{what} failed: {error}", do="The log above says why.", kind="job_failed") from error


def start_endpoint(
    environment: Environment, model: Mapping[str, Any], config: Mapping[str, Any], endpoint: Mapping[str, Any]
) -> None:
    """Serves a model on port 8080 of this machine, and returns once it answers. The three are boto3's requests."""
    name = endpoint["EndpointName"]
    client = local_client(environment)
    with _server(f"endpoint {name}", stop=lambda: client.delete_endpoint(EndpointName=name)):
        client.create_model(**_known("create_model", model))
        client.create_endpoint_config(**_known("create_endpoint_config", config))
        client.create_endpoint(**_known("create_endpoint", endpoint))


def run_transform(environment: Environment, model: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Runs a batch transform to its end, on port 8080 of this machine. The two are boto3's requests."""
    client, name = local_client(environment), job["TransformJobName"]

    def stop() -> None:
        client._transform_jobs[name].container.stop_serving()  # neither SDK has a door to it

    with _server(f"batch transform {name}", stop=stop):
        client.create_model(**_known("create_model", model))
        client.create_transform_job(**_known("create_transform_job", job))


def _known(method: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of what local mode takes of the request: it writes into what it is given."""
    return copy.deepcopy({name: value for name, value in request.items() if name in FIELDS[method]})


@contextmanager
def _server(what: str, *, stop: Callable[[], object]) -> Iterator[None]:
    """Inside, local mode's serving container runs: its port must be free, and it is stopped after an error.

    Otherwise the SDK would call another program on that port, and wait for the container at the interpreter's exit.
    """
    with socket.socket() as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", LOCAL_PORT)) == 0:
            raise UserError(
                f"port {LOCAL_PORT} is taken, which the SDK's local mode needs",
                do="Stop the program that listens there; for an endpoint of local mode: delete_endpoint(endpoint).",
                kind="port",
            )
    try:
        yield
    except Exception as error:
        with suppress(Exception):  # whatever hinders its end, the reason above matters more
            stop()
        if isinstance(error, RuntimeError):
            raise UserError(f"{what} failed: {error}", do="The log above says why.", kind="job_failed") from error
        raise
