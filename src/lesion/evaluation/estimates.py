"""Estimates: every measure of several outputs, and their means, with intervals from the same draws of patients."""

# S samples · G groups · B draws of a block · N rows of one output that are judged

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.evaluation.counting import Labels, RowMeans
from lesion.evaluation.delong import areas
from lesion.evaluation.enough import said_of_mean, why_unranked_rows
from lesion.evaluation.intervals import (
    Estimate,
    MacroMean,
    Measurable,
    area_estimate,
    draws_interval,
    groups_of_mean,
    jackknife_interval,
)
from lesion.evaluation.measures import MEASURES, RANKED
from lesion.evaluation.ranking import rank
from lesion.evaluation.recalibration import CLIP
from lesion.evaluation.resampling import all_once, draws

CHUNK = 5_000_000  # entries of sorted outputs in memory at once: 80 MB
FEWEST_DRAWS = 200
MOST_SUMS = 1_500_000_000  # rows × outputs × draws: some 20 s
Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Output:
    """A yes-or-no question: targets 0 or 1 [N], probabilities [N], groups as numbers [N], labels as served [N].

    `score_N` is what rows are ranked by, `served_N` what one acts on; both the probabilities unless given.
    """

    name: str
    target_N: NDArray[np.float64]
    prob_N: NDArray[np.float64]
    code_N: NDArray[np.intp]
    is_yes_N: NDArray[np.bool_] | None
    prevalence: float | None = None
    score_N: NDArray[np.float64] | None = None
    served_N: NDArray[np.float64] | None = None

    @property
    def acted_on_N(self) -> NDArray[np.float64]:
        """The probabilities that a decision is made by."""
        return self.prob_N if self.served_N is None else self.served_N

    @property
    def ranked_N(self) -> NDArray[np.float64]:
        """What rows are ranked by."""
        return self.prob_N if self.score_N is None else self.score_N

    @property
    def num_positives(self) -> int:
        return int((self.target_N == 1).sum())

    @property
    def why_unranked(self) -> str | None:
        """In words, why its rows have no area; None if they have one."""
        return why_unranked_rows(self.target_N)

    def measurables(self, num_groups: int) -> list[Measurable]:
        """What measures it, whatever the weights of its groups."""
        if not len(self.target_N):
            return []
        kept_N = np.clip(self.prob_N, CLIP, 1 - CLIP)
        values = {
            "brier": (self.prob_N - self.target_N) ** 2,
            "log_loss": -np.where(self.target_N == 1, np.log(kept_N), np.log1p(-kept_N)),
        }
        found: list[Measurable] = [RowMeans.of(values, self.code_N, num_groups)]
        if self.is_yes_N is not None:
            found.append(Labels.of(self.target_N, self.is_yes_N, self.code_N, num_groups, self.prevalence))
        if self.why_unranked is None:
            found.append(rank(self.target_N, self.ranked_N, self.code_N, num_groups))
        return found


@dataclass
class _Gathered:
    """Values of the measures: of the rows as they are, and in every draw, block by block."""

    value: dict[str, float] = field(default_factory=dict)
    blocks: dict[str, list[Draws]] = field(default_factory=lambda: defaultdict(list))
    num_groups: dict[str, int] = field(default_factory=dict)
    area: Estimate | None = None

    def keep_values(self, measurables: Sequence[Measurable], num_groups: int) -> None:
        """Of the rows as they are."""
        for measurable in measurables:
            found = measurable.measure(all_once(num_groups))
            self.value |= {name: float(value_B[0]) for name, value_B in found.items()}
            self.num_groups |= measurable.num_groups

    def keep_block(self, measurables: Sequence[Measurable], weights_GB: NDArray[Any]) -> dict[str, Draws]:
        """Of a block of draws, which is also given back."""
        found: dict[str, Draws] = {}
        for measurable in measurables:
            found |= measurable.measure(weights_GB)
        for name, value_B in found.items():
            self.blocks[name].append(value_B)
        return found

    def estimates(self, highest: dict[str, float]) -> dict[str, Estimate]:
        found = {name: self._estimate(name, value, highest) for name, value in self.value.items()}
        if self.area is not None:
            found["roc_auc"] = self.area
        return found

    def _estimate(self, name: str, value: float, highest: dict[str, float]) -> Estimate:
        if not np.isfinite(value):
            return Estimate(None, why="no rows that it is a share of, or rows of one class")
        bounds = (MEASURES[name].low, highest.get(name, MEASURES[name].high))
        if not self.blocks[name]:
            return Estimate(value)
        return draws_interval(value, np.concatenate(self.blocks[name]), self.num_groups[name], bounds=bounds)


