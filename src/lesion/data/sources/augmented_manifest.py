"""Augmented manifest: a JSON object a line with a picture's reference and labels, as SageMaker Ground Truth writes it.

Read from a File channel that holds the manifest and the pictures (dg/augmented-manifest).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Self

import pandas as pd

from lesion.data.decode import images
from lesion.data.decode.reading import file_text, parse_json
from lesion.data.labels.task import MAX_CLASSES
from lesion.data.remark import Remark
from lesion.data.sources.json_lines import is_json_lines_table
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.pictures import NamedPictures
from lesion.data.sources.rows import frame_of, table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError
from lesion.words import shortened

REFERENCE = "source-ref"
SUFFIXES = {".manifest", ".jsonl"}
CLASS_NAME = "class-name"
FAILURE = "failure-reason"  # beside a label that Ground Truth could not get
MAX_LINE = 1_000_000  # characters; Ground Truth takes 100,000


class AugmentedManifest:
    """Lines whose `source-ref` is found among the channel's pictures: by its path below what all have in common."""

    name = "augmented_manifest"

    def __init__(self, manifest_path: Path, folder: Path, columns: Columns) -> None:
        """Lines that could not be labelled are left out where a label is wanted, and a remark counts them.

        Raises UserError for an invalid line, by its number, and for labels that are not classes.
        """
        lines = parse(manifest_path)
        label = label_attribute(list(lines.values()), columns, manifest_path)
        failures = {} if label is None else _failures(lines, label)
        if lines.keys() == failures.keys():
            raise UserError(
                f"no line could be labelled: {next(iter(failures.values()))}",
                where=manifest_path,
                do="Run the labelling job again.",
            )
        # Below the folder that all have in common, those that are left out too: it is the set's.
        names = dict(
            zip(lines, relative_references([line[REFERENCE] for line in lines.values()], manifest_path), strict=True)
        )
        lines = {number: line for number, line in lines.items() if number not in failures}
        frame = frame_of([_scalars(line) for line in lines.values()], manifest_path)
        image_column = columns.image or "image_name"
        frame[image_column] = [names[number] for number in lines]
        if label is not None:
            labels = _labels(lines, label, columns.targets[0], manifest_path)
            if image_column in labels:
                raise UserError(
                    f"a class of '{label}' has the name of the image column, {image_column}",
                    where=manifest_path,
                    do="Rename it, or set image_column.",
                )
            frame[list(labels.columns)] = labels
            targets = tuple(name for name in labels.columns if name != CLASS_NAME)
            columns = replace(columns, targets=targets, class_name=CLASS_NAME)
        table = table_of(frame, columns, str(manifest_path))
        self._pictures = NamedPictures(folder, table.name_S, decode_px=columns.decode_px)
        self._pictures.check()
        failed = _remarks(failures, len(names), manifest_path)
        assert table.others is not None
        read = [name for name in (REFERENCE, label) if name in table.others]  # under other names: they are used
        others = table.others.drop(columns=read)
        self._table = replace(table, others=others, remarks=(*table.remarks, *failed, *self._pictures.remarks))
        self._path = manifest_path

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = _manifests(location)
        return f"it holds {found[0].name}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        found = _manifests(location)
        if len(found) != 1:
            names = ", ".join(path.name for path in found[:3]) or "none"
            raise UserError(
                f"{len(found)} manifests for the {location.split} set: {names}", where=location.folder, do="Leave one."
            )
        return cls(found[0], location.folder, columns)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [self._path, *self._pictures.found]

    @property
    def paths(self) -> Sequence[Path | None]:
        return self._pictures.paths

    def read(self, index: int) -> images.Pixels:
        return self._pictures.read(index)


def parse(manifest_path: Path) -> dict[int, dict[str, Any]]:
    """The lines as objects by their number, empty ones left out.

    Raises UserError for one that is not an object or lacks source-ref.
    """
    lines = {}
    texts = file_text(manifest_path, "the manifest cannot be read", do="Save it as UTF-8 text.").split("\n")
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        why = "is not a JSON object with " + REFERENCE
        try:
            line = parse_json(text) if len(text) <= MAX_LINE else None
        except ValueError as error:
            line, why = None, f"{why} ({error})"
        if not isinstance(line, dict) or not isinstance(line.get(REFERENCE), str) or not line[REFERENCE].strip():
            if len(text) > MAX_LINE:
                why = f"has {len(text):,} characters, more than {MAX_LINE:,}"
            raise UserError(
                f"line {number} {why}: '{text.strip()[:80]}'", where=manifest_path, do="Write one object a line."
            )
        lines[number] = line
    if not lines:
        raise UserError("the manifest has no lines", where=manifest_path, do="Add one for each image.")
    return lines


def label_attribute(lines: Sequence[Mapping[str, Any]], columns: Columns, where: Path) -> str | None:
    """The key of the label: the target column, or the one that has metadata beside it, or the only other there is."""
    if not columns.targets:
        return None
    keys = dict.fromkeys(key for line in lines for key in line)
    if columns.targets[0] in keys:
        return columns.targets[0]
    described = [key.removesuffix("-metadata") for key in keys if key.endswith("-metadata")]
    others = [key for key in keys if key != REFERENCE and not key.endswith(("-metadata", "-ref"))]
    for candidates in (described, others):
        if len(candidates) == 1:
            return candidates[0]
    if not columns.are_targets_needed:
        return None
    raise UserError(
        f"it is unclear which key is the label: {', '.join(others) or 'there is none'}",
        where=where,
        do="Set target_column to one of them.",
    )


