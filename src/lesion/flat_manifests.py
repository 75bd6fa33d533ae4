"""Flat manifests: formats 1 and 2, in which one algorithm's fields stood beside those of the envelope, as format 3."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from lesion.stored_files import Digest, FileName

ENVELOPE = {"format_version", "algorithm", "packages", "data_fingerprint", "config", "metrics"}


class _Fold(BaseModel):
    """A fold's record, as far as the envelope needs it; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")

    file: FileName
    sha256: Digest


class _Graph(BaseModel):
    """The graph's record, likewise."""

    model_config = ConfigDict(extra="allow")

    file: FileName
    sha256: Digest
    weights_file: FileName
    weights_sha256: Digest


class _Flat(BaseModel):
    folds: list[_Fold]
    graph: _Graph | None = None


def with_envelope(fields: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1 or 2 in the form of format 3, with its own number.

    What is the envelope's stays, the digests become `files`, all else becomes the payload. Raises pydantic's
    ValidationError for digests or names of files that are none.
    """
    flat = _Flat.model_validate(fields)
    files = {fold.file: {"sha256": fold.sha256} for fold in flat.folds}
    payload = {name: value for name, value in fields.items() if name not in ENVELOPE}
    payload["folds"] = [fold.model_dump(exclude={"sha256"}) for fold in flat.folds]
    if flat.graph is not None:
        files[flat.graph.file] = {"sha256": flat.graph.sha256}
        files[flat.graph.weights_file] = {"sha256": flat.graph.weights_sha256}
        payload["graph"] = flat.graph.model_dump(exclude={"sha256", "weights_sha256"})
    if fields["format_version"] == 1:
        payload |= _of_format_1(payload)
    return {**{name: value for name, value in fields.items() if name in ENVELOPE}, "files": files, "payload": payload}


def _of_format_1(payload: dict[str, Any]) -> dict[str, Any]:
    """The fields that format 2 has and format 1 has not: format 1 was binary, of one column."""
    target = payload.get("target")
    if isinstance(target, dict):
        target = {**target, "of_interest": None, "thresholds": [target.get("threshold")]}
    return {"target": target, "target_columns": [payload.get("target_column")]}
