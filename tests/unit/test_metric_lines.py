"""Metric lines: what each algorithm reports is found by SageMaker's regexes, and by no other line's."""

from __future__ import annotations

import math
import re

import pytest

from lesion.algorithms.registry import ALGORITHMS, find_algorithm
from lesion.metric_lines import MetricLine

TABLES = [find_algorithm(name).metric_lines for name in ALGORITHMS]
ALL = [(table, name) for table in TABLES for name in table]


@pytest.mark.parametrize("lines", TABLES)
def test_the_list_of_metrics_is_within_the_platforms_limits(lines):
    """At most 40 definitions, names of 255 and regexes of 500 characters (contract, E4)."""
    assert len(lines) <= 40
    assert all(len(line.name) <= 255 and len(line.regex) <= 500 for line in lines.values())
    assert [line.name for line in lines.values()] == list(lines)


@pytest.mark.parametrize(("lines", "name"), ALL)
@pytest.mark.parametrize("value", [0.0, 0.8931234, 12.5, 1234567.0, 1e-9])
@pytest.mark.parametrize("prefix", ["", "2026-11-21T12:00:00Z ", "[1,0]<stdout>:"])
def test_a_regex_finds_the_number_of_its_own_line_and_of_no_other(lines, name, value, prefix):
    line = prefix + lines[name].line(value)
    found = {other: re.findall(metric.regex, line) for other, metric in lines.items()}
    assert float(found.pop(name)[0]) == pytest.approx(value, abs=5e-7)
    assert not any(found.values())


def test_a_number_that_is_none_is_not_scraped():
    line = MetricLine("epoch:train_loss", "lower")
    assert re.findall(line.regex, line.line(math.nan)) == []
