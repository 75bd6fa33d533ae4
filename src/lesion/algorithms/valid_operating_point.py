"""Valid operating point: checks the hyperparameter `operating_point`, and writes it in its usual form."""

from __future__ import annotations

from lesion.errors import UserError


def valid_operating_point(value: str) -> str:
    """The value as `parse_spec` writes it. Raises ValueError, as pydantic's validators do, for one that it refuses."""
    from lesion.evaluation.operating_points import parse_spec  # here: it needs NumPy, and the default is not parsed

    try:
        return str(parse_spec(value))
    except UserError as error:
        raise ValueError(f"{error.what}. {error.do}") from error
