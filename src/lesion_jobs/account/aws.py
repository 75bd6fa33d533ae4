"""AWS: opens boto3 sessions and clients, and turns AWS's errors into ours: what is missing, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lesion.errors import UserError
from lesion_jobs.environment import Environment
from lesion_jobs.requests.validate import INSTALL

LOG_IN = "Log in (`aws configure`, `aws sso login`), or set AWS_PROFILE or the variables AWS_ACCESS_KEY_ID and others."

DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403", "Forbidden"}
SILENT = {"HeadBucket": "s3:ListBucket"}  # refused by S3 with a bare 403, which names no permission
NO_CREDENTIALS = {
    *("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"),
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired"),
}


def open_session(environment: Environment) -> Any:
    """A boto3.Session of the environment's region, or the environment's own if it has one.

    Raises UserError without boto3, without a region, and without credentials. Credentials that AWS no longer takes are
    told by the first request.
    """
    try:
        import boto3
    except ImportError as error:
        raise UserError("boto3 is not installed", do=INSTALL, kind="sdk") from error
    session = environment.session or boto3.Session(region_name=environment.region)
    session = getattr(session, "boto_session", session)  # a sagemaker.Session has one inside
    if session.region_name is None:
        raise UserError(
            "no AWS region is known", do="Set region in the Environment, or AWS_DEFAULT_REGION.", kind="environment"
        )
    if session.get_credentials() is None:
        raise UserError("no AWS credentials were found", do=LOG_IN, kind="credentials")
    return session


def open_client(environment: Environment, service: str = "sagemaker") -> Any:
    """A boto3 client of a service, in the environment's region."""
    return open_session(environment).client(service)


@contextmanager
def plain_errors(what: str, *, do: str) -> Iterator[None]:
    """Turns AWS's refusals into UserErrors that begin with `what` and keep the reason; `do` is for those not known."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise explained(error, what, do=do) from error
    except Boto3Error as error:  # its upload_file puts S3's words into an error of its own
        said = error.__context__ if isinstance(error.__context__, ClientError) else error
        raise explained(said, what, do=do) from error


def explained(error: Exception, what: str, *, do: str) -> UserError:
    """What AWS's error means: a missing permission, credentials, a quota, a role, or its own words."""
    from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, TokenRetrievalError

    code, text = error_code(error), str(error).rstrip(".")  # the sentence ends with a full stop of ours
    if isinstance(error, NoCredentialsError | CredentialRetrievalError | TokenRetrievalError) or code in NO_CREDENTIALS:
        return UserError(f"{what}: AWS does not take the credentials ({text})", do=LOG_IN, kind="credentials")
    if code in DENIED:
        permission = missing_permission(error)
        advice = f"Ask for a policy that allows {permission}." if permission else "Ask for the permission."
        named = f"the permission {permission} is missing" if permission else "a permission is missing"
        return UserError(f"{what}: {named} ({text})", do=advice, kind="permission")
    if code in {"ResourceLimitExceeded", "LimitExceededException"}:
        more = "Ask for more in Service Quotas (service SageMaker), or take another instance type or region."
        return UserError(f"{what}: {text}", do=more, kind="quota")
    if "assume role" in text.lower():
        trust = "Let sagemaker.amazonaws.com assume it: in the role's trust policy, action sts:AssumeRole."
        return UserError(f"{what}: {text}", do=trust, kind="role")
    return UserError(f"{what}: {text}", do=do, kind="job_failed")


def error_code(error: Exception) -> str:
    """AWS's code of an error, such as AccessDeniedException; empty for one that never reached AWS."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_gone(error: Exception) -> bool:
    """Whether AWS says that what was asked for is not there; SageMaker has no code of its own for that."""
    return error_code(error) in {"ResourceNotFound", "ResourceNotFoundException"} or "Could not find" in str(error)


def missing_permission(error: Exception) -> str | None:
    """The action that AWS says is not allowed: "is not authorized to perform: ACTION on resource …"."""
    found = re.search(r"to perform:? ([a-zA-Z0-9-]+:[a-zA-Z0-9*]+)", str(error))
    if found is None and error_code(error) == "403":
        return SILENT.get(getattr(error, "operation_name", ""))
    return found[1] if found else None
