"""Handler: takes a queue's messages of new pictures, asks an endpoint, and stores each result in a bucket.

A message leaves the queue only after the result of each of its pictures is stored, and a stored result is never
replaced: whoever handles a message may die at any instant, and two may handle the same one. AWS Lambda runs `handle`
from this file alone, so it imports nothing of Lesion.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import unquote_plus

log = logging.getLogger(__name__)

# More than any endpoint takes: AWS's texts of 2025 say 25 MB, the API's model 6, and of serverless endpoints 4.
MAX_BYTES = 25 * 2**20
MAX_KEY_BYTES = 1024
REFUSALS = {400, 413, 415, 422}  # statuses that are about the picture: asked again they would be the same
GONE = {"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "404", "412"}

Ask = Callable[[bytes, str], bytes]  # body and content type of a request to its answer's body; raises Refused
Outcome = Literal["answered", "refused"]


class Refused(Exception):
    """The endpoint says that it will never answer this picture."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Unanswered(Exception):
    """The message stays in the queue, which moves it to its dead-letter queue after some more tries."""


@dataclass(frozen=True)
class Picture:
    """An object of S3, as it was when the message was written."""

    bucket: str
    key: str
    version: str | None  # None where the bucket keeps no versions
    etag: str
    num_bytes: int

    def result_key(self, prefix: str) -> str:
        """Where its result lies: one place for each version of a picture, or for each content."""
        ending = f"/{self.version or self.etag}.json"
        key = f"{prefix}{self.bucket}/{self.key}{ending}"
        if len(key.encode()) <= MAX_KEY_BYTES:
            return key
        return f"{prefix}{self.bucket}/{hashlib.sha256(self.key.encode()).hexdigest()}{ending}"


def pictures_of(body: str) -> list[Picture]:
    """The new pictures that a message of S3 names; none for S3's test of the queue, and folders are none.

    Raises Unanswered for any other message.
    """
    try:
        message = json.loads(body)
        if message.get("Event") == "s3:TestEvent":
            return []
        pictures = [_picture(record) for record in message["Records"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unanswered(f"not S3's message of a new object ({type(error).__name__})") from error
    return [picture for picture in pictures if not picture.key.endswith("/")]


def _picture(record: Mapping[str, Any]) -> Picture:
    if not record["eventName"].startswith("ObjectCreated:"):
        raise ValueError(record["eventName"])
    bucket, told = record["s3"]["bucket"]["name"], record["s3"]["object"]
    version = told.get("versionId")
    key = unquote_plus(told["key"])  # a space comes as +, and other characters by their UTF-8
    return Picture(bucket, key, None if version == "null" else version, told["eTag"], int(told["size"]))


@dataclass(frozen=True)
class Stream:
    """What stands between a message and its results: S3's client, who is asked, and where results are stored."""

    s3: Any
    ask: Ask
    bucket: str
    prefix: str  # of the results' keys: empty, or with / at its end

    def handle(self, body: str) -> None:
        """Stores the result of each picture that a message names, and asks for none twice whose result is there.

        Raises Unanswered, after all of them, where one has none, or was refused: then the message stays in the queue.
        """
        problems = []
        for picture in pictures_of(body):
            try:
                if self._outcome(picture) == "refused":
                    problems.append("refused: its result says why")
            except Exception as error:  # whatever it is, the message stays, and the other pictures get their answers
                problems.append(_kind(error))
        if problems:
            raise Unanswered("; ".join(problems))

    def _outcome(self, picture: Picture) -> Outcome | None:
        """What its stored result is; None for a picture that was removed or replaced before it was read."""
        key = picture.result_key(self.prefix)
        if known := self._stored(key):
            return known
        result = self._result(picture)
        if result is None:
            return None
        outcome: Outcome = "refused" if "refused" in result else "answered"
        told = {"picture": f"s3://{picture.bucket}/{picture.key}", "version": picture.version, "etag": picture.etag}
        if self._store(key, {**told, **result}, outcome):
            return outcome
        return self._stored(key)  # another handler was faster: its result counts

    def _result(self, picture: Picture) -> dict[str, Any] | None:
        if picture.num_bytes > MAX_BYTES:
            return _refusal(413, f"The file has {picture.num_bytes} bytes; an endpoint takes {MAX_BYTES}.")
        which = {"VersionId": picture.version} if picture.version else {"IfMatch": f'"{picture.etag}"'}
        try:
            content = self.s3.get_object(Bucket=picture.bucket, Key=picture.key, **which)["Body"].read()
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return None
            raise
        kind = "application/json" if picture.key.lower().endswith(".json") else "application/x-image"
        try:
            return {"answer": json.loads(self.ask(content, kind))}
        except Refused as refused:
            return _refusal(refused.status, refused.message)

    def _stored(self, key: str) -> Outcome | None:
        try:
            outcome: Outcome = self.s3.head_object(Bucket=self.bucket, Key=key)["Metadata"]["outcome"]
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchKey"}:
                return None
            raise
        return outcome

    def _store(self, key: str, result: Mapping[str, Any], outcome: Outcome) -> bool:
        """Whether it was stored: not if there is one already."""
        try:
            self.s3.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=json.dumps(result, ensure_ascii=False).encode(errors="backslashreplace"),
                ContentType="application/json",
                Metadata={"outcome": outcome},
                IfNoneMatch="*",
            )
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "412"}:
                return False
            raise
        return True


