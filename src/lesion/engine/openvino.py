"""OpenVINO: imported without its telemetry."""

from __future__ import annotations

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """The module `openvino`, without telemetry.

    Importing it sends telemetry and writes an id into the home folder if the package `openvino_telemetry` is installed;
    without it OpenVINO uses a stub. Our container image leaves the package out; elsewhere its import is blocked by None
    in sys.modules.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    module: ModuleType = openvino
    return module
