"""Metering: what the server has done, as Prometheus reads it, and as one line a request in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from lesion.errors import LesionError, UserError
from lesion.inference.pipeline import Times

log = logging.getLogger(__name__)

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4"

# Whose words hold no value that a client sent, but names alone; of others, such as a number that is none, the place.
NAMES_ONLY = {"bad_request", "too_large", "content_type", "accept", "low_quality"}
NUM_LOGGED, LOGGED_LETTERS = 3, 160  # of the reasons of one request


def reasons_for_log(errors: Sequence[LesionError]) -> list[str]:
    """Why a request or records of it were refused, in few words and without a patient's data."""
    said = [f"{error.kind}: {error.what if error.kind in NAMES_ONLY else error.where}" for error in errors[:NUM_LOGGED]]
    more = [f"{len(errors) - NUM_LOGGED} more"] if len(errors) > NUM_LOGGED else []
    return [text[:LOGGED_LETTERS] for text in said] + more


@dataclass
class Outcome:
    """What became of a request's records, of which each is one picture's file: how many were answered, and why the
    others were not."""

    num_answered: int = 0
    errors: list[UserError] = field(default_factory=list)


class Meter:
    """Counts requests by status, and times their stages."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("lesion_requests", "Invocations by status", ["status"], registry=self._registry)
        self._pictures = Counter("lesion_pictures", "Images predicted", registry=self._registry)
        self._seconds = Histogram(
            "lesion_request_seconds",
            "From the first byte of the body to the answer",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "lesion_stage_seconds",
            "Seconds of a request's images, by stage: decode, queue, model",
            ["stage"],
            buckets=SECONDS,
            registry=self._registry,
        )

    def note(
        self,
        request_id: str,
        status: int,
        times: Times,
        total_s: float,
        *,
        num_answered: int = 0,
        unused: str = "",
        reasons: Sequence[str] = (),
    ) -> None:
        """Counts and logs one answered request; with its unused fields, and why it or some records were refused."""
        self._requests.labels(status).inc()
        self._pictures.inc(num_answered)
        self._seconds.observe(total_s)
        if times.num_pictures:
            for stage, seconds in (("decode", times.decode_s), ("queue", times.queue_s), ("model", times.model_s)):
                self._stages.labels(stage).observe(seconds)
        log.info(
            "request id=%s status=%d pictures=%d decode_ms=%.1f queue_ms=%.1f model_ms=%.1f total_ms=%.1f batch=%d%s%s",
            request_id,
            status,
            num_answered,
            1e3 * times.decode_s,
            1e3 * times.queue_s,
            1e3 * times.model_s,
            1e3 * total_s,
            times.batch_size,
            f" unused={unused}" if unused else "",
            f" refused={json.dumps('; '.join(reasons))}" if reasons else "",  # ASCII, and on one line
        )

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return bytes(generate_latest(self._registry))
