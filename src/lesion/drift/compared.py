"""Compared: gathered samples and counts beside the reference, and what is a violation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Reference
from lesion.drift.gathered import BAD_LINE, FOREIGN, Gathered
from lesion.evaluation.drift import (
    ALPHA,
    MIN_ROWS,
    Difference,
    compare_scores,
    compare_shares,
    compare_values,
    corrected,
)

MOST_BAD_LINES = 0.05  # share of the lines from which on the rest may be another kind of requests
Sample = NDArray[np.float32] | tuple[int, int]  # of a value its sample, of a share (hits, rows)
Check = Literal["baseline_drift_check", "completeness_check", "categorical_values_check"]  # the platform's words


@dataclass(frozen=True)
class Comparison:
    """One value or share of training beside that of now. `why` says why it was not compared, and is "" where it was."""

    name: str
    title: str
    training: Sample
    now: Sample
    difference: Difference | None = None
    corrected_p: float = 1.0
    is_drift: bool = False
    why: str = ""

    @property
    def num_training(self) -> int:
        return num_rows(self.training)

    @property
    def num_now(self) -> int:
        return num_rows(self.now)


@dataclass(frozen=True)
class Violation:
    """A row of the platform's constraint_violations.json.

    https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-interpreting-violations.html
    """

    feature_name: str
    constraint_check_type: Check
    description: str


def num_rows(sample: Sample) -> int:
    return sample[1] if isinstance(sample, tuple) else len(sample)


def compare(found: Gathered, reference: Reference, *, alpha: float = ALPHA) -> list[Comparison]:
    """Every value and share that the reference has, compared where both sides have MIN_ROWS or more; those that
    drifted first.

    Without drift, and of independent rows, no more than `alpha` of such lists have any drift: the p are corrected for
    all tests of the list (Holm).
    """
    pairs: dict[str, tuple[Sample, Sample]] = {}
    for name, training in reference.values.items():
        pairs[name] = training, np.array(found.values.get(name, ()), dtype=np.float32)
    for name, share in reference.shares.items():
        hits, num = found.shares.get(name, (0, 0))
        pairs[name] = share, (hits, num)
    differences = {name: _difference(*pair, is_score=name in reference.scores) for name, pair in pairs.items()}
    tested = {name: each for name, each in differences.items() if isinstance(each, Difference)}
    p_of = dict(zip(tested, corrected(list(tested.values())), strict=True))
    made = []
    for name, pair in pairs.items():
        each, title = differences[name], reference.titles[name]
        if isinstance(each, str):
            made.append(Comparison(name, title, *pair, why=each))
        else:
            is_drift = each.is_drift(p_of[name], alpha)
            made.append(Comparison(name, title, *pair, each, p_of[name], is_drift))
    return sorted(made, key=lambda one: (not one.is_drift, one.difference is None))


def _difference(training: Sample, now: Sample, *, is_score: bool) -> Difference | str:
    """The test of the two; or why there is none."""
    if num_rows(now) < MIN_ROWS:
        return f"{num_rows(now)} captured, {MIN_ROWS} are needed"
    if num_rows(training) < MIN_ROWS:
        return f"{num_rows(training)} rows of training, {MIN_ROWS} are needed"
    if isinstance(training, tuple) and isinstance(now, tuple):
        return compare_shares(training, now)
    assert not isinstance(training, tuple) and not isinstance(now, tuple)
    return (compare_scores if is_score else compare_values)(training, now)


def num_compared(comparisons: Sequence[Comparison]) -> int:
    """How many were tested; of the others too few rows were captured or kept."""
    return sum(one.difference is not None for one in comparisons)


def violations(comparisons: list[Comparison], found: Gathered) -> list[Violation]:
    """What is to be looked at: each drift, a period of which nothing was seen, many lines that cannot be read, and
    answers of another model."""
    listed = [Violation(one.name, "baseline_drift_check", drift_in_words(one)) for one in comparisons if one.is_drift]
    if (num := found.faults[BAD_LINE]) > MOST_BAD_LINES * found.num_lines:
        what = f"{num} of {found.num_lines} lines are not data capture; the first: {found.examples[BAD_LINE][0]}"
        listed.append(Violation("captured_lines", "completeness_check", what))
    if not found.num_requests:
        outside = f": {found.num_outside} lie outside of the period" if found.num_outside else ""
        what = f"no request was captured, so nothing was looked at{outside}"
        listed.append(Violation("requests", "completeness_check", what))
    if num := found.faults[FOREIGN]:
        what = f"{num} of {found.num_answers} answers are not of this model; the first: {found.examples[FOREIGN][0]}"
        listed.append(Violation("answers", "categorical_values_check", what))
    return listed


def drift_in_words(one: Comparison) -> str:
    """One sentence with both sides and the test."""
    assert one.difference is not None
    each = one.difference
    training = f"{side_in_words(one.training)} in training ({one.num_training} rows)"
    now = f"{side_in_words(one.now)} now ({one.num_now})"
    test = f"{each.test} p {p_in_words(one.corrected_p)} after Holm"
    return f"{one.title}: {training}, {now}; {test}, {each.index} {each.size:.2f} (large from {each.large:g})"


def side_in_words(sample: Sample) -> str:
    """A share in percent; of values the median, with the tenth and the ninetieth percentile."""
    if isinstance(sample, tuple):
        return f"{sample[0] / sample[1]:.1%}" if sample[1] else "none"
    if not len(sample):
        return "none"
    low, middle, high = np.quantile(sample, [0.1, 0.5, 0.9]).tolist()
    return f"median {middle:.3g} ({low:.3g} to {high:.3g})"


def p_in_words(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}"
