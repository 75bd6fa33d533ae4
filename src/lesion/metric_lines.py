"""Metric lines: the numbers that SageMaker scrapes from the log. Each declares its line and its regex together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricLine:
    """One number that SageMaker scrapes from the log: its name, its line, and the regex that finds the line."""

    name: str
    better: Literal["higher", "lower"] | None  # None: neither
    num_decimals: int = 6

    def line(self, value: float) -> str:
        return f"metric {self.name}={value:.{self.num_decimals}f}"

    @property
    def regex(self) -> str:
        return rf"\bmetric {re.escape(self.name)}=(-?[0-9.]+)"


def by_name(lines: Iterable[MetricLine]) -> dict[str, MetricLine]:
    """The lines of one algorithm, in their order."""
    return {line.name: line for line in lines}
