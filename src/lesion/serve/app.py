"""App: the HTTP face of one predictor, as SageMaker asks for it: GET /ping and POST /invocations."""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from lesion.algorithms.base import Predictor
from lesion.errors import UserError
from lesion.serve import codec

log = logging.getLogger(__name__)

STATUS = {"content_type": 415, "accept": 406, "too_large": 413}  # every other thing the client can mend is a 400
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def create_app(predictor: Predictor, *, max_payload_mib: int) -> Flask:
    """The HTTP face of one predictor. Reads no environment and loads nothing. `max_payload_mib` 0 sets no limit."""
    app = Flask("lesion")
    app.config["MAX_CONTENT_LENGTH"] = max_payload_mib * 2**20 or None

    @app.get("/ping")
    def ping() -> Response:
        return Response(status=200, content_type="application/json")

    @app.post("/invocations")
    def invocations() -> Response:
        if request.accept_mimetypes and not request.accept_mimetypes.accept_json:
            raise UserError("only application/json is answered", do="Send Accept: application/json.", kind="accept")
        samples = codec.decode(_body(app.config["MAX_CONTENT_LENGTH"]), request.content_type or "")
        probs_NK = predictor.predict(samples.images, samples.metadata)
        return Response(samples.encode(probs_NK, predictor.manifest), content_type="application/json")

    @app.after_request
    def echo_attributes(response: Response) -> Response:
        if attributes := request.headers.get(CUSTOM_ATTRIBUTES):
            response.headers[CUSTOM_ATTRIBUTES] = attributes
        return response

    @app.errorhandler(UserError)
    def refuse(error: UserError) -> Response:
        return _error(error.kind, str(error), STATUS.get(error.kind, 400))

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return _error("too_large", f"The body is larger than {max_payload_mib} MiB. Send a smaller picture.", 413)

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        return _error(error.name.lower().replace(" ", "_"), error.description or error.name, error.code or 500)

    @app.errorhandler(Exception)
    def bug(error: Exception) -> Response:
        log.error("a request failed", exc_info=error)  # the traceback stays here
        return _error("internal", "The request could not be answered; the server's log says why.", 500)

    return app


def _body(limit: int | None) -> bytes:
    """The request's whole body. A longer one than `limit` bytes is refused, also one that comes without its length."""
    body = request.get_data(cache=False)
    # werkzeug refuses a stated length above the limit, but cuts a chunked body there and says nothing.
    if limit is not None and request.content_length is None and len(body) >= limit:
        raise RequestEntityTooLarge
    return body


def _error(kind: str, message: str, status: int) -> Response:
    return Response(json.dumps({"error": kind, "message": message}), status=status, content_type="application/json")
