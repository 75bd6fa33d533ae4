"""Evaluation settings: how the table of a set is read that a finished model is judged on, and which settings those are.

All others are the model's, and cannot be changed any more. Loads neither torch nor pandas.
"""

from __future__ import annotations

from collections.abc import Mapping

from lesion.config import tunable
from lesion.errors import UserError
from lesion.settings import DataSettings, LabelSettings

OF_TABLES = (
    "target_column",
    "group_column",
    "image_column",
    "class_name_column",
    "label_separator",
    "on_uncertain",
    "report_names",
)


class TableSettings(DataSettings, LabelSettings):
    """What can be set, alone: what does not go together is seen beside the values that the model was trained with."""

    report_names: bool = tunable(False, affects="output", doc="Names of images in the report.")


def check_settings(settings: Mapping[str, str]) -> None:
    """Raises UserError for settings of the model, and for values that are none, whatever the model and the set."""
    if others := sorted(set(settings) - set(OF_TABLES)):
        raise UserError(
            f"{', '.join(others)} cannot be set for an evaluation: a trained model keeps what it was trained with",
            where="--set",
            do=f"Set one of {', '.join(OF_TABLES)}.",
            kind="hyperparameters",
        )
    TableSettings.parse(settings)
