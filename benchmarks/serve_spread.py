"""A lone picture of an ensemble: its passes on one core after another, and spread over the cores that are idle.

    python benchmarks/serve_spread.py --artifact build/serve_bench/ensemble/model

By counting, since other programs slow a machine down: the CPU time of a picture, and how many networks the busiest
core computes. Wall time stands beside it, with the load. In one process, alternating; the answers must be equal bit for
bit. Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ham10000 import where_and_when
from train import machine

from lesion.algorithms.classify.prediction.group_graph import busiest
from lesion.algorithms.classify.prediction.load import load_predictor
from lesion.inference.spread import Spread

CORES = (1, 2, 8, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    watched = {cores: Watched(args.artifact, cores) for cores in CORES}
    image_HWC = np.random.default_rng(0).integers(0, 256, (450, 600, 3), np.uint8)
    for _ in range(args.rounds):
        for one in watched.values():
            one.answer(image_HWC)
    expected = watched[1].outputs[0]
    for one in watched.values():
        for output in one.outputs:
            np.testing.assert_array_equal(output.logits_FVK, expected.logits_FVK)
            np.testing.assert_array_equal(output.features_FVD, expected.features_FVD)
    result = {
        "benchmark": "serve_spread", **where_and_when(), "machine": machine(), "load": round(os.getloadavg()[0], 1),
        "backend": watched[1].predictor.backend, "folds": len(watched[1].predictor.folds),
        "views": watched[1].predictor.model.num_views, "rounds": args.rounds, "answers_are_bit_equal": True,
        "cores": {cores: one.told(watched[1]) for cores, one in watched.items()},
    }  # fmt: skip
    print(json.dumps(result))


class Watched:
    """A predictor for so many cores, what a picture cost it, and the most passes that it had in flight."""

    def __init__(self, artifact: Path, num_cores: int) -> None:
        self.num_cores, self.outputs, self.wall_ms, self.cpu_ms = num_cores, [], [], []
        self.predictor = load_predictor(artifact, device="cpu", num_cores=num_cores)
        spread: Spread = self.predictor.executors[0]._spread
        self.run, spread.run = spread.run, self.watch  # type: ignore[method-assign]
        self.num_passes = self.most = self.now = 0
        self.changing = threading.Lock()

    def answer(self, image_HWC: Any) -> None:
        started, cpu_s = time.perf_counter(), time.process_time()
        self.outputs += self.predictor.compute([image_HWC], [{}])
        self.wall_ms.append(1e3 * (time.perf_counter() - started))
        self.cpu_ms.append(1e3 * (time.process_time() - cpu_s))

    def watch(self, passes: Sequence[Any]) -> list[Any]:
        def counted(compute: Any, core: int) -> Any:
            with self.changing:
                self.now += 1
                self.most = max(self.most, self.now)
            try:
                return compute(core)
            finally:
                with self.changing:
                    self.now -= 1

        self.num_passes = len(passes)
        return self.run([partial(counted, compute) for compute in passes])

    @property
    def busiest(self) -> int:
        """How many networks over one view the busiest core computes, if each takes the next pass when it is free."""
        executor = self.predictor.executors[0]
        return busiest(executor._groups, self.predictor.model.num_views, self.num_cores)

    def told(self, one_core: Watched) -> dict[str, float]:
        cpu_ms = median(self.cpu_ms[1:])  # the first is slower
        faster = one_core.busiest / self.busiest * median(one_core.cpu_ms[1:]) / cpu_ms
        return {
            "passes": self.num_passes, "most_in_flight": self.most, "networks_of_the_busiest_core": self.busiest,
            "cpu_ms": round(cpu_ms, 1), "times_faster_by_counting": round(faster, 2),
            "wall_ms": round(median(self.wall_ms[1:]), 1),
        }  # fmt: skip


if __name__ == "__main__":
    main()
