"""Answers: encodes the algorithm's answers as JSON, JSON Lines or CSV. Knows media types, no HTTP server."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from werkzeug.datastructures import MIMEAccept

from lesion.algorithms.base import Answer, AnswerPart, Options
from lesion.errors import UserError
from lesion.serve.records import Form, Invocation

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MEDIA_TYPES = {JSON: JSON, LINES: LINES, CSV: CSV, "application/x-jsonlines": LINES}
# Lines in, lines out: batch transform puts the two together again.
DEFAULTS: dict[Form, str] = {"lines": LINES, "csv": CSV}
WEIGHT = re.compile(r"q\s*=\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
NUM_QUOTED = 3  # quoted in the error of a request without a single prediction
QUOTED_LETTERS = 300  # of each; SageMaker hands on the first 2,048 of an answer that is a refusal


@dataclass(frozen=True)
class ResponseInfo:
    """What a request with details=true also gets: the model's version and the request's id."""

    model: str
    request_id: str


@lru_cache(maxsize=64)  # a server's clients send few
def choose_accept(accept: str, form: Form) -> str:
    """The media type of the response: the client's preference, else the one that fits its request.

    Raises UserError of kind `accept` (406) if we write none that it accepts.
    """
    default = DEFAULTS.get(form, JSON)
    wanted = MIMEAccept(_wanted(accept))
    if not wanted:
        return default
    chosen = wanted.best_match([default, *MEDIA_TYPES])
    if chosen is None:
        raise UserError(
            f"Accept '{accept[:80]}' is not supported",
            do=f"Send one of {', '.join(MEDIA_TYPES)}.",
            kind="accept",
        )
    return MEDIA_TYPES[chosen]


def _wanted(accept: str) -> Iterator[tuple[str, float]]:
    """The media types of an Accept header with their weights, 1 where none is given or none can be read.

    werkzeug's own parser drops what is not RFC 9110 to the letter, so that Java's default, which ends in
    `*; q=.2, */*; q=.2`, would match nothing. Parameters such as charset are ignored.
    """
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [found[1] for part in parameters if (found := WEIGHT.fullmatch(part))]
        if kind:
            yield ("*/*" if kind == "*" else kind), min(float(weights[0]), 1.0) if weights else 1.0


def part_of(media_type: str, form: Form, options: Options) -> AnswerPart:
    """Which part of each answer `encode` will write. With a map the bare answer is the object, too."""
    if media_type == JSON:
        is_object = options.details or options.map is not None
        return "bare" if form == "payload" and not is_object else "fields"
    return "line" if media_type == LINES else "cells"


def refusal_of_all(errors: Sequence[UserError]) -> UserError:
    """The error for a request in which no record could be predicted, with the first reasons."""
    first = errors[0]
    if len(errors) == 1:  # another object: one that is raised again would keep this frame, and with it the records
        return UserError(first.what, where=first.where, do=first.do, kind=first.kind)
    reasons = " ".join(str(error)[:QUOTED_LETTERS] for error in errors[:NUM_QUOTED])
    more = f" The first {NUM_QUOTED}:" if len(errors) > NUM_QUOTED else ""
    is_one_kind = all(error.kind == first.kind for error in errors)
    return UserError(
        f"none of the {len(errors)} records could be predicted",
        do=f"Correct them.{more} {reasons}",
        kind=first.kind if is_one_kind else "bad_request",
    )


def encode(
    answers: Iterable[Answer | UserError],
    invocation: Invocation,
    *,
    media_type: str,
    num_cells: int,
    details: ResponseInfo | None = None,
) -> bytes:
    """The answers as that media type. No newline at the end: batch transform adds one after each response.

    Each answer is encoded and freed at once: a hundred thousand objects need many times the memory of their text.
    `num_cells` is the number of cells of a CSV row; `details` are added on request. An object also tells what came with
    its picture and was not used; CSV and a bare number have no place for it.
    """
    return ENCODERS[media_type](answers, invocation, num_cells, details)


def _as_json(
    answers: Iterable[Answer | UserError], invocation: Invocation, _: int, details: ResponseInfo | None
) -> bytes:
    """{"predictions": [one object a picture]}; for a payload with one picture the bare answer: a number, which
    clients read by `float(response)`, or the one object."""
    if invocation.form == "payload" and details is None:
        [answer] = answers
        if isinstance(answer, Answer):
            bare = answer.bare
            return json.dumps(_with_unused(bare, invocation, 0) if isinstance(bare, dict) else bare).encode()
        answers = [answer]
    predictions = ", ".join(map(json.dumps, _objects(answers, invocation, lambda answer: answer.fields)))
    of_server = "" if details is None else f", {json.dumps(asdict(details))[1:-1]}"
    return f'{{"predictions": [{predictions}]{of_server}}}'.encode()


def _as_lines(
    answers: Iterable[Answer | UserError], invocation: Invocation, _: int, details: ResponseInfo | None
) -> bytes:
    """One object per line; with details each holds the server's fields, since there is no enclosing object."""
    of_server = {} if details is None else asdict(details)
    objects = _objects(answers, invocation, lambda answer: answer.line)
    return "\n".join(json.dumps(each if "error" in each else {**each, **of_server}) for each in objects).encode()


def _as_csv(answers: Iterable[Answer | UserError], _: Invocation, num_cells: int, __: ResponseInfo | None) -> bytes:
    """One row per picture, without header; for a picture that failed: ERROR, empty cells, and the error's kind."""
    return "\n".join(
        _row(["ERROR", *[""] * (num_cells - 2), answer.kind] if isinstance(answer, UserError) else answer.cells)
        for answer in answers
    ).encode()


Encoder = Callable[[Iterable[Answer | UserError], Invocation, int, ResponseInfo | None], bytes]
ENCODERS: dict[str, Encoder] = {JSON: _as_json, LINES: _as_lines, CSV: _as_csv}


def _objects(
    answers: Iterable[Answer | UserError],
    invocation: Invocation,
    part: Callable[[Answer], dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """A part of each answer with what came with its picture and was not used, or its error."""
    for number, answer in enumerate(answers):
        if isinstance(answer, UserError):
            yield {"error": {"kind": answer.kind, "message": str(answer)}}
        else:
            yield _with_unused(part(answer), invocation, number)


def _with_unused(fields: dict[str, Any], invocation: Invocation, number: int) -> dict[str, Any]:
    unused = invocation.unused_of(number)
    return {**fields, "unused": list(unused)} if unused else fields


def _row(cells: Sequence[object]) -> str:
    """A row without its end. Written with both signs of one, since the writer quotes those that it ends rows with."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")
