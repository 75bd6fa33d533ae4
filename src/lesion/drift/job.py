"""Job: one comparison of captured data with an artifact as plain paths and values.

sagemaker_monitoring.py reads it from the platform's variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

Period = tuple[datetime | None, datetime | None]  # from the first on, before the second


@dataclass(frozen=True)
class MonitoringJob:
    """Captured data, artifact, and where the report goes.

    `metrics_folder` is where metrics for CloudWatch are picked up, with `dimensions`; None where nobody publishes them.
    """

    captured: Path
    model: Path
    output: Path
    period: Period = (None, None)
    metrics_folder: Path | None = None
    dimensions: Mapping[str, str] = field(default_factory=dict)


def read_time(text: str) -> datetime:
    """A time of ISO 8601 in UTC, which it is where it says no zone. Raises ValueError."""
    time = datetime.fromisoformat(text.replace(" ", ""))  # AWS's own example has spaces in it
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
