"""Prediction: sends one picture to an endpoint, as a request that a pure function makes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from lesion.errors import UserError
from lesion_jobs.account.send import runtime_of
from lesion_jobs.answers import Prediction, decode_answer
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.endpoint import Endpoint

# The first bytes of a file → its content type; anything else is left to the server, which looks for itself.
MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png"}


@typed
def predict(
    endpoint: Endpoint, picture: bytes | str | Path, metadata: Mapping[str, str | float | None] | None = None
) -> Prediction:
    """The endpoint's prediction of a picture, given as path or bytes, with optional metadata by column name.

    Raises UserError with the server's words where it refuses the picture.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    body, content_type = encode_request(read_picture(picture), metadata)
    runtime = runtime_of(endpoint.environment)
    try:
        answer = runtime.invoke_endpoint(
            EndpointName=endpoint.name, Body=body, ContentType=content_type, Accept="application/json"
        )["Body"].read()
    except ClientError as error:  # for a refusal of the container's, its own words are in OriginalMessage
        words = error.response.get("OriginalMessage", "")
        if not words:
            raise UserError(f"{endpoint.name} did not answer: {error}", do="Is it deployed, in this region?") from error
        answer = words.encode()
    except BotoCoreError as error:
        raise UserError(f"{endpoint.name} did not answer: {error}", do="Check the network and credentials.") from error
    return decode_answer(answer, where=picture if isinstance(picture, str | Path) else endpoint.name)


def read_picture(picture: bytes | str | Path) -> bytes:
    """The picture's bytes. Raises UserError for a file that cannot be read."""
    if isinstance(picture, bytes):
        return picture
    try:
        return Path(picture).read_bytes()
    except OSError as error:
        raise UserError(f"image cannot be read: {error.strerror}", where=picture, do="Correct the path.") from error


def encode_request(picture: bytes, metadata: Mapping[str, str | float | None] | None = None) -> tuple[bytes, str]:
    """Body and content type: the bare picture, or JSON with base64 where metadata goes with it."""
    if metadata:
        fields = {"image": base64.b64encode(picture).decode(), "json_data": dict(metadata)}
        try:
            return json.dumps(fields).encode(), "application/json"
        except TypeError as error:  # NumPy's numbers are none of JSON's
            raise UserError(f"metadata cannot be sent: {error}", do="Give Python's own numbers and text.") from error
    kinds = [kind for magic, kind in MAGIC.items() if picture.startswith(magic)]
    return picture, kinds[0] if kinds else "application/x-image"
