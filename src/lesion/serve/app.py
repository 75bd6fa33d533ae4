"""App: the HTTP interface of one predictor, as SageMaker requires: GET /ping and POST /invocations.

GET /execution-parameters is for batch transform. Pages for people and monitoring are in pages.py.
"""

from __future__ import annotations

import copy
import io
import re
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice

from flask import Flask, Response, g, request

from lesion.algorithms.base import Answer, Options, Output, Predictor, joined
from lesion.data.decode.memory import MemoryBudget, ReserveBytes
from lesion.errors import LesionError, UserError
from lesion.inference.admission import Admission
from lesion.inference.pipeline import Pipeline, Times
from lesion.serve.answers import CSV, ResponseInfo, choose_accept, encode, part_of, refusal_of_all
from lesion.serve.audit import NO_AUDIT, Audit
from lesion.serve.connection import ClientWatch
from lesion.serve.errors import add_errors
from lesion.serve.limits import Limits
from lesion.serve.metering import Meter, Outcome, reasons_for_log
from lesion.serve.options import read_options
from lesion.serve.own_headers import CUSTOM_ATTRIBUTES, escaped_positive_class, own_headers
from lesion.serve.pages import add_pages
from lesion.serve.records import Record, unknown_parameters, unused_line
from lesion.serve.requests import decode
from lesion.serve.worker import BODY_ERRORS

INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"
MAX_ID_CHARACTERS = 64  # the platform's own limit: API_runtime_InvokeEndpoint.html, InferenceId
MAX_TRANSFORM_MIB = 100  # of all payloads that batch transform has under way: API_CreateTransformJob.html
PIECE_BYTES = 2**16  # of a body, read before the next look at how much is under way
WHOLE_BYTES = 2**18  # a body up to this length, if it is known, is read in one piece, which nobody copies


def create_app(
    predictor: Predictor,
    *,
    limits: Limits = Limits(),
    num_cores: int = 1,
    has_metrics: bool = False,
    audit: Audit = NO_AUDIT,
    has_page: bool = False,
    on_death: Callable[[], None] = lambda: None,
) -> Flask:
    """The Flask app of one predictor. Reads no environment and loads nothing.

    `audit` says where a line for each answered picture goes. `on_death` is called if a thread that decodes or computes
    ends unexpectedly or hangs: /ping is unhealthy from then on.
    """
    app = Flask("lesion", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = limits.max_payload_bytes or None
    memory = MemoryBudget(limits.memory_bytes)
    pipeline = Pipeline(
        predictor.executors,
        max_batch=predictor.max_batch,
        memory=memory,
        num_cores=num_cores,
        max_pixels=limits.max_pixels,
        max_wait_s=limits.max_wait_s,
        limit_s=limits.limit_s,
        hung_s=limits.hung_s,
        on_death=on_death,
    )
    app.extensions["pipeline"] = pipeline
    meter = Meter()
    add_errors(app, max_payload_bytes=limits.max_payload_bytes)
    add_pages(app, predictor, meter if has_metrics else None, has_page=has_page)
    admission = Admission(memory, max_requests=limits.max_requests, max_bytes=limits.max_bodies_bytes)
    version = predictor.manifest.version  # a digest, computed once
    positive_class = escaped_positive_class(predictor)

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=200 if pipeline.is_well(hung_s=limits.hung_s) else 503, content_type="application/json")

    @app.post("/invocations")
    def invocations() -> Response:
        is_wanted = ClientWatch(
            request.environ.get("gunicorn.socket"),
            speaks_http_1_1=request.environ.get("SERVER_PROTOCOL") == "HTTP/1.1",
        )
        with admission.slot() as slot, is_wanted.until_answered():
            options = read_options(request.headers.get(CUSTOM_ATTRIBUTES, ""))
            body = _body(slot.reserve_body)
            invocation = decode(
                body,
                request.content_type or "",
                metadata_columns=predictor.metadata_columns,
                words=predictor.metadata_words,
                content_encoding=request.headers.get("Content-Encoding", ""),
                reserve_bytes=slot.reserve_bytes,
            )
            del body
            media_type = choose_accept(request.headers.get("Accept", ""), invocation.form)
            part = None if g.trail.is_on else part_of(media_type, invocation.form, options)
            wanted = replace(options, part=part)
            of_later_frame = replace(wanted, map=None)  # a file has one map, that of its first frame
            counts: deque[int] = deque()  # of the frames of each record
            results = pipeline.run(
                _frames(
                    g.trail.of_pictures(invocation.records),
                    predictor,
                    counts,
                    most=_most_records(options, media_type, limits),
                ),
                lambda pixels, record: predictor.prepare(
                    pixels, record.metadata(), wanted if record.is_first else of_later_frame
                ),
                times=g.times,
                is_wanted=is_wanted,
                held_bytes=lambda: slot.num_bytes,
            )
            content = encode(
                g.trail.of_answers(_answers(results, counts, predictor, options, g.outcome)),
                invocation,
                media_type=media_type,
                num_cells=predictor.num_cells,
                details=ResponseInfo(version, g.request_id) if options.details else None,
            )
            g.unused, g.reasons = (
                unused_line([*invocation.all_unused(), *unknown_parameters(request.args)]),
                reasons_for_log(g.outcome.errors),
            )
            if g.outcome.errors and not g.outcome.num_answered:
                raise refusal_of_all(g.outcome.errors)
            g.positive_class = positive_class
            return Response(content, content_type=media_type)

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, int]:
        # BatchStrategy is left out: local mode of the SDK does not know the service's own words for it.
        num_at_once = min(2 * num_cores, 16)
        largest_mib = MAX_TRANSFORM_MIB // num_at_once
        if limits.max_payload_bytes:
            largest_mib = min(largest_mib, limits.max_payload_bytes >> 20)
        return {"MaxConcurrentTransforms": num_at_once, "MaxPayloadInMB": largest_mib}

    @app.before_request
    def begin() -> None:
        g.started, g.times, g.outcome = time.monotonic(), Times(), Outcome()
        g.positive_class, g.unused, g.reasons = "", "", []
        # What a client calls its request stands in the log: nothing in it may look like another field or line.
        named = re.sub("[^A-Za-z0-9._-]", "_", request.headers.get(INFERENCE_ID, "")[:MAX_ID_CHARACTERS])
        g.request_id = named or uuid.uuid4().hex
        g.trail = audit.trail(g.request_id, version)

    @app.after_request
    def end(response: Response) -> Response:
        attributes = request.headers.get(CUSTOM_ATTRIBUTES, "")
        response.headers.update(own_headers(g.positive_class, g.unused, attributes=attributes))
        response.call_on_close(partial(audit.write, g.trail))  # once the client has its answer
        if request.path == "/invocations":
            total_s = time.monotonic() - g.started
            meter.note(
                g.request_id,
                response.status_code,
                g.times,
                total_s,
                num_answered=g.outcome.num_answered,
                unused=g.unused,
                reasons=g.reasons,
            )
        return response

    return app


