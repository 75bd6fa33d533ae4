"""Pages: what people and monitors look at: /model, and, where they are wanted, /metrics and / to try by hand."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from flask import Flask, Response

from lesion.algorithms.base import Predictor
from lesion.data.transforms import MAX_VIEWS
from lesion.serve import metering
from lesion.serve.describe import describe
from lesion.serve.metering import Meter
from lesion.serve.requests import CONTENT_TYPES


def add_pages(app: Flask, predictor: Predictor, meter: Meter | None, *, has_page: bool) -> None:
    """/model always, /metrics of a `meter`, and the page if it is wanted."""
    described = describe(
        predictor.manifest,
        predictor.model,
        version=predictor.manifest.version,
        serving={"backend": predictor.backend, "folds": ", ".join(map(str, predictor.folds))},
        content_types=list(CONTENT_TYPES),
        max_views=MAX_VIEWS,
    )

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


def policy(html: str) -> str:
    """What a browser lets a page do: run its own script and style, told by their digests, and talk to this server.

    https://www.w3.org/TR/CSP3/#match-element-to-source-list
    """

    def digest(tag: str) -> str:
        content = html.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest('script')}; style-src {digest('style')}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