def _kind(error: Exception) -> str:
    """What went wrong, without the error's words: they may hold the picture's key."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code")
    return f"{getattr(error, 'operation_name', '')} {code}" if code else type(error).__name__


def _refusal(status: int, message: str) -> dict[str, Any]:
    return {"refused": {"status": status, "message": message}}


def endpoint_asker(runtime: Any, endpoint: str) -> Ask:
    """Asks a SageMaker endpoint, by boto3's client of `sagemaker-runtime`."""

    def ask(body: bytes, content_type: str) -> bytes:
        try:
            answer: bytes = runtime.invoke_endpoint(
                EndpointName=endpoint, Body=body, ContentType=content_type, Accept="application/json"
            )["Body"].read()
        except runtime.exceptions.ClientError as error:
            # OriginalStatusCode is the container's; SageMaker's own 413 comes without one.
            told = error.response
            status = told.get("OriginalStatusCode") or told["ResponseMetadata"]["HTTPStatusCode"]
            if status in REFUSALS and ("OriginalStatusCode" in told or status == 413):
                raise Refused(status, told.get("OriginalMessage") or told["Error"].get("Message", "")) from error
            raise
        return answer

    return ask


def handle_message(stream: Stream, body: str, name: str) -> bool:
    """Whether a message is done and may leave the queue. Logs what became of it by its `name`, without the picture's:
    that may be a patient's."""
    try:
        stream.handle(body)
    except Unanswered as problem:
        log.warning("message=%s stays: %s", name, problem)
        return False
    log.info("message=%s done", name)
    return True


def handle(event: Mapping[str, Any], _context: object = None) -> dict[str, Any]:
    """Lambda's entry: handles a batch of the queue's messages, and names those that stay (ReportBatchItemFailures).

    The endpoint's name is in LESION_ENDPOINT, the results' place in LESION_RESULTS (s3://BUCKET/PREFIX).
    """
    stream = _stream_of_environment()
    failed = [
        {"itemIdentifier": message["messageId"]}
        for message in event["Records"]
        if not handle_message(stream, message["body"], message["messageId"])
    ]
    return {"batchItemFailures": failed}


@cache  # a Lambda process handles many batches
def _stream_of_environment() -> Stream:
    import boto3

    log.setLevel(logging.INFO)  # Lambda's own level is WARNING
    ask = endpoint_asker(boto3.client("sagemaker-runtime"), os.environ["LESION_ENDPOINT"])
    return Stream(boto3.client("s3"), ask, *split_results(os.environ["LESION_RESULTS"]))


def split_results(uri: str) -> tuple[str, str]:
    """Bucket and prefix of s3://BUCKET/PREFIX."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else ""
