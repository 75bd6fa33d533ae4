"""SDK: which of the SageMaker SDK's versions is installed, and its local session."""

from __future__ import annotations

import importlib
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lesion.errors import UserError
from lesion_jobs.environment import Environment

VERSIONS = {"2": "lesion_jobs.local.sdk2", "3": "lesion_jobs.local.sdk3"}  # major version → the file that opens it
INSTALL = "pip install 'sagemaker>=2.257,<4', or install lesion with its extras: 'lesion[jobs,local]'."


def open_local_session(environment: Environment) -> Any:
    """The SDK's session of local mode, or the environment's own if it has one.

    Works without an AWS account: where there are no credentials or region, it gets made-up ones, which are never used.
    Raises UserError where the SDK or Docker is missing.
    """
    module = importlib.import_module(VERSIONS[installed_major()])
    if environment.session is not None:
        return environment.session
    if shutil.which("docker") is None:
        raise UserError(
            "no `docker` command", do="Local mode needs Docker and docker-compose: install them.", kind="sdk"
        )
    import boto3

    aws = boto3.Session(region_name=environment.region)
    if aws.region_name is None or aws.get_credentials() is None:
        aws = boto3.Session("local", "local", region_name=aws.region_name or "us-east-1")
    return module.open_local_session(aws)


def local_client(environment: Environment) -> Any:
    """Local mode's client: the methods of boto3's SageMaker client, for jobs on this machine."""
    return open_local_session(environment).sagemaker_client


def installed_major() -> str:
    """The SDK's major version. Raises UserError where there is none, or one that is not known."""
    try:
        installed = version("sagemaker")
    except PackageNotFoundError as error:
        raise UserError("local mode needs the SageMaker SDK, which is not installed", do=INSTALL, kind="sdk") from error
    major = installed.partition(".")[0]
    if major not in VERSIONS:
        raise UserError(f"local mode does not know version {installed} of the SageMaker SDK", do=INSTALL, kind="sdk")
    return major
