"""What the end of a small job costs: CPU seconds of calibration, safeguards, report, maps and graph, beside training.

    python benchmarks/job_end.py [--rows 100] [--set NAME=VALUE]

HAM10000's first rows with both classes, 3 folds of 10 epochs at 96 px, images only. The job runs in this process; each
line of its log that ends a stage is noted with the process's CPU time (user and system, all threads), which a busy
machine changes little. The end should take less than a minute or 5 % of the job (issue 20). Needs the real data
beside the project (shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from pathlib import Path
from typing import Any

import pandas as pd
from ham10000 import PROJECT, SETTINGS, SHARED, lay_out, where_and_when

SMALL: dict[str, Any] = {"image_size": 96, "folds": 3, "epochs": 10, "tta": 4, "metadata_columns": "[]"}
# What the log says when a stage has ended; what happens between two of them belongs to the later one.
ENDS = {
    r"train=\d+|checked|task=": "check",
    r"step=decide": "train, decide",
    r"step=evaluate": "artifact, evaluate",
    r"step=compare_networks": "compare networks",
    r"step=safeguards": "safeguards",
    r"step=report": "report",
    r"explanation: method": "choose a map",
    r"step=maps": "maps of the report",
    r"graph: largest": "graph",
}


class CpuClock(logging.Handler):
    """Notes the CPU time at which each stage ended."""

    def __init__(self) -> None:
        super().__init__()
        self._before, self.cpu_s = time.process_time(), dict.fromkeys(ENDS.values(), 0.0)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        stage = next((stage for pattern, stage in ENDS.items() if re.match(pattern, message)), None)
        if stage is not None:
            now = time.process_time()
            self.cpu_s[stage] += now - self._before
            self._before = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    args = parser.parse_args()
    settings = SETTINGS | SMALL | dict(pair.split("=", 1) for pair in args.set)
    root = PROJECT / "build" / "job_end"
    channel = lay_out(root, {"train_jpg": "ham10000/train_jpg"}, settings)
    write_table(channel / "train.csv", args.rows)
    clock = CpuClock()
    logger = logging.getLogger("lesion")
    logger.setLevel(logging.INFO)
    logger.addHandler(clock)
    run(root)
    cpu_s = {stage: round(seconds, 1) for stage, seconds in clock.cpu_s.items()}
    trained = cpu_s["check"] + cpu_s["train, decide"]
    told = {
        "benchmark": "job_end",
        **where_and_when(),
        "settings": {**settings, "pretrained": Path(settings["pretrained"]).name},
        "rows": args.rows,
        "cpu_s": cpu_s,
        "end_cpu_s": round(sum(cpu_s.values()) - trained, 1),
        "end_without_graph_cpu_s": round(sum(cpu_s.values()) - trained - cpu_s["graph"], 1),
    }
    print(json.dumps(told))


def write_table(path: Path, num_rows: int) -> None:
    """A third melanomas, so that each fold has both classes."""
    frame = pd.read_csv(SHARED / "ham10000" / "train.csv")
    num_positives = num_rows // 3
    parts = [frame[frame["target"] == 1][:num_positives], frame[frame["target"] == 0][: num_rows - num_positives]]
    path.unlink(missing_ok=True)
    pd.concat(parts).to_csv(path, index=False)


def run(root: Path) -> None:
    """The whole job in this process."""
    from lesion.algorithms.classify.config import ClassifyConfig
    from lesion.algorithms.classify.train import train
    from lesion.sagemaker import read_job

    job = read_job(root)
    train(job, ClassifyConfig.parse(job.hyperparameters))


if __name__ == "__main__":
    main()
