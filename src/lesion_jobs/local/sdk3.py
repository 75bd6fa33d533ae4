"""SDK 3: opens its local session, which is no part of its public door, ModelTrainer, but of its core."""

from __future__ import annotations

from typing import Any

from lesion_jobs.local.telemetry import without_telemetry


def open_local_session(boto_session: Any) -> Any:
    """A LocalSession with the user's and administrator's own defaults, which tells nobody of its use."""
    from sagemaker.core.config.config import load_sagemaker_config
    from sagemaker.core.local.local_session import LocalSession

    return LocalSession(boto_session=boto_session, sagemaker_config=without_telemetry(load_sagemaker_config()))
