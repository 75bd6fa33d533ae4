"""Describe: the formats of data sets, and the public ones whose tables are known, as Markdown for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lesion.data.sources.layouts import LAYOUTS
from lesion.data.sources.tables.known_tables import KNOWN_TABLES, USUAL_NAMES, KnownTable


def describe_sources() -> str:
    """The page that `lesion describe sources` prints."""
    formats = [(f"`{name}`", layout) for name, layout in LAYOUTS.items()]
    usual = [(f"`{setting}`", _names(names)) for setting, names in USUAL_NAMES.items()]
    return "\n\n".join(
        [
            "# Formats\n\nThe hyperparameter `source` names one; by default it is recognised from the files.",
            _table(("source", "looks like"), formats),
            "# Known data sets\n\nA table with these columns is read so, unless you set the hyperparameters.",
            known_tables(),
            "In other tables, columns with these names are taken, where just one fits.",
            _table(("hyperparameter", "names"), usual),
        ]
    )


def known_tables() -> str:
    """The Markdown table of the data sets that are known by their columns."""
    header = ("data set", "file", "known by", "image", "targets", "group", "metadata", "remark")
    return _table(header, map(_row, KNOWN_TABLES))


def _row(known: KnownTable) -> Sequence[str]:
    targets = _names(known.targets)
    targets += f", separated by `{known.label_separator}`" if known.label_separator else ""
    targets += ", some uncertain (−1) or empty" if known.has_uncertain_labels else ""
    group = [known.group] if known.group else []
    columns = [_names([known.image]), targets, _names(group), _names(known.metadata)]
    return [known.name, known.file, _names(known.marks), *columns, known.note]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
