"""Later: a picture in S3 for an asynchronous endpoint, whose answer comes to S3 when it is its turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lesion.errors import UserError
from lesion_jobs.account.aws import error_code, explained, open_client, plain_errors
from lesion_jobs.account.send import runtime_of
from lesion_jobs.account.storage import split_uri
from lesion_jobs.answers import Prediction, decode_answer
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import read_config
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.environment import Environment


@dataclass(frozen=True)
class Later:
    """A request that waits its turn, and where its answer or its refusal will lie."""

    environment: Environment
    picture: str
    answer: str
    failure: str

    def result(self) -> Prediction | None:
        """The prediction, or none while there is no answer. Raises UserError with the server's words if it refused."""
        s3 = open_client(self.environment, "s3")
        for uri in (self.answer, self.failure):
            body = _read(s3, uri)
            if body is not None:
                return decode_answer(body, where=self.picture)
        return None


@typed
def predict_later(endpoint: Endpoint, picture: str) -> Later:
    """Put a picture, given as s3://…, into the queue of an endpoint that was deployed with Async().

    Raises UserError for another address, and where the endpoint takes no such request.
    """
    from botocore.exceptions import ClientError

    if endpoint.environment.is_local:
        raise UserError("local mode has no queue", do="predict(endpoint, picture) answers at once.", kind="environment")
    if not str(picture).startswith("s3://"):
        raise UserError(
            "the queue takes pictures from S3 alone",
            where=picture,
            do="Copy it there first (upload(environment, FOLDER) returns its address), and give s3://BUCKET/KEY.",
            kind="location",
        )
    what, do = f"{endpoint.name} did not take the request", "Was it deployed with how=Async(), in this region?"
    with plain_errors(what, do=do):
        try:
            told = runtime_of(endpoint.environment).invoke_endpoint_async(
                EndpointName=endpoint.name,
                InputLocation=picture,
                ContentType="application/x-image",
                Accept="application/json",
            )
        except ClientError as error:
            if _has_queue(endpoint):
                raise
            raise UserError(
                f"endpoint {endpoint.name} has no queue: it was not deployed with how=Async()",
                do="Ask it directly: predict(endpoint, picture). Or deploy another with how=Async().",
                kind="environment",
            ) from error
    return Later(endpoint.environment, picture, told["OutputLocation"], told["FailureLocation"])


def _has_queue(endpoint: Endpoint) -> bool:
    """Whether it is asynchronous; also where that cannot be known."""
    try:
        config, _ = read_config(endpoint, endpoint.describe()["EndpointConfigName"])
    except UserError:
        return True
    return "AsyncInferenceConfig" in config


def _read(s3: Any, uri: str) -> bytes | None:
    """The object's bytes, or none if it is not there yet."""
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, key = split_uri(uri)
    try:
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except (ClientError, BotoCoreError) as error:
        if error_code(error) == "NoSuchKey":
            return None
        raise explained(error, f"{uri} cannot be read", do="Check permissions and network.") from error
    return content
