"""Pages: for people and monitoring: /model, and optionally /metrics and / for trying images by hand."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask, Response

from lesion.algorithms.base import Predictor
from lesion.data.decode import formats
from lesion.serve import metering
from lesion.serve.metering import Meter
from lesion.serve.records import names_for
from lesion.serve.requests import CONTENT_TYPES

# What reaches the networks, whatever format it came in; an array has to hold it so.
PIXELS = {
    "channels": "RGB",  # also of an array: OpenCV's own order is BGR
    "dtype": "uint8",
    "range": [0, 255],
    "of_16_bits": "the upper byte",
    "of_several_frames": "the first",
}


def add_pages(app: Flask, predictor: Predictor, meter: Meter | None, *, has_page: bool) -> None:
    """/model always, /metrics of a `meter`, and the page if it is wanted."""
    described = describe(predictor)

    @app.get("/model")
    def model() -> Response:
        return Response(json.dumps(described, indent=2) + "\n", content_type="application/json")

    if meter is not None:

        @app.get("/metrics")
        def metrics() -> Response:
            return Response(meter.text(), content_type=metering.CONTENT_TYPE)

    if has_page:
        html = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        headers = {"Content-Security-Policy": policy(html), "X-Content-Type-Options": "nosniff"}

        @app.get("/")
        def page() -> Response:
            return Response(html, content_type="text/html; charset=utf-8", headers=headers)


def describe(predictor: Predictor) -> dict[str, Any]:
    """The content of /model: the algorithm's description, whose parts are optional, with what serving adds to
    "model", "inputs" and "serving"."""
    manifest, told = predictor.manifest, predictor.describe()
    inputs = told.get("inputs", {})
    return {
        **told,
        "model": {
            "version": manifest.version,
            "algorithm": manifest.algorithm,
            "format_version": manifest.format_version,
            "lesion_version": manifest.packages.get("lesion"),
            **told.get("model", {}),
        },
        "inputs": {
            "picture": {
                "content_types": list(CONTENT_TYPES),
                "formats": list(formats.READ),
                **PIXELS,
                **inputs.get("picture", {}),
            },
            "metadata": [
                _with_short_names(column, predictor.metadata_columns) for column in inputs.get("metadata", [])
            ],
        },
        "serving": {"backend": predictor.backend, **told.get("serving", {})},
        "packages": manifest.packages,
    }


def _with_short_names(column: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    short = names_for(column["name"], columns)
    return {**column, "also_called": short} if short else column


def policy(html: str) -> str:
    """The Content-Security-Policy of a page: only its own script and style, by digest, and requests to this server.

    https://www.w3.org/TR/CSP3/#match-element-to-source-list
    """

    def digest(tag: str) -> str:
        content = html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest('script')}; style-src {digest('style')}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
