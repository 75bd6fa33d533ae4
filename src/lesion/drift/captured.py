"""Captured: the files of SageMaker's data capture to requests and their answers, as bytes with their media types.

Lines of JSON, in folders of hours below the endpoint's and the variant's name. The body of a line is in base64, or as
text where the capture was told that its type is CSV or JSON.
https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lesion.drift.job import read_time
from lesion.errors import UserError
from lesion.files import refused

TEXT_ENCODINGS = {"JSON", "CSV", "NONE"}


@dataclass(frozen=True)
class Body:
    """What was sent or answered, with its media type."""

    content: bytes
    media_type: str


@dataclass(frozen=True)
class Exchange:
    """One captured request with its answer; None for what was not captured."""

    request: Body | None
    answer: Body | None
    time: datetime | None  # UTC, when the platform took it


@dataclass(frozen=True)
class BadLine:
    """A line that is no capture: where it stands, and why."""

    where: str
    why: str


def read_captured(place: Path) -> Iterator[Exchange | BadLine]:
    """The exchanges of a file or of all *.jsonl below a folder, in the order of the files' names.

    Raises UserError where there is no such place, PlatformError where the disk cannot be read.
    """
    if not place.exists():
        raise UserError("not found", where=place, do="Give the folder of the endpoint's data capture.", kind="captured")
    for path in [place] if place.is_file() else sorted(place.rglob("*.jsonl")):
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield _exchange(line, f"{path.name} line {number}")
        except OSError as error:
            raise refused(error, path, "cannot be read") from error


def _exchange(line: bytes, where: str) -> Exchange | BadLine:
    try:
        captured = json.loads(line)
        data = captured["captureData"]
        request, answer = _body(data.get("endpointInput")), _body(data.get("endpointOutput"))
        if request is None and answer is None:
            return BadLine(where, "it holds neither a request nor an answer")
        return Exchange(request, answer, _time(captured.get("eventMetadata")))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return BadLine(where, "not JSON")
    except (KeyError, TypeError, AttributeError):
        return BadLine(where, "not a line of data capture")
    except ValueError as error:  # our own, of a body or a time
        return BadLine(where, str(error))


def _body(side: Any) -> Body | None:
    if side is None or side.get("data") is None:
        return None
    data, encoding = side["data"], str(side.get("encoding", "BASE64")).upper()
    media_type = str(side.get("observedContentType") or "")
    if encoding == "BASE64":
        try:
            return Body(base64.b64decode(data, validate=True), media_type)
        except binascii.Error as error:
            raise ValueError("a body is not base64") from error
    if encoding not in TEXT_ENCODINGS:
        raise ValueError(f"a body has the encoding {encoding[:20]!r}")
    return Body(data.encode(), media_type)


def _time(metadata: Any) -> datetime | None:
    told = metadata.get("inferenceTime") if isinstance(metadata, dict) else None
    return None if told is None else read_time(str(told))
