"""Shards: a data set of any format to WebDataset shards for `lesion train`, with a data card.

The shards are planned here, and written one by one by parallel workers. A second run resumes where the first was
killed, and any number of workers and machines gives the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from lesion.data.sources.folders.set_names import Split
from lesion.data.sources.formats import open_source, recognised
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError
from lesion.files import make_folder
from lesion.prepare.data_card import write_card
from lesion.prepare.provenance import write_provenance
from lesion.prepare.shard import Plan, ShardReport, write_shard
from lesion.prepare.sharding import Sharding
from lesion.worker_pool import Engine, run_all

log = logging.getLogger(__name__)

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Share:
    """Which of several machines this one is: it does every `of`-th shard, beginning with its own number."""

    number: int = 0
    of: int = 1


def prepare_shards(
    folder: Path,
    *,
    output: Path,
    columns: Columns,
    source: str,
    sharding: Sharding,
    engine: Engine,
    num_workers: int,
    share: Share,
    show_progress: bool,
) -> int:
    """Writes this machine's share of the shards into `output`, and returns how many shards lie there now.

    Takes the training set in `folder`, and the validation and test set that lie there too. The card is written where
    all shards are. Raises UserError for a data set that cannot be opened, a folder that holds something else, and
    pictures that cannot be read.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError("the output folder lies inside the input folder", where=output, do="Choose a folder beside it.")
    tables = _tables(folder, columns, source)
    plans = [
        Plan(folder.resolve(), split, columns, source, sharding, output.resolve(), len(table), _digest(table, sharding))
        for split, table in tables.items()
    ]
    make_folder(output)
    write_provenance(
        output, {"made": "shards", **asdict(sharding), "tables": {plan.split: plan.fingerprint for plan in plans}}
    )
    shards = [(plan, number) for plan in plans for number in range(plan.num_shards)]
    mine = shards[share.number :: share.of]
    pending = [(plan, number) for plan, number in mine if plan.report(number) is None]
    with tqdm(total=len(mine), initial=len(mine) - len(pending), unit="shard", disable=not show_progress) as bar:
        for _ in run_all(write_shard, pending, engine=engine, num_workers=num_workers):
            bar.update()
    return _finish(output, shards, tables)


def _finish(output: Path, shards: Sequence[tuple[Plan, int]], tables: Mapping[Split, SampleTable]) -> int:
    """Writes the card if every shard is here."""
    found = {(plan, number): plan.report(number) for plan, number in shards}
    reports: dict[str, ShardReport] = {
        plan.path(number).name: report for (plan, number), report in found.items() if report is not None
    }
    dropped = sum(len(report.dropped) for report in reports.values())
    log.info("shards=%d of=%d rows=%d dropped=%d output=%s", len(reports), len(shards),
             sum(report.num_rows for report in reports.values()), dropped, output)  # fmt: skip
    if len(reports) == len(shards):
        write_card(output, tables, reports, shards[0][0].sharding)
    else:
        log.info("no data card yet: run the same command once more on the folder with all shards")
    return len(reports)


def _tables(folder: Path, columns: Columns, source: str) -> dict[Split, SampleTable]:
    tables: dict[Split, SampleTable] = {}
    for split in SPLITS:
        location = SplitLocation(folder, split, is_own=split == "train")
        if split == "train" or recognised(location, source=source):
            tables[split] = open_source(location, columns, source=source).table()
            for remark in tables[split].remarks:
                log.log(logging.WARNING if remark.level == "warning" else logging.INFO, "%s: %s", split, remark.what)
    return tables


def _digest(table: SampleTable, sharding: Sharding) -> str:
    """The same for the same rows in any order."""
    by_name = table.rows(table.name_S.argsort(kind="stable"))
    others = "" if by_name.others is None else by_name.others.to_csv(index=False)
    return hashlib.sha256(f"{by_name.fingerprint()} {asdict(sharding)} {others}".encode()).hexdigest()
