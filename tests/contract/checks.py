"""Checks: data sets that tests spoil, and what the check says of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jobs import SMALL

from factories import write_channel
from lesion.algorithms.classify.algorithm import CLASSIFY
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.check.finding import Finding
from lesion.check.report import Report

SETTINGS = {**SMALL, "pretrained": False, "model": "test_resnet"}


class DataSet:
    """A channel that a test spoils, and what the check says of it."""

    def __init__(self, folder: Path, frame: pd.DataFrame, **settings: object) -> None:
        self.folder, self.frame, self.settings = folder, frame, {**SETTINGS, **settings}
        self.channels = {"training": folder}
        write_channel(folder, frame)

    def rewrite(self, frame: pd.DataFrame) -> None:
        frame.to_csv(self.folder / "train.csv", index=False)

    def picture(self, name: str) -> Path:
        return self.folder / "train_jpg" / f"{name}.jpg"

    def copy(self, name: str, to: str) -> None:
        self.picture(to).write_bytes(self.picture(name).read_bytes())

    def add(self, channel: str, frame: pd.DataFrame) -> Path:
        """A further channel; its folder of pictures."""
        folder = self.folder.with_name(channel)
        write_channel(folder, frame, csv_name=f"{channel}.csv", image_dir=f"{channel}_jpg")
        self.channels[channel] = folder
        return folder / f"{channel}_jpg"

    def check(self, **changes: object) -> Report:
        return check(self.channels, self.folder.with_name("check"), **{**self.settings, **changes})


def check(channels: dict[str, Path], output: Path, **settings: object) -> Report:
    """What the check says of these channels; its files lie in `output`."""
    config = ClassifyConfig.parse({**SETTINGS, **settings})
    return CLASSIFY.check(config, channels, output=output, num_workers=1, show_progress=False)


def one(report: Report, name: str) -> Finding:
    [finding] = [finding for finding in report.findings if finding.name == name]
    return finding


def names(finding: Finding) -> list[str]:
    return [row.name for row in finding.rows]


def turned(content: bytes) -> bytes:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.imencode(".jpg", np.rot90(image), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def errors(report: Report) -> list[Finding]:
    return [finding for finding in report.sorted_findings() if finding.level == "error"]
