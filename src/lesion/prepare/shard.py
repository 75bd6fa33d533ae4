"""Shard: some rows of a data set, checked and resized, as one tar file of a WebDataset.

One function does a shard, in a process of this machine, on a Ray cluster or on an instance of a SageMaker job. Its
bytes depend on the rows and the settings alone, so it does not matter who did it, nor how often.
"""

# S samples

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.data.decode import images
from lesion.data.decode.images import Pixels
from lesion.data.sources.folders.set_names import Split
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, SampleTable, Source
from lesion.errors import UserError
from lesion.files import make_folder, write_atomic
from lesion.prepare.sharding import Sharding

REPORTS = "reports"  # beside the shards: what is in each; where it is, the shard is finished


@dataclass(frozen=True)
class Plan:
    """All that the shards of one set have in common."""

    folder: Path
    split: Split
    columns: Columns
    source: str
    sharding: Sharding
    output: Path
    num_rows: int
    fingerprint: str  # of the table and the settings

    @property
    def num_shards(self) -> int:
        return -(-self.num_rows // self.sharding.rows_per_shard)

    def path(self, number: int) -> Path:
        return self.output / f"{self.split}-{number:06d}.tar"

    def report(self, number: int) -> ShardReport | None:
        """What was written of a shard; None where it is not finished, or was made from other rows or settings."""
        try:
            report = ShardReport(**json.loads(self.report_path(number).read_text()))
            is_whole = self.path(number).stat().st_size == report.num_bytes
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return report if is_whole and report.plan == self.fingerprint else None

    def report_path(self, number: int) -> Path:
        return self.output / REPORTS / f"{self.split}-{number:06d}.json"


@dataclass(frozen=True)
class ShardReport:
    """What is in a finished shard."""

    plan: str
    num_rows: int
    num_bytes: int
    sha256: str
    dropped: dict[str, str]  # rows that are not in it: name → why
    sizes: dict[str, int]  # pictures by size as they were found: "600×450" → how many


def write_shard(plan: Plan, number: int) -> ShardReport:
    """Writes one shard and then its report, unless both are there.

    Raises UserError for a picture that cannot be read, unless those are dropped.
    """
    if report := plan.report(number):
        return report
    cv2.setNumThreads(1)  # as many shards are written at once as there are cores
    source = _opened(plan.folder, plan.split, plan.columns, plan.source)
    rows = _rows(source, plan, number)
    dropped: dict[str, str] = {}
    sizes: Counter[str] = Counter()
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for place, (index, row) in enumerate(rows):
            try:
                image_HWC = source.read(index)
            except UserError as error:
                if not plan.sharding.is_bad_dropped:
                    raise
                dropped[str(source.table().name_S[index])] = error.what
                continue
            sizes[f"{image_HWC.shape[1]}×{image_HWC.shape[0]}"] += 1
            key = f"{plan.split}-{number:06d}-{place:06d}"
            _add(tar, f"{key}.jpg", _encoded(image_HWC, plan.sharding))
            _add(tar, f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
    shard = content.getvalue()
    make_folder(plan.output / REPORTS)
    write_atomic(plan.path(number), shard)
    digest = hashlib.sha256(shard).hexdigest()
    report = ShardReport(
        plan.fingerprint, len(rows) - len(dropped), len(shard), digest, dropped, dict(sorted(sizes.items()))
    )
    write_atomic(plan.report_path(number), json.dumps(asdict(report), indent=1).encode())
    return report


def table_rows(table: SampleTable) -> list[dict[str, str]]:
    """Every cell of each row by column name, without missing cells."""
    frame = table.metadata.copy()
    for other in (table.others, table.targets):
        if other is not None:
            frame = frame.join(other.set_axis(frame.index))
    frame.insert(0, table.image_column, table.name_S)
    columns = [str(column) for column in frame.columns]
    cells = frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None)
    return [{column: str(cell) for column, cell in zip(columns, row, strict=True) if cell is not None} for row in cells]


@lru_cache(maxsize=4)  # a process does many shards of one set
def _opened(folder: Path, split: Split, columns: Columns, source: str) -> Source:
    return open_source(SplitLocation(folder, split, is_own=split == "train"), columns, source=source)


def _rows(source: Source, plan: Plan, number: int) -> list[tuple[int, dict[str, str]]]:
    """The rows of a shard, with their places in the table: the same for any order in which that lists them."""
    table, per_shard = source.table(), plan.sharding.rows_per_shard
    by_name_S = np.argsort(table.name_S, kind="stable")
    order_S: NDArray[np.intp] = np.random.default_rng(plan.sharding.seed).permutation(by_name_S)
    chosen = order_S[number * per_shard : (number + 1) * per_shard]
    columns = table.columns or plan.columns  # as they were found
    names = {"group": columns.group, "class": columns.class_name}
    rows, has_own_group_S = table_rows(table.rows(chosen)), table.has_own_group_S
    for row, index in zip(rows, chosen.tolist(), strict=True):
        if names["group"] and table.group_S is not None and not has_own_group_S[index]:
            row[names["group"]] = str(table.group_S[index])
        if names["class"] and table.class_name_S is not None and table.class_name_S[index]:
            row[names["class"]] = str(table.class_name_S[index])
    return list(zip(chosen.tolist(), rows, strict=True))


def _encoded(image_HWC: Pixels, sharding: Sharding) -> bytes:
    scale = sharding.size_px / min(image_HWC.shape[:2])
    if scale < 1:
        size = (max(1, round(image_HWC.shape[1] * scale)), max(1, round(image_HWC.shape[0] * scale)))
        image_HWC = np.asarray(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return images.encode(image_HWC, "JPEG", quality=sharding.quality)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)  # its time is 1970, its owner 0: nothing of this machine
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