def affordable_draws(num_rows: int, num_outputs: int, asked: int) -> int:
    """As many draws as are asked for, fewer where rows × outputs are so many that they would take minutes."""
    return min(asked, max(FEWEST_DRAWS, MOST_SUMS // max(num_rows * num_outputs, 1)))


def estimate_outputs(
    outputs: Sequence[Output], whole: Sequence[Measurable], num_groups: int, *, num_draws: int, seed: int,
    highest: dict[str, float] | None = None,
) -> tuple[list[dict[str, Estimate]], dict[str, Estimate]]:  # fmt: skip
    """The estimates of each output; and of all together: `whole`, and else the mean over outputs (macro average).

    The mean is over the outputs that define a measure, in each draw too. `highest`: upper bounds that differ from
    those of MEASURES. Without draws there are values alone, and the interval of the area.
    """
    each, of_whole, mean = [_Gathered() for _ in outputs], _Gathered(), _Mean.of(num_groups)
    widest = max((2 * output.num_positives + 1 for output in outputs), default=1)
    for chunk in _chunks(outputs):
        measured = [(index, outputs[index].measurables(num_groups)) for index in chunk]
        for index, measurables in measured:
            each[index].keep_values(measurables, num_groups)
            if outputs[index].why_unranked is None:
                each[index].area = mean.add_area(outputs[index])
        for block, weights_GB in enumerate(draws(num_groups, num_draws, seed=seed, widest=widest)):
            for index, measurables in measured:
                mean.blocks[block].add(each[index].keep_block(measurables, weights_GB))
            if chunk[0] == 0:
                of_whole.keep_block(whole, weights_GB)
    of_whole.keep_values(whole, num_groups)
    together = mean.gathered(each).estimates({}) | of_whole.estimates(highest or {})
    found = [gathered.estimates({}) for gathered in each]
    unranked = [output.why_unranked for output in outputs]
    for why, estimates in zip(unranked, found, strict=True):
        estimates.update({name: Estimate(None, why=why) for name in RANKED} if why else {})
    if outputs and all(unranked):
        together |= {name: Estimate(None, why=said_of_mean(unranked)) for name in RANKED}
    return found, together


def estimate_labels(
    answers: Sequence[Labels], num_groups: int, *, num_draws: int, seed: int = 0
) -> list[dict[str, Estimate]]:
    """The estimates of labels alone, of several answers to the same rows: as `estimate_outputs` has them, from the same
    draws, in one pass over these.
    """
    each = [_Gathered() for _ in answers]
    for gathered, labels in zip(each, answers, strict=True):
        gathered.keep_values([labels], num_groups)
    for weights_GB in draws(num_groups, num_draws if num_groups > 1 else 0, seed=seed):
        for gathered, labels in zip(each, answers, strict=True):
            gathered.keep_block([labels], weights_GB)
    return [gathered.estimates({}) for gathered in each]


@dataclass
class _Mean:
    """Means over outputs: of measures, block by block; and of areas without each group."""

    areas_G: NDArray[np.float64]
    areas: list[tuple[float, float]] = field(default_factory=list)  # value, degrees of freedom
    num_groups: list[int] = field(default_factory=list)  # that bear on each area
    blocks: dict[int, MacroMean] = field(default_factory=lambda: defaultdict(MacroMean))

    @classmethod
    def of(cls, num_groups: int) -> _Mean:
        return cls(np.zeros(num_groups))

    def add_area(self, output: Output) -> Estimate:
        found = areas(output.target_N, output.ranked_N[:, None], output.code_N)
        value = float(found.value_M[0])
        whole_G = np.full(len(self.areas_G), value)  # groups without rows of this output change nothing
        whole_G[np.unique(output.code_N)] = found.without_GM[:, 0]
        self.areas_G += whole_G
        self.areas.append((value, float(found.freedom_M[0])))
        self.num_groups.append(found.num_groups)
        return area_estimate(found)

    def gathered(self, each: Sequence[_Gathered]) -> _Gathered:
        """The means over the outputs that define a measure."""
        found = _Gathered()
        for name in {name for gathered in each for name in gathered.value}:
            defined = [gathered for gathered in each if np.isfinite(gathered.value.get(name, np.nan))]
            found.value[name] = float(np.mean([one.value[name] for one in defined])) if defined else np.nan
            found.num_groups[name] = groups_of_mean([one.num_groups[name] for one in defined]) if defined else 0
        for _, mean in sorted(self.blocks.items()):
            for name, value_B in mean.measures().items():
                found.blocks[name].append(value_B)
        if self.areas:
            value, freedom = (float(mean) for mean in np.mean(self.areas, axis=0))
            without_G = self.areas_G / len(self.areas)
            found.area = jackknife_interval(value, without_G, groups_of_mean(self.num_groups), freedom=freedom)
        return found


def _chunks(outputs: Sequence[Output]) -> Iterator[list[int]]:
    """The outputs' numbers in runs whose sorted rows fit in memory."""
    chunk: list[int] = []
    size = 0
    for index, output in enumerate(outputs):
        if chunk and size + len(output.target_N) > CHUNK:
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += len(output.target_N)
    if chunk:
        yield chunk
