"""Preflight: what can be known before the first machine is paid for, asked by requests that only read.

A job that waits ten minutes for a machine to say that its image is not there costs nothing, and a morning. What may not
be asked, for want of a permission, is noted and not refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.aws import LOG_IN, error_code, missing_permission, open_session, plain_errors
from lesion_jobs.account.kinds import JobKind
from lesion_jobs.account.storage import ARCHIVE, split_uri
from lesion_jobs.environment import Environment, has_bucket
from lesion_jobs.requests.validate import check_member

ECR_IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
PRINCIPAL = "sagemaker.amazonaws.com"


def check_name(environment: Environment, kind: JobKind, name: str) -> None:
    """Raises UserError for a name that SageMaker would not take for such a job. Local mode takes any."""
    if not environment.is_local:
        check_member(f"Create{kind.noun}", f"{kind.noun}Name", name)


def check_account(
    environment: Environment,
    kind: JobKind | None,
    *,
    num_instances: int = 1,
    use_spot: bool = False,
    reads: Mapping[str, str] | None = None,
    writes: Mapping[str, str] | None = None,
) -> list[str]:
    """Raises one UserError with all that is wrong with credentials, role, image, quota, the buckets that are written to
    and what is to be read.

    Without a `kind` there are no machines to have a quota of. `reads` are by what they are called the S3 URIs of a file
    or prefix; one that ends in .tar.gz is a file. `writes` are prefixes beside the environment's output. Returns a note
    for each thing that could not be asked. Local mode has none of these.
    """
    if environment.is_local:
        return []
    session = open_session(environment)
    with plain_errors("the AWS account was not reached", do=LOG_IN):
        account = session.client("sts").get_caller_identity()["Account"]
    questions: list[tuple[str, Callable[[], None]]] = [
        ("the role", lambda: _check_role(session, environment.arn, account)),
        ("the image", lambda: _check_image(session, environment.image)),
    ]
    if kind is not None:
        machines = (environment.instance_type, kind, num_instances, use_spot)
        questions.append(("the quota", lambda: _check_quota(session, *machines)))
    by_bucket: dict[str, tuple[str, str]] = {}
    for what, uri in {"the output": environment.output_uri, **(writes or {})}.items():
        by_bucket.setdefault(split_uri(uri)[0], (what, uri))
    questions += [
        (f"the bucket of {what}", lambda what=what, uri=uri: _check_bucket(session, what, uri))  # type: ignore[misc]
        for what, uri in by_bucket.values()
    ]
    questions += [
        (what, lambda what=what, uri=uri: _check_location(session, what, uri))  # type: ignore[misc]
        for what, uri in (reads or {}).items()
    ]
    problems: list[UserError] = []
    notes: list[str] = []
    for what, ask in questions:
        with collecting(problems):
            notes += _note(what, ask)
    raise_all(problems)
    return notes


def _note(what: str, ask: Callable[[], None]) -> list[str]:
    """Asks. What AWS does not answer is no fault of the job's: a note of it comes back."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ask()
    except (ClientError, BotoCoreError) as error:
        permission = missing_permission(error)
        return [f"not checked: {what} ({f'the permission {permission} is missing' if permission else error})"]
    return []


def _check_role(session: Any, arn: str, account: str) -> None:
    parts = arn.split(":")
    if len(parts) > 4 and parts[4] != account:
        raise UserError(
            f"the role is of account {parts[4]}, and you are in account {account}",
            where=arn,
            do="Take a role of your own account: SageMaker passes no other.",
            kind="role",
        )
    from botocore.exceptions import ClientError

    try:
        role = session.client("iam").get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        if error_code(error) != "NoSuchEntity":
            raise
        raise UserError("the role is not there", where=arn, do="Correct the name, or make it.", kind="role") from error
    if not any(map(_lets_sagemaker_assume, _listed(role["AssumeRolePolicyDocument"].get("Statement", [])))):
        raise UserError(
            f"SageMaker may not assume the role: its trust policy does not allow sts:AssumeRole to {PRINCIPAL}",
            where=arn,
            do="Add that to the role's trust relationships in IAM.",
            kind="role",
        )


