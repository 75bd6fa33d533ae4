"""Registry: the algorithms by the name that the hyperparameter `algorithm` gives. The one list of them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lesion.errors import UserError
from lesion.words import nearest

if TYPE_CHECKING:
    from lesion.algorithms.base import Algorithm

# `module:name` of each, imported when it is used. The first is the default.
ALGORITHMS: dict[str, str] = {
    "classify": "lesion.algorithms.classify.algorithm:CLASSIFY",
    "anomaly": "lesion.algorithms.anomaly.algorithm:ANOMALY",
}
DEFAULT = next(iter(ALGORITHMS))


def find_algorithm(
    name: str, *, where: object = "hyperparameter algorithm", kind: str = "hyperparameters"
) -> Algorithm:
    """The algorithm of that name. Raises UserError of `kind` for one that is not there, naming those that are."""
    if name not in ALGORITHMS:
        near = nearest(name, ALGORITHMS)
        known = f"Did you mean {near}?" if near else f"This version knows {', '.join(ALGORITHMS)}."
        raise UserError(f"no algorithm is called '{name[:80]}'", where=where, do=known, kind=kind)
    module, _, attribute = ALGORITHMS[name].partition(":")
    algorithm: Algorithm = getattr(importlib.import_module(module), attribute)
    return algorithm


def parse_hyperparameters(raw: Mapping[str, object]) -> tuple[Algorithm, Any]:
    """The algorithm that `raw` (name → text, as in hyperparameters.json) asks for, and its configuration.

    Imports neither torch nor pandas, so that a misspelt name is refused at once. Raises UserError for all that is
    wrong.
    """
    name = str(raw.get("algorithm", DEFAULT)).strip(' "')
    algorithm = find_algorithm(name)
    return algorithm, algorithm.config.parse(raw)
