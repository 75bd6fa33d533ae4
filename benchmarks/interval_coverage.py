"""Coverage: how often 95 % intervals by patient hold the truth, with few patients and rows that are alike.

    python benchmarks/interval_coverage.py

Drawn scores: each patient shifts all of his or her scores, so rows of a patient are correlated. `percentile` is what
Lesion did before (2.5 and 97.5 % of a bootstrap by patient), `now` what it does. `told`: how many sets get an interval.
Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ham10000 import where_and_when
from scipy.special import expit
from scipy.stats import rankdata

from lesion.evaluation.counting import Labels
from lesion.evaluation.delong import areas
from lesion.evaluation.intervals import Estimate, area_estimate, draws_interval
from lesion.evaluation.ranking import rank
from lesion.evaluation.resampling import all_once, draws, number_groups

GROUPS = (5, 7, 12, 20, 50)
THRESHOLD = 0.7
MEASURES = ("roc_auc", "average_precision", "sensitivity", "accuracy", "mcc")


@dataclass(frozen=True)
class World:
    """`rows` a patient on average, `shift` the standard deviation of a patient's shift, `mix` of the prevalence's logit
    (None: all rows of a patient are of one class)."""

    rows: int
    shift: float
    mix: float | None

    def draw(self, rng: np.random.Generator, num_groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        group_S = np.repeat(np.arange(num_groups), rng.poisson(self.rows, num_groups) + 1)
        logit_G = -1 if self.mix is None else -1 + self.mix * rng.normal(size=num_groups)
        prevalence_G = (rng.random(num_groups) < 0.4) if self.mix is None else expit(logit_G)
        target_S = (rng.random(len(group_S)) < prevalence_G[group_S]).astype(float)
        shift_G = rng.normal(size=num_groups) * self.shift
        return target_S, 1.4 * target_S + shift_G[group_S] + rng.normal(size=len(group_S)), group_S


WORLDS = {
    "slides: 20 tiles, mixed": World(20, 0.6, 1.0),
    "slides: 50 tiles, very mixed": World(50, 1.0, 2.0),
    "patients: 4 pictures, mixed": World(3, 0.8, 1.0),
    "slides: 20 tiles of one class": World(20, 0.6, None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1000, help="sets drawn for each number of patients")
    args = parser.parse_args()
    started = time.process_time()
    found: dict[str, Any] = {}
    for name, world in WORLDS.items():
        truth = truths(world)
        found[name] = {str(num): coverage(world, truth, num, args.rounds) for num in GROUPS}
    result = {"benchmark": "interval_coverage", **where_and_when(), "rounds": args.rounds, "coverage": found}
    print(json.dumps(result | {"cpu_s": round(time.process_time() - started)}))


def truths(world: World) -> dict[str, float]:
    """The measures of a set so large that chance plays no part."""
    target_S, score_S, group_S = world.draw(np.random.default_rng(9), 400_000 // world.rows)
    code_S, num_groups = number_groups(group_S)
    labels = Labels.of(target_S, score_S >= THRESHOLD, code_S, num_groups).measure(all_once(num_groups))
    rounded_S = rankdata(np.round(score_S, 3))  # fewer distinct places
    ranked = rank(target_S, rounded_S, code_S, num_groups).measure(all_once(num_groups))
    return {name: float((labels | ranked)[name][0]) for name in MEASURES}


def coverage(world: World, truth: dict[str, float], num_groups: int, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(num_groups)
    held = {way: {name: [] for name in MEASURES} for way in ("percentile", "now")}
    for _ in range(rounds):
        target_S, score_S, group_S = world.draw(rng, num_groups)
        if min(target_S.sum(), len(target_S) - target_S.sum()) < 10:
            continue  # Lesion gives counts there, no area
        for name, (before, now) in intervals(target_S, score_S, group_S).items():
            for way, (low, high) in (("percentile", before), ("now", (now.low, now.high))):
                if low is not None and high is not None:
                    held[way][name].append(low <= truth[name] <= high)
    return {
        way: {name: round(float(np.mean(is_held)), 3) for name, is_held in of_way.items()}
        for way, of_way in held.items()
    } | {"told": {name: round(len(held["now"][name]) / max(len(held["percentile"][name]), 1), 3) for name in MEASURES}}


def intervals(
    target_S: np.ndarray, score_S: np.ndarray, group_S: np.ndarray
) -> dict[str, tuple[tuple[float, float], Estimate]]:
    code_S, num_groups = number_groups(group_S)
    ranking = rank(target_S, score_S, code_S, num_groups)
    labels = Labels.of(target_S, score_S >= THRESHOLD, code_S, num_groups)
    [drawn_GB] = draws(num_groups, 400, seed=0)
    points, blocks = ({**ranking.measure(w_GB), **labels.measure(w_GB)} for w_GB in (all_once(num_groups), drawn_GB))
    bearing, found = ranking.num_groups | labels.num_groups, {}
    for name in MEASURES:
        value, drawn_B = float(points[name][0]), blocks[name]
        bounds = (-1.0, 1.0) if name == "mcc" else (0.0, 1.0)
        now = draws_interval(value, drawn_B, bearing[name], bounds=bounds)
        low, high = np.percentile(drawn_B[np.isfinite(drawn_B)], [2.5, 97.5])
        found[name] = ((low, high), _area(target_S, score_S, group_S) if name == "roc_auc" else now)
    return found


def _area(target_S: np.ndarray, score_S: np.ndarray, group_S: np.ndarray) -> Estimate:
    return area_estimate(areas(target_S, score_S[:, None], group_S))


if __name__ == "__main__":
    main()