def _lets_sagemaker_assume(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = _listed(principal.get("Service", []) if isinstance(principal, Mapping) else principal)
    actions = _listed(statement.get("Action", []))
    is_named = bool({PRINCIPAL, "*"} & set(services))
    return statement.get("Effect") == "Allow" and is_named and bool({"sts:AssumeRole", "sts:*", "*"} & set(actions))


def _check_image(session: Any, image: str) -> None:
    found = ECR_IMAGE.fullmatch(image)
    if found is None:
        raise UserError(
            "the image is not in ECR, from which SageMaker takes it",
            where=image,
            do="./build_and_push.sh pushes it, and prints ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG.",
            kind="image",
        )
    if found["region"] != session.region_name:
        raise UserError(
            f"the image is in {found['region']}, and the job would run in {session.region_name}",
            where=image,
            do="Push it to that region too, or set the Environment's region.",
            kind="image",
        )
    from botocore.exceptions import ClientError

    try:
        _describe_image(session, found)
    except ClientError as error:
        if error_code(error) not in {"ImageNotFoundException", "RepositoryNotFoundException"}:
            raise
        what = "repository" if "Repository" in error_code(error) else "tag"
        raise UserError(
            f"the image is not there: no such {what} in ECR",
            where=image,
            do="./build_and_push.sh makes it.",
            kind="image",
        ) from error


def image_digest(session: Any, image: str) -> str | None:
    """The digest that an image's tag stands for now; none where the tag is no image of ECR, or may not be asked for."""
    from botocore.exceptions import BotoCoreError, ClientError

    found = ECR_IMAGE.fullmatch(image)
    try:
        return None if found is None else str(_describe_image(session, found)["imageDigest"])
    except (ClientError, BotoCoreError):
        return None


def _describe_image(session: Any, image: re.Match[str]) -> Mapping[str, Any]:
    wanted = {"imageDigest": image["digest"]} if image["digest"] else {"imageTag": image["tag"] or "latest"}
    answer = session.client("ecr").describe_images(
        registryId=image["account"], repositoryName=image["repository"], imageIds=[wanted]
    )
    details: Mapping[str, Any] = answer["imageDetails"][0]
    return details


def _check_quota(session: Any, instance_type: str, kind: JobKind, num_instances: int, use_spot: bool) -> None:
    name = f"{instance_type} for {'spot ' if use_spot else ''}{kind.quota} usage"
    pages = session.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    quota = next((q["Value"] for page in pages for q in page["Quotas"] if q["QuotaName"] == name), None)
    if quota is not None and quota < num_instances:
        raise UserError(
            f"the quota '{name}' is {quota:g}, and {num_instances} would be needed",
            do="Ask for more in Service Quotas, service Amazon SageMaker, or take another instance type or region.",
            kind="quota",
        )


def _check_bucket(session: Any, what: str, uri: str) -> None:
    if not has_bucket(uri):
        raise UserError(f"{what}: S3 could have no such bucket", where=uri, do="Correct it.", kind="location")
    from botocore.exceptions import ClientError

    bucket, _ = split_uri(uri)
    try:
        session.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        if error_code(error) not in {"404", "NoSuchBucket"}:
            raise
        raise UserError(
            f"{what}: there is no bucket '{bucket}'",
            where=uri,
            do="Make it, or correct the address.",
            kind="location",
        ) from error


def _check_location(session: Any, what: str, uri: str) -> None:
    if not uri.startswith("s3://"):
        return
    if not has_bucket(uri):
        raise UserError(f"{what}: S3 could have no such bucket", where=uri, do="Correct it.", kind="location")
    bucket, key = split_uri(uri)
    from botocore.exceptions import ClientError

    try:
        found = session.client("s3").list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise
        raise UserError(
            f"{what}: there is no bucket '{bucket}'", where=uri, do="Correct it.", kind="location"
        ) from error
    if not found:
        raise UserError(f"{what} is not there: nothing in S3 begins so", where=uri, do="Correct it.", kind="location")
    if uri.endswith(ARCHIVE) and found[0]["Key"] != key:  # S3 lists by name: the object itself would be the first
        raise UserError(f"{what} is not there: no object has this name", where=uri, do="Correct it.", kind="location")


def _listed(one_or_many: Any) -> list[Any]:
    """IAM writes a single thing without its list."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]
