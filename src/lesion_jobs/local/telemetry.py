"""Telemetry: both SDKs report each call to their maker unless their settings say otherwise."""

from __future__ import annotations

from typing import Any


def without_telemetry(settings: dict[str, Any]) -> dict[str, Any]:
    """The user's own settings for the SDK, its telemetry off unless they turned it on."""
    settings.setdefault("SchemaVersion", "1.0")
    modules = settings.setdefault("SageMaker", {}).setdefault("PythonSDK", {}).setdefault("Modules", {})
    modules.setdefault("TelemetryOptOut", True)
    return settings
