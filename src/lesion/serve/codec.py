"""Codec: request bytes to pictures and metadata, predictions to response bytes. Knows content types, no HTTP server."""

# N batch · K outputs

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.artifact import Manifest
from lesion.data import dicom, images
from lesion.data.images import Pixels
from lesion.data.metadata import Row
from lesion.errors import UserError

# What the brief's clients call the columns of the SIIM-ISIC challenge.
ALIASES = {"age": "age_approx", "anatomy": "anatom_site_general_challenge"}

Encode = Callable[[NDArray[np.float32], Manifest], bytes]


@dataclass(frozen=True)
class Samples:
    """What one request asks about, and how its answer is to look."""

    images: Sequence[Pixels]
    metadata: Sequence[Row]
    encode: Encode


def decode(body: bytes, content_type: str) -> Samples:
    """The pictures and metadata of a request.

    `content_type` may carry parameters, in any case; a missing one is guessed from the bytes. Raises UserError of kind
    `content_type` (415), `bad_request` or `unreadable_image` (400).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not kind:
        kind = "application/json" if body.lstrip()[:1] == b"{" else "application/octet-stream"
    if kind not in DECODERS:
        raise UserError(
            f"Content-Type '{kind[:80]}' is not read here",
            do=f"Send one of {', '.join(DECODERS)}.",
            kind="content_type",
        )
    return DECODERS[kind](body)


def _decode_picture(body: bytes) -> Samples:
    return Samples([images.decode(body, name="request body")], [images.header(body)], encode_predictions)


def _decode_json(body: bytes) -> Samples:
    """The brief's payload: {"image": base64, "json_data": JSON text or object}; answered by a bare probability."""
    fields = _json_object(body, "body")
    encoded = fields.get("image")
    if not isinstance(encoded, str):
        raise _bad_request("field 'image' is missing or not text", "Send the picture's file in base64.")
    try:  # a data: URL and line breaks, as the `base64` command makes them, are fine
        content = base64.b64decode("".join(encoded.rpartition("base64,")[2].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_request("field 'image' is not base64", "Encode the picture's file in base64.") from error
    metadata = fields.get("json_data", {})
    if isinstance(metadata, str):
        metadata = _json_object(metadata or "{}", "json_data")
    if not isinstance(metadata, dict):
        raise _bad_request("field 'json_data' is not a JSON object", 'Send {"sex": …, "age_approx": …}.')
    picture = images.decode(content, name="field 'image'")
    return Samples([picture], [{**images.header(content), **row_of(metadata)}], encode_probability)


def row_of(fields: Mapping[str, Any]) -> Row:
    """Metadata by column name: short names turned into the columns' own.

    Raises UserError for a value that is no scalar.
    """
    for name, value in fields.items():
        if not isinstance(value, str | int | float | bool | None):
            raise _bad_request(f"metadata field '{name[:80]}' is not text or a number", "Send one value a field.")
    return {**{ALIASES[name]: value for name, value in fields.items() if name in ALIASES}, **fields}


def encode_probability(probs_NK: NDArray[np.float32], manifest: Manifest) -> bytes:
    """The bare probability of yes, as the brief's clients read it: `float(response)`; of several classes the answer of
    `encode_predictions` for the one picture."""
    if manifest.question.is_yes_no:
        return json.dumps(_exact(manifest.question.asked(probs_NK)[0, 0])).encode()
    return json.dumps(_prediction(probs_NK[0], manifest)).encode()


def encode_predictions(probs_NK: NDArray[np.float32], manifest: Manifest) -> bytes:
    """{"predictions": [one object a picture, as `_prediction` makes it]}."""
    return json.dumps({"predictions": [_prediction(probs_K, manifest) for probs_K in probs_NK]}).encode()


def _prediction(probs_K: NDArray[np.float32], manifest: Manifest) -> dict[str, Any]:
    """What is asked first: "probability" of yes where that is the question, "probabilities" by class where there are
    several, and the "label", or the "labels" where any number can be true."""
    target, labels = manifest.question, manifest.labels(probs_K)
    answer: dict[str, Any] = {}
    if target.is_yes_no:
        answer["probability"] = _exact(target.asked(probs_K[None])[0, 0])
    if target.kind != "binary":
        answer["probabilities"] = dict(zip(target.class_names, map(_exact, probs_K), strict=True))
    return {**answer, "labels": labels} if target.kind == "multilabel" else {**answer, "label": labels[0]}


DECODERS: dict[str, Callable[[bytes], Samples]] = {
    "application/json": _decode_json,
    "image/jpeg": _decode_picture,
    "image/png": _decode_picture,
    dicom.CONTENT_TYPE: _decode_picture,
    "application/x-image": _decode_picture,
    "application/octet-stream": _decode_picture,
}


def _json_object(text: bytes | str, name: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_request(f"{name} is not JSON", "Send a JSON object.") from error
    if not isinstance(fields, dict):
        raise _bad_request(f"{name} is not a JSON object", "Send a JSON object.")
    return fields


def _exact(value: np.float32) -> float:
    """A float32 in the digits that bring it back, not those of its double."""
    return float(f"{float(value):.9g}")


def _bad_request(what: str, do: str) -> UserError:
    return UserError(what, do=do, kind="bad_request")
