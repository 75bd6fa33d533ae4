"""SDK 2: opens its local session. In maintenance since July 2026, unsupported from July 2027."""

from __future__ import annotations

import os
from typing import Any

from lesion_jobs.local.telemetry import without_telemetry


def open_local_session(boto_session: Any) -> Any:
    """A sagemaker.LocalSession with the user's and administrator's own defaults, which tells nobody of its use."""
    os.environ.setdefault("SAGEMAKER_SUPPRESS_V2_WARNING", "1")  # else each class says that there is a version 3
    from sagemaker.config import load_sagemaker_config
    from sagemaker.local import LocalSession

    return LocalSession(boto_session=boto_session, sagemaker_config=without_telemetry(load_sagemaker_config()))
