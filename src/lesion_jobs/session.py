"""Session: the one place that opens the SageMaker SDK, and turns its errors into ours."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lesion.errors import UserError
from lesion_jobs.environment import Environment

LOCAL_PORT = 8080  # where the SDK's local mode serves, endpoint and batch transform alike


def open_session(environment: Environment) -> Any:
    """A sagemaker.Session of the environment's region, or a LocalSession; the environment's own if it has one.

    Local mode works without an AWS account: where there are no credentials or region, it gets made-up ones, which
    are never used. Raises UserError where the SDK is missing or of another major version.
    """
    sdk = load_sdk()
    if environment.session is not None:
        return environment.session
    import boto3

    aws = boto3.Session(region_name=environment.region)
    if not environment.is_local:
        if aws.region_name is None:
            raise UserError(
                "no AWS region is known", do="Set region in the Environment, or AWS_DEFAULT_REGION.", kind="environment"
            )
        return sdk.Session(boto_session=aws, sagemaker_config=sdk_settings())
    if shutil.which("docker") is None:
        raise UserError(
            "no `docker` command", do="Local mode needs Docker and docker-compose: install them.", kind="sdk"
        )
    if aws.region_name is None or aws.get_credentials() is None:
        aws = boto3.Session("local", "local", region_name=aws.region_name or "us-east-1")
    return sdk.LocalSession(boto_session=aws, sagemaker_config=sdk_settings())


def load_sdk() -> Any:
    """The `sagemaker` module, version 2. Its version 3 has no Estimator, Model or local endpoint."""
    do = "pip install 'sagemaker>=2.257,<3', or install lesion with its extra: 'lesion[jobs]'."
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")  # else each class says that there is a version 3
    try:
        import sagemaker
    except ImportError as error:
        raise UserError("the SageMaker SDK is not installed", do=do, kind="sdk") from error
    if not hasattr(sagemaker, "LocalSession"):
        raise UserError("the SageMaker SDK is not version 2", where=sagemaker.__path__, do=do, kind="sdk")
    return sagemaker


def sdk_settings() -> Any:
    """The user's and administrator's own defaults for the SDK; its telemetry is off unless they turned it on."""
    from sagemaker.config import load_sagemaker_config

    settings = load_sagemaker_config()
    settings.setdefault("SchemaVersion", "1.0")
    modules = settings.setdefault("SageMaker", {}).setdefault("PythonSDK", {}).setdefault("Modules", {})
    modules.setdefault("TelemetryOptOut", True)
    return settings


@contextmanager
def plain_errors(what: str, *, do: str) -> Iterator[None]:
    """Turns a job's failed end, and AWS's refusals, into UserErrors that keep the reason."""
    from botocore.exceptions import BotoCoreError, ClientError
    from sagemaker.exceptions import UnexpectedStatusException

    try:
        yield
    except (UnexpectedStatusException, ClientError, BotoCoreError) as error:
        raise UserError(f"{what}: {error}", do=do, kind="job_failed") from error


@contextmanager
def local_server(what: str, *, stop: Callable[[], object]) -> Iterator[None]:
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
