"""Answers: the body of an answer back to what each image was told: the inverse of serve/answers.

An answer is an object of JSON, the cells of a row of CSV, or a bare number; a refusal is its kind.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from lesion.drift.captured import Body
from lesion.serve.answers import CSV, JSON, LINES, MEDIA_TYPES


@dataclass(frozen=True)
class Refusal:
    """An image that was not answered; `kind` is the error's, such as low_quality."""

    kind: str


Told = dict[str, Any] | list[str] | float | Refusal


def read_answers(body: Body) -> list[Told]:
    """What each image of a request was told, in their order. Raises ValueError for what is none of our answers."""
    media_type = MEDIA_TYPES.get(body.media_type.partition(";")[0].strip().lower(), JSON)
    text = body.content.decode("utf-8")
    if media_type == CSV:
        try:
            return [_row(cells) for cells in csv.reader(io.StringIO(text), strict=True) if cells]
        except csv.Error as error:  # which is no ValueError
            raise ValueError(f"it is not CSV: {error}") from error
    if media_type == LINES:
        return [_one(json.loads(line)) for line in text.splitlines() if line.strip()]
    whole = json.loads(text)
    if isinstance(whole, dict) and isinstance(whole.get("predictions"), list):
        version = {"model": whole["model"]} if "model" in whole else {}
        return [_one({**told, **version} if isinstance(told, dict) else told) for told in whole["predictions"]]
    return [_one(whole)]


def _row(cells: list[str]) -> Told:
    return Refusal(cells[-1]) if cells[0] == "ERROR" else cells


def _one(told: Any) -> Told:
    if isinstance(told, bool) or not isinstance(told, dict | int | float):
        raise ValueError("it is neither an object nor a number")
    if not isinstance(told, dict):
        return told
    if (error := told.get("error")) is None:
        return told
    # A request without a single prediction is answered with {"error": kind, "message": …}, one image with an object.
    return Refusal(str(error.get("kind", "unknown") if isinstance(error, dict) else error)[:40])
