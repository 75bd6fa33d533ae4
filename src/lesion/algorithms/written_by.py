"""Written by: which algorithm made an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lesion.algorithms.registry import find_algorithm
from lesion.artifact import MANIFEST, load_manifest

if TYPE_CHECKING:
    from lesion.algorithms.base import Algorithm


def algorithm_of_artifact(model_dir: Path) -> Algorithm:
    """The algorithm that wrote the artifact in `model_dir`. Raises UserError where there is none that can be used."""
    name = load_manifest(model_dir).algorithm
    return find_algorithm(name, where=model_dir / MANIFEST, kind="artifact")