def _most_records(options: Options, media_type: str, limits: Limits) -> int | None:
    """How many images the request may have at most; None where nothing but its size limits it.

    Raises UserError of kind `custom_attributes` for maps in CSV.
    """
    if options.map is None:
        return None
    if media_type == CSV:
        do = "Ask for JSON or JSON Lines with Accept, or leave map out."
        raise UserError("a row of CSV has no place for a map", do=do, kind="custom_attributes")
    return limits.max_maps


def _frames(
    records: Iterable[Record | UserError], predictor: Predictor, counts: deque[int], *, most: int | None
) -> Iterator[Record | UserError]:
    """The frames of each record that are predicted, or its error; how many is added to `counts` before they come.

    Raises UserError of kind `too_large` (413) at more than `most` records.
    """
    for number, record in enumerate(records):
        if number == most:
            raise UserError(f"more than {most} images with a map", do="Ask in several requests.", kind="too_large")
        try:
            found: list[Record | UserError] = [record]
            if isinstance(record, Record):
                found = [*record.frames(predictor.dicom_frames, decode_px=predictor.decode_px)]
        except UserError as error:
            found = [copy.copy(error)]
        counts.append(len(found))
        yield from found


def _answers(
    results: Iterator[Output | LesionError],
    counts: deque[int],
    predictor: Predictor,
    options: Options,
    outcome: Outcome,
) -> Iterator[Answer | UserError]:
    """The answer of each record in turn, or its own error; `outcome` is kept up to date.

    Raises the first PlatformError: the client cannot correct it, so the whole request fails.
    """
    for first in results:
        result = joined((first, *islice(results, counts.popleft() - 1)))
        if isinstance(result, UserError):
            outcome.errors.append(result)
            yield result
        elif isinstance(result, LesionError):
            raise copy.copy(result)  # itself it would hold this frame, which holds it, until the next collection
        else:
            answer = predictor.answer(result, options)
            outcome.num_answered += 1
            yield answer


def _body(reserve_bytes: ReserveBytes) -> bytes:
    """The request's whole body; memory is reserved by `reserve_bytes` as it arrives.

    Raises RequestEntityTooLarge for one that is too long, with or without Content-Length; UserError of kind
    `bad_request` for one that ends early.
    """
    stream, length = request.stream, request.content_length
    if length is not None:
        stream = request.environ["wsgi.input"]  # ends with the body; werkzeug's own, which counts, would copy it
    most = length if length is not None and length <= WHOLE_BYTES else PIECE_BYTES
    rest, body = length, io.BytesIO()
    try:
        while piece := stream.read(most if rest is None else min(rest, most)):
            reserve_bytes(len(piece))
            if len(piece) == length:
                return bytes(piece)  # itself: bytes of bytes are no copy
            body.write(piece)
            rest = None if rest is None else rest - len(piece)
    except BODY_ERRORS as error:
        raise _unfinished() from error
    if rest:
        raise _unfinished()
    return body.getvalue()  # which does not copy


def _unfinished() -> UserError:
    what = "the body ended early, came too slowly, or does not match its headers"
    return UserError(what, do="Send it again.", kind="bad_request")
