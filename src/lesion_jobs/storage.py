"""Storage: files between this machine and where jobs read and write: S3, or in local mode a folder."""

from __future__ import annotations

from pathlib import Path

from lesion.errors import UserError
from lesion_jobs.environment import Environment, new_name, uri_of
from lesion_jobs.session import open_session, plain_errors


def upload(environment: Environment, folder: str | Path) -> str:
    """Uploads a local folder to a new prefix below the environment's output. Returns its location.

    Local mode reads the folder itself.
    """
    if environment.is_local:
        return readable_uri(folder, environment, what="the folder")
    if not Path(folder).is_dir():
        raise UserError("the folder is not there", where=folder, do="Correct the path.", kind="location")
    session = open_session(environment)
    from sagemaker.s3 import S3Uploader

    with plain_errors(f"{folder} was not uploaded", do="Look at the role's and the bucket's permissions."):
        target = f"{environment.output_uri}/{new_name('data')}"
        S3Uploader.upload(str(folder), target, kms_key=environment.kms_key, sagemaker_session=session)
    return target


def download(environment: Environment, uri: str, scratch: str | Path) -> Path:
    """The local path of the file or folder at `uri`: for S3 a copy in `scratch`, else the original."""
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    session = open_session(environment)
    from sagemaker.s3 import S3Downloader

    with plain_errors(f"{uri} cannot be fetched", do="Wait until the job is done."):
        S3Downloader.download(uri, str(scratch), sagemaker_session=session)
    copy = Path(scratch) / uri.rpartition("/")[2]
    return copy if copy.is_file() else Path(scratch)


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
