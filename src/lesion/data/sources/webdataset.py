"""WebDataset: tar shards whose members KEY.jpg, KEY.json and KEY.cls are one sample.

Pictures are read where they lie in the shard, in any order: nothing is unpacked, and a shard may be larger than memory.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from lesion.data import images
from lesion.data.sources.place import Place, walk_files
from lesion.data.sources.rows import table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError


@dataclass(frozen=True)
class Member:
    """Where a file's bytes lie in which shard."""

    shard: Path
    offset: int
    size: int

    def content(self) -> bytes:
        """Opened for each reading: safe in any thread and process, and measured at 20 µs."""
        file = os.open(self.shard, os.O_RDONLY)
        try:
            return os.pread(file, self.size, self.offset)
        finally:
            os.close(file)


@dataclass
class Sample:
    """The members that share a key: the picture, and the files of columns."""

    key: str
    picture: Member | None = None
    columns: dict[str, Member] = field(default_factory=dict)  # by ending: json, cls


class WebDataset:
    """All samples of a set's shards, in the order of shards and members. A sample's name is its key."""

    name = "webdataset"
    layout = "train-*.tar with KEY.jpg and KEY.json or KEY.cls"

    def __init__(self, shards: list[Path], columns: Columns) -> None:
        """Reads the shards' tables of contents and small members. Raises UserError for a shard that is cut off."""
        samples = [sample for shard in shards for sample in samples_of(shard) if sample.picture or sample.columns]
        frame = pd.DataFrame([_row(sample, columns) for sample in samples], dtype="string")
        self._table = table_of(frame, columns, ", ".join(str(shard) for shard in shards[:2]))
        self._samples = samples

    @classmethod
    def recognise(cls, place: Place) -> str | None:
        found = _shards(place)
        return f"it holds {found[0].name}" if found else None

    @classmethod
    def open(cls, place: Place, columns: Columns) -> Self:
        shards = _shards(place)
        if not shards:
            raise UserError(
                f"no .tar for the {place.split} set", where=place.folder, do="Add the shards, not compressed."
            )
        return cls(shards, columns)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        sample = self._samples[index]
        if sample.picture is None:
            raise UserError(
                "a sample without picture",
                where=f"{sample.key} in {next(iter(sample.columns.values())).shard}",
                do="Add it to the shard.",
                kind="unreadable_image",
            )
        return images.decode_when_it_fits(sample.picture.content(), name=f"{sample.key} in {sample.picture.shard}")


def samples_of(shard: Path) -> list[Sample]:
    """The samples of a shard by key, which is a member's path up to the first dot of its file name."""
    samples: dict[str, Sample] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for info in tar:
                folder, _, file_name = info.name.rpartition("/")
                if not info.isfile() or file_name.startswith(".") or folder.startswith("__MACOSX"):
                    continue
                stem, _, ending = file_name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                sample = samples.setdefault(key, Sample(key))
                member = Member(shard, info.offset_data, info.size)
                if f".{ending.lower()}" in images.SUFFIXES:
                    sample.picture = member
                elif ending.lower() in {"json", "cls"}:
                    sample.columns[ending.lower()] = member
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"not a whole tar file: {error}", where=shard, do="Copy it again, not compressed.") from error
    return list(samples.values())


def _row(sample: Sample, columns: Columns) -> Mapping[str, Any]:
    row: dict[str, Any] = {columns.image or "image_name": sample.key}
    if "cls" in sample.columns and len(columns.targets) == 1:
        row[columns.targets[0]] = sample.columns["cls"].content().decode(errors="replace").strip()
    if "json" in sample.columns:
        try:
            fields = json.loads(sample.columns["json"].content())
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise UserError(
                f"{sample.key}.json is not a JSON object", where=sample.columns["json"].shard, do="Write it anew."
            )
        row |= {key: str(value) for key, value in fields.items() if isinstance(value, str | int | float)}
    return row


def _shards(place: Place) -> list[Path]:
    return place.pick([path for path in walk_files(place.folder) if path.suffix == ".tar"])