def relative_references(references: Sequence[str], where: Path) -> list[str]:
    """Each reference below the folder that all have in common: s3://b/set/x/1.jpg and s3://b/set/y/2.jpg as x/1.jpg.

    Raises UserError for references from the root beside others, which have no folder in common.
    """
    paths = [PurePosixPath(reference.strip().partition("://")[2] or reference.strip()) for reference in references]
    kinds = [path.is_absolute() for path in paths]
    if any(kinds) and not all(kinds):
        raise UserError(
            f"{REFERENCE} begins with / in {kinds.count(True)} of {len(kinds)} lines: "
            f"'{references[kinds.index(True)][:80]}' beside '{references[kinds.index(False)][:80]}'",
            where=where,
            do="Write all of them in one way.",
        )
    common = PurePosixPath(os.path.commonpath([path.parent for path in paths]))
    return [path.relative_to(common).as_posix() for path in paths]


def _manifests(location: SplitLocation) -> list[Path]:
    paths = [path for path in walk_files(location.folder) if path.suffix in SUFFIXES]
    return location.pick([path for path in paths if not is_json_lines_table(path)])


def _scalars(line: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in line.items() if isinstance(value, str | int | float)}


def _failures(lines: Mapping[int, Mapping[str, Any]], label: str) -> dict[int, str]:
    """The lines, by number, for which Ground Truth says why they have no such label."""
    details = {number: line.get(f"{label}-metadata") for number, line in lines.items()}
    return {
        number: shortened(str(detail[FAILURE]), 200)
        for number, detail in details.items()
        if isinstance(detail, dict) and FAILURE in detail
    }


def _remarks(failures: Mapping[int, str], num_lines: int, where: Path) -> list[Remark]:
    if not failures:
        return []
    number, reason = next(iter(failures.items()))
    what = f"Ground Truth could not label {len(failures)} of {num_lines} lines, which are left out"
    return [
        Remark(
            "failed_labels",
            f"{what}; the first is line {number}: {reason}",
            "Label them again to use them.",
            where=str(where),
            level="warning",
        )
    ]


def _labels(lines: Mapping[int, Mapping[str, Any]], label: str, column: str, where: Path) -> pd.DataFrame:
    """The label as `column` with the class's name beside it, or for lists a column of 0 and 1 for each class."""
    values = [_value(line, label, number, where) for number, line in lines.items()]
    described = {number: line.get(f"{label}-metadata") for number, line in lines.items()}
    details = {number: item if isinstance(item, dict) else {} for number, item in described.items()}
    if not any(isinstance(value, list) for value in values):
        words = [_word(detail.get(CLASS_NAME)) for detail in details.values()]
        return pd.DataFrame({column: [str(value) for value in values], CLASS_NAME: words}, dtype="string")
    lists = [{str(item) for item in (value if isinstance(value, list) else [value])} for value in values]
    class_map = _class_map(details, label, where)
    numbers = sorted({item for items in lists for item in items} | set(class_map), key=lambda text: (len(text), text))
    names = [class_map.get(number, number) for number in numbers]
    if len(numbers) > MAX_CLASSES or len(set(names)) < len(names):
        raise UserError(
            f"'{label}' has {len(numbers):,} classes of {len(set(names)):,} names, where {MAX_CLASSES:,} is the most",
            where=where,
            do="Correct the labels, or the class-map beside them.",
        )
    is_in = {name: [str(int(number in items)) for items in lists] for number, name in zip(numbers, names, strict=True)}
    return pd.DataFrame(is_in, dtype="string")


def _class_map(details: Mapping[int, Mapping[str, Any]], label: str, where: Path) -> dict[str, str]:
    """The name of each class number, from all lines. Raises UserError for an invalid class-map."""
    found: dict[str, str] = {}
    for number, detail in details.items():
        class_map = detail.get("class-map") or {}
        if not isinstance(class_map, dict) or not all(isinstance(name, str | int) for name in class_map.values()):
            raise UserError(
                f"line {number}: the class-map of '{label}' does not give each class its name",
                where=where,
                do='Write it as {"0": "a name", "1": "another"}.',
            )
        found |= {key: str(name) for key, name in class_map.items()}
    return found


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _value(line: Mapping[str, Any], label: str, number: int, where: Path) -> Any:
    value = written = line.get(label)
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            value = None
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str | int | float) and not isinstance(item, bool) for item in items):
        raise UserError(
            f"line {number} has no class in '{label}': {_shown(written)}",
            where=where,
            do="Give a number, a word, or a list of them.",
        )
    return value


def _shown(value: Any) -> str:
    """A value for a message, which need not go into what is nested."""
    return str(value)[:80] if value is None or isinstance(value, str | int | float) else f"a {type(value).__name__}"
