"""Environment: where and with what jobs run: image, instance type, output, role, network. Plain values; no SDK."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesion.errors import UserError
from lesion_jobs.argument_types import check_fields

LOCAL_TYPES = ("local", "local_gpu")
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")  # S3 takes no other name of a bucket
RESERVED_TAGS = ("aws:", "lesion:")  # of AWS, which refuses them from others; of rollouts, which find their way back by
LOCAL_ROLE = "arn:aws:iam::000000000000:role/local"  # local mode looks up a role without a slash in IAM


@dataclass(frozen=True)
class Environment:
    """An image on a kind of machine, in SageMaker (`ml.…`) or in local mode (`local`, `local_gpu`).

    Local mode needs Docker, docker-compose and the SageMaker SDK on this machine, and no account. Raises UserError that
    lists all that is missing.
    """

    image: str  # its name in the region's ECR, or on this machine for local mode
    instance_type: str
    output: str | Path  # s3://bucket/prefix; for local mode also a folder
    role: str = ""  # ARN of the role that jobs take on; not needed in local mode
    region: str | None = None  # none takes what AWS's configuration says
    kms_key: str | None = None  # encrypts volumes and outputs; none leaves it to AWS's own keys
    subnets: Sequence[str] = ()
    security_group_ids: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = True  # containers reach no network, S3 is read and written around them
    session: Any = None  # a boto3.Session of your own, as for another profile; for local mode a LocalSession

    def __post_init__(self) -> None:
        check_fields(self)
        problems = []
        if not self.image:
            problems.append("image is empty")
        if not self.is_local and not re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9-]+", self.instance_type):
            problems.append(f"instance_type '{self.instance_type}' is neither ml.FAMILY.SIZE nor local nor local_gpu")
        if not self.is_local and not self.role.startswith("arn:"):
            problems.append("role is not the ARN of an IAM role")
        if not self.is_local and not str(self.output).startswith("s3://"):
            problems.append(f"output '{self.output}' is not s3://BUCKET/PREFIX")
        elif not has_bucket(self.output):
            problems.append(f"output '{self.output}' names no bucket that S3 could have")
        if reserved := [key for key in self.tags if str(key).lower().startswith(RESERVED_TAGS)]:
            problems.append(f"tags may not begin with aws: or lesion:, as {', '.join(reserved)} does")
        if bool(self.subnets) != bool(self.security_group_ids):
            problems.append("subnets and security_group_ids go together")
        if problems:
            raise UserError(
                "environment refused: " + "; ".join(problems), do="Correct the Environment.", kind="environment"
            )

    @property
    def is_local(self) -> bool:
        return self.instance_type in LOCAL_TYPES

    @property
    def has_gpu(self) -> bool:
        return self.instance_type == "local_gpu" or re.match(r"ml\.(g|p)[0-9r]", self.instance_type) is not None

    @property
    def volume_key(self) -> str | None:
        """The key for the machines' volumes; none where they have disks of their own, which SageMaker takes no key for.

        Which those are is the rule of the SDK 2 (sagemaker.utils.instance_supports_kms).
        """
        family = self.instance_type.removeprefix("ml.").partition(".")[0]
        return None if "d" in family or family.startswith(("g5", "g6", "p5", "trn1")) else self.kms_key

    @property
    def arn(self) -> str:
        return self.role or LOCAL_ROLE

    @property
    def output_uri(self) -> str:
        return uri_of(self.output).rstrip("/")

    @property
    def bucket_uri(self) -> str:
        """s3://BUCKET of the output."""
        return "/".join(self.output_uri.split("/")[:3])

    @property
    def tag_list(self) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    @property
    def vpc(self) -> dict[str, list[str]] | None:
        if not self.subnets:
            return None
        return {"Subnets": list(self.subnets), "SecurityGroupIds": list(self.security_group_ids)}


def uri_of(location: str | Path) -> str:
    """`location` as jobs are told it: s3:// and file:// as they are, a path as file:// from the root.

    Not Path.as_uri(): local mode does not decode %20.
    """
    text = str(location)
    return text if "://" in text else f"file://{Path(text).expanduser().resolve()}"


def has_bucket(uri: str | Path) -> bool:
    """Whether an address, if it is one of S3, names a bucket that there could be: 3 to 63 of a-z, 0-9, - and dots."""
    return not str(uri).startswith("s3://") or BUCKET.fullmatch(str(uri)) is not None


def new_name(purpose: str) -> str:
    """A name for a job, model or endpoint that no other has: at most 63 letters, digits and hyphens, by UTC."""
    return f"lesion-{purpose}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
