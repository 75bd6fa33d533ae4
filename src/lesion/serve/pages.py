"""Pages: what people and monitors look at: /model, and, where they are wanted, /metrics and / to try by hand."""

from __future__ import annotations

import json
from pathlib import Path

from flask import Flask, Response

from lesion.algorithms.base import Predictor
from lesion.data.transforms import MAX_VIEWS
from lesion.serve import metering
from lesion.serve.describe import describe
from lesion.serve.metering import Meter
from lesion.serve.requests import CONTENT_TYPES

# The page holds its own script and style, and talks to this server alone.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_pages(app: Flask, predictor: Predictor, meter: Meter | None, *, has_page: bool) -> None:
    """/model always, /metrics of a `meter`, and the page if it is wanted."""
    described = describe(
        predictor.manifest,
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
        html = Path(__file__).with_name("page.html").read_bytes()

        @app.get("/")
        def page() -> Response:
            headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
            return Response(html, content_type="text/html; charset=utf-8", headers=headers)
