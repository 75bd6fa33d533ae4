"""Storage: files between this machine and where jobs read and write: S3, or in local mode a folder."""

from __future__ import annotations

from pathlib import Path

from lesion.errors import UserError
from lesion_jobs.place import Place, new_name, uri_of
from lesion_jobs.session import open_session, plain_errors


def upload(place: Place, folder: str | Path) -> str:
    """The location from which jobs in `place` read a folder of this machine: a new prefix below the place's output.

    Local mode reads the folder itself.
    """
    if place.is_local:
        return readable_uri(folder, place, what="the folder")
    if not Path(folder).is_dir():
        raise UserError("the folder is not there", where=folder, do="Correct the path.", kind="location")
    session = open_session(place)
    from sagemaker.s3 import S3Uploader

    with plain_errors(f"{folder} was not uploaded", do="Look at the role's and the bucket's permissions."):
        target = f"{place.output_uri}/{new_name('data')}"
        S3Uploader.upload(str(folder), target, kms_key=place.kms_key, sagemaker_session=session)
    return target


def download(place: Place, uri: str, scratch: str | Path) -> Path:
    """Where on this machine the file or folder at `uri` lies: for S3 a copy in `scratch`, else the thing itself."""
    if not uri.startswith("s3://"):
        return Path(uri.removeprefix("file://"))
    session = open_session(place)
    from sagemaker.s3 import S3Downloader

    with plain_errors(f"{uri} cannot be fetched", do="Wait until the job is done."):
        S3Downloader.download(uri, str(scratch), sagemaker_session=session)
    copy = Path(scratch) / uri.rpartition("/")[2]
    return copy if copy.is_file() else Path(scratch)


def readable_uri(location: str | Path, place: Place, *, what: str) -> str:
    """`location` as a URI that jobs in `place` can read.

    Raises UserError for a path that is not there, or that SageMaker cannot reach.
    """
    uri = uri_of(location)
    if not uri.startswith("file://"):
        return uri
    if not place.is_local:
        raise UserError(
            f"{what} lies on this machine, where {place.instance_type} cannot read it",
            where=location,
            do="Copy it to S3 first: upload(place, FOLDER) returns its address.",
            kind="location",
        )
    if not Path(uri.removeprefix("file://")).exists():
        raise UserError(f"{what} is not there", where=location, do="Correct the path.", kind="location")
    return uri
