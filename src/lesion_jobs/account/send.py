"""Send: the one place where a request leaves: validated whole, then handed to boto3 or to local mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.environment import Environment
from lesion_jobs.local.sdk import local_client, open_local_session
from lesion_jobs.requests.validate import Requests, check_requests

NOT_STARTED = "Nothing was started by it: correct what AWS names."


def client_of(environment: Environment) -> Any:
    """What answers SageMaker's operations: boto3's client, or local mode's, which has the same methods."""
    return local_client(environment) if environment.is_local else open_client(environment)


def runtime_of(environment: Environment) -> Any:
    """What answers InvokeEndpoint: boto3's client, or local mode's."""
    if environment.is_local:
        return open_local_session(environment).sagemaker_runtime_client
    return open_client(environment, "sagemaker-runtime")


def send(environment: Environment, requests: Requests, *, what: str, do: str = NOT_STARTED) -> list[Mapping[str, Any]]:
    """Sends the requests one after the other, and returns the answers. All are validated before the first is sent.

    Raises UserError, beginning with `what`, for all that is wrong with their form, and for AWS's first refusal.
    """
    from botocore import xform_name

    check_requests(requests)
    with plain_errors(what, do=do):
        client = open_client(environment)
        return [getattr(client, xform_name(operation))(**request) for operation, request in requests]
