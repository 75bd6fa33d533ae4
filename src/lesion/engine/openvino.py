"""OpenVINO: imported without its telemetry."""

from __future__ import annotations

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """The module `openvino`, without telemetry.

    Its import reports to its makers, and leaves an id in the home folder, unless the package
    `openvino_telemetry` is not installed: then it takes a stub of its own. The image leaves that package out; elsewhere
    its name is barred, as Python's import system provides for (None in sys.modules).
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    module: ModuleType = openvino
    return module
