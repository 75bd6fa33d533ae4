"""Reproduction: the settings of a job, and how it is run again, as sections of its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lesion.config import Hyperparameters
from lesion.data.table import SampleTable
from lesion.report.sections import Reproduction, Setting


def settings_of(config: Hyperparameters) -> tuple[Setting, ...]:
    """Every resolved hyperparameter, and whether it is the default."""
    fields = type(config).model_fields
    return tuple(
        Setting(name=name, value=value, is_default=value == _as_json(fields[name].default))
        for name, value in config.as_json().items()
    )


def _as_json(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def reproduction(
    config: Hyperparameters, table: SampleTable, seed: int, pretrained_weights: Mapping[str, str] | None
) -> Reproduction:
    """The commands that make the same artifact again, from the same data and `pretrained_weights` as metrics.json has
    them."""
    weights = pretrained_weights or {}
    changed = {setting.name: setting.value for setting in settings_of(config) if not setting.is_default}
    # Its default is the algorithm's own, and another one's of a file without it.
    settings = json.dumps({"algorithm": config.as_json()["algorithm"], **changed}, ensure_ascii=False)
    return Reproduction(
        commands=(f"# input/config/hyperparameters.json: {settings}", "lesion train --root my_job"),
        seed=seed,
        data_fingerprint=table.fingerprint(),
        pretrained_file=weights.get("file", ""),
        pretrained_sha256=weights.get("sha256", ""),
        note="The same data, settings, versions and pretrained weights on the same kind of machine give the same "
        "weights.",
    )
