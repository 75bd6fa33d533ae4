"""Errors: whatever goes wrong as short JSON, {"error": kind, "message": text}, and never a traceback or a path."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from lesion.errors import LesionError, UserError
from lesion.serve.metering import reasons_for_log

log = logging.getLogger(__name__)

# Every other thing that the client can mend is a 400. A 500 is our bug: batch transform would try it again.
STATUS = {"content_type": 415, "accept": 406, "too_large": 413, "busy": 503}
RETRY_AFTER_S = 1


def add_errors(app: Flask, *, max_payload_bytes: int) -> None:
    """The app answers errors as SageMaker hands them on: ModelError with the status and the first 2,048 characters."""

    @app.errorhandler(LesionError)
    def refuse(error: LesionError) -> Response:
        if not isinstance(error, UserError) and error.kind not in STATUS:
            return bug(error)
        if not g.reasons:  # those of its records say more
            g.reasons = reasons_for_log([error])
        response = _error(error.kind, str(error), STATUS.get(error.kind, 400))
        if response.status_code == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return _error("too_large", f"The body is larger than {max_payload_bytes >> 20} MiB. Send a smaller image.", 413)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _error(error.name.lower().replace(" ", "_"), error.description or error.name, error.code or 500)

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("request id=%s failed", g.request_id, exc_info=error)  # the traceback stays here
        return _error("internal", "The request could not be answered; the server's log says why.", 500)


def refusal_bytes(status: int, kind: str, message: str) -> bytes:
    """A whole HTTP answer, as the app writes it, for a client that is refused before the app is asked."""
    body = json.dumps({"error": kind, "message": message}).encode()
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", "Content-Type: application/json"]
    head += [f"Retry-After: {RETRY_AFTER_S}"] * (status == 503)
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _error(kind: str, message: str, status: int) -> Response:
    return Response(json.dumps({"error": kind, "message": message}), status=status, content_type="application/json")
