"""Card: what a folder of shards holds, for people (DATA_CARD.md) and programs (data_card.json)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lesion.data.metadata import MISSING
from lesion.data.sources.folders.set_names import Split
from lesion.data.table import SampleTable
from lesion.files import write_atomic
from lesion.prepare.shard import ShardReport
from lesion.prepare.sharding import Sharding

MAX_CLASSES = 30  # of a target column, on the card
NUM_SIZES = 5


def write_card(
    output: Path, tables: Mapping[Split, SampleTable], reports: Mapping[str, ShardReport], sharding: Sharding
) -> None:
    """Both cards. Nothing in them depends on when, where and by whom the shards were written."""
    sets = {split: _set(split, table, reports) for split, table in tables.items()}
    card = {"sets": sets, "settings": asdict(sharding), "shards": {name: asdict(one) for name, one in reports.items()}}
    write_atomic(output / "data_card.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    write_atomic(output / "DATA_CARD.md", _page(sets, sharding).encode())


def _set(split: Split, table: SampleTable, reports: Mapping[str, ShardReport]) -> dict[str, Any]:
    own = [report for name, report in reports.items() if name.startswith(f"{split}-")]
    dropped = {name: why for report in own for name, why in report.dropped.items()}
    left = table.rows(~np.isin(table.name_S, list(dropped)))
    sizes: Counter[str] = Counter()
    for report in own:
        sizes.update(report.sizes)
    columns: dict[str, int] = {}
    for frame in (left.metadata, left.others):
        for name in [] if frame is None else frame.columns:
            columns[str(name)] = int(frame[name].fillna("").str.strip().str.lower().isin(MISSING).sum())  # type: ignore[index]
    return {
        "rows": len(left),
        "shards": len(own),
        "megabytes": round(sum(report.num_bytes for report in own) / 1e6, 1),
        "groups": None if left.group_S is None else len(np.unique(left.group_S)),
        "targets": {}
        if left.targets is None
        else {str(name): left.targets[name].value_counts().sort_index().to_dict() for name in left.targets},
        "missing_cells": columns,
        "sizes": dict(sizes.most_common()),
        "dropped": dropped,
    }


def _page(sets: Mapping[Split, Mapping[str, Any]], sharding: Sharding) -> str:
    lines = [
        "# Data card",
        "",
        f"WebDataset shards of images whose shorter side is {sharding.size_px} px at most, JPEG of quality "
        f"{sharding.quality}, each with a JSON object of all that the table said of it. Rows are shuffled with seed "
        f"{sharding.seed}. `lesion train` takes this folder as its training channel. data_card.json names what was "
        "left out.",
    ]  # fmt: skip
    for split, one in sets.items():
        lines += ["", f"## {split}", "", "| | |", "|---|---|"]
        lines.append(f"| rows | {one['rows']:,} in {one['shards']} shards, {one['megabytes']:,} MB |")
        if one["groups"] is not None:
            lines.append(f"| groups | {one['groups']:,} |")
        for name, counts in one["targets"].items():
            shown = ", ".join(f"{word}: {count:,}" for word, count in list(counts.items())[:MAX_CLASSES])
            lines.append(f"| target `{name}` | {shown}{' …' * (len(counts) > MAX_CLASSES)} |")
        gaps = ", ".join(f"`{name}` {count:,}" for name, count in one["missing_cells"].items() if count)
        lines.append(f"| columns | {', '.join(f'`{name}`' for name in one['missing_cells']) or 'none'} |")
        lines.append(f"| missing cells | {gaps or 'none'} |")
        shown = ", ".join(f"{size}: {count:,}" for size, count in list(one["sizes"].items())[:NUM_SIZES])
        lines.append(f"| sizes as found | {shown}{' …' * (len(one['sizes']) > NUM_SIZES)} |")
        lines.append(f"| left out, cannot be read | {len(one['dropped'])} |")
    return "\n".join(lines) + "\n"
