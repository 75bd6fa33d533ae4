"""Endpoint: the handle of a server that answers over HTTPS, and costs money until it is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_jobs.account.kinds import ENDPOINT
from lesion_jobs.runs.job import Job


@dataclass(frozen=True)
class Endpoint(Job):
    """A running endpoint, and its environment."""

    kind = ENDPOINT
