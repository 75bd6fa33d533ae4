"""Storage: files between this machine and where jobs read and write: S3, or in local mode a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name, uri_of

ARCHIVE = ".tar.gz"  # as which SageMaker reads and writes models


@typed
def upload(environment: Environment, folder: str | Path) -> str:
    """Uploads a local folder, with what links in it lead to, to a new prefix below the environment's output. Returns
    its location.

    Local mode reads the folder itself. Raises UserError for a folder that is not there or cannot be listed, before
    anything is sent.
    """
    if environment.is_local:
        return readable_uri(folder, environment, what="the folder")
    if not Path(folder).is_dir():
        raise UserError("the folder is not there", where=folder, do="Correct the path.", kind="location")
    target = f"{environment.output_uri}/{new_name('data')}"
    bucket, prefix = split_uri(target)
    try:
        paths = list(_files(Path(folder), above=frozenset()))
    except OSError as error:
        do = "Make it readable for this user, or remove it."
        raise UserError("the folder cannot be listed", where=error.filename, do=do, kind="location") from error
    with plain_errors(f"{folder} was not uploaded", do="Look at the role's and the bucket's permissions."):
        s3 = open_client(environment, "s3")
        for path in paths:
            s3.upload_file(
                str(path), bucket, f"{prefix}/{path.relative_to(folder).as_posix()}", ExtraArgs=encryption(environment)
            )
    return target


def encryption(environment: Environment) -> dict[str, str]:
    """What goes to S3 with a file: by which key it is encrypted."""
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": environment.kms_key} if environment.kms_key else {}


def _files(folder: Path, *, above: frozenset[Path]) -> Iterator[Path]:
    """All files below a folder, sorted, by the paths that links give them too: S3 has no links. A link back to one of
    the folders `above` is not followed."""
    real = folder.resolve()
    if real in above:
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path, above=above | {real})
        elif path.is_file():
            yield path


def download(environment: Environment, uri: str, scratch: str | Path) -> Path:
    """The local path of the file or folder at `uri`: for S3 a copy in `scratch`, else the original.

    Raises UserError where there is nothing.
    """
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    bucket, prefix = split_uri(uri)
    folder = Path(scratch)
    with plain_errors(f"{uri} cannot be fetched", do="Wait until the job is done."):
        s3 = open_client(environment, "s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        # A prefix matches its neighbours too: …/run and …/run_2.
        keys = [key for key in keys if key == prefix or key.startswith(f"{prefix.rstrip('/')}/")]
        for key in keys:
            path = folder / (key.removeprefix(prefix).lstrip("/") or Path(key).name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not key.endswith("/"):
                s3.download_file(bucket, key, str(path))
    if not keys:
        raise UserError("there is nothing in S3", where=uri, do="Wait until the job is done.", kind="location")
    return folder / Path(prefix).name if keys == [prefix] else folder


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def share_files(one: str, other: str) -> bool:
    """Whether a job that reads one of two addresses reads files at the other too.

    S3 gives all keys that begin as the address does: of …/data those of …/data_new too, of …/data/ not.
    """
    if "file://" in (one[:7], other[:7]):
        one, other = (f"{uri.rstrip('/')}/" for uri in (one, other))
        return one.startswith(other) or other.startswith(one)
    (bucket, key), (other_bucket, other_key) = split_uri(one), split_uri(other)
    return bucket == other_bucket and (key.startswith(other_key) or other_key.startswith(key))


def readable_uri(location: str | Path, environment: Environment, *, what: str) -> str:
    """`location` as a URI that jobs in `environment` can read.

    Raises UserError for a path that is not there, or that SageMaker cannot reach.
    """
    uri = uri_of(location)
    if not uri.startswith("file://"):
        return uri
    if not environment.is_local:
        raise UserError(
            f"{what} lies on this machine, where {environment.instance_type} cannot read it",
            where=location,
            do="Copy it to S3 first: upload(environment, FOLDER) returns its address.",
            kind="location",
        )
    if not Path(uri.removeprefix("file://")).exists():
        raise UserError(f"{what} is not there", where=location, do="Correct the path.", kind="location")
    return uri
