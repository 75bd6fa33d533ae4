"""Maps: what they cost a server that is asked for none, and one that is asked.

    python benchmarks/explain.py

Five folds of mobilenetv2_100 with random weights at 160 px, metadata of five numbers. The graph with the outputs of
places and the one without are asked in turn, 200 times each, on 2 cores; then each kind of map is drawn. CPU times.
Prints one JSON line; a dated copy lies in benchmarks/results/.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lesion.algorithms.classify.explanation.maps import WantedMap
from lesion.algorithms.classify.prediction.openvino_cpu import compile_graph
from lesion.algorithms.classify.prediction.predictor import Prepared
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor
from lesion.data.transforms import Preprocess
from lesion.explain.explained_class import named_class
from lesion.export import to_openvino
from lesion.inference.openvino_graph import core
from lesion.models.fusion import create_network
from lesion.targets import Target

SIDE, FOLDS, METADATA, NUM_CORES = 160, 5, 5, 2
NUM_WARM, NUM_PAIRS = 40, 200


def main() -> None:
    preprocess = Preprocess(SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    shape = {"num_metadata": METADATA, "num_outputs": 1}
    networks = {
        fold: create_network("mobilenetv2_100", {}, preprocess, seed=fold, **shape).eval().requires_grad_(False)
        for fold in range(FOLDS)
    }
    widths = dict.fromkeys(networks, METADATA)
    graphs = {has: to_openvino(networks, widths, SIDE, has_places=has) for has in (False, True)}
    settings = {"num_views": 1, "precision": "fp32", "num_cores": NUM_CORES, "all_cores": "now"}
    executors = {
        has: compile_graph(core().read_model(*graph), list(networks), **settings)[0] for has, graph in graphs.items()
    }
    square_HWC = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    plain = Prepared(square_HWC, [np.zeros(METADATA, np.float32)] * FOLDS, 1)
    target = Target("binary", ("no", "yes"))
    wanted = WantedMap(target, named_class(target, "yes"), "grad_cam", "final", "cam", SIDE, SIDE, "crop")

    pairs_P2 = np.array(
        [
            [cpu_ms(lambda has=has: executors[has]([plain])) for has in (False, True)]
            for _ in range(NUM_WARM + NUM_PAIRS)
        ]
    )[NUM_WARM:]
    ratios_P = pairs_P2[:, 1] / pairs_P2[:, 0]
    before = memory_mib()
    executors[True]([replace(plain, wanted_map=wanted)])
    grown_mib = memory_mib() - before
    torch.set_num_threads(NUM_CORES)
    by_torch = TorchExecutor(list(networks.values()), torch.device("cpu"))
    cost = {"graph plain": cpu_ms(lambda: executors[True]([plain]), 20)}
    for method in ("cam", "occlusion"):
        asked = replace(plain, wanted_map=replace(wanted, without_gradient=method))
        cost[f"graph {method}"] = cpu_ms(lambda asked=asked: executors[True]([asked]), 5)
    cost["torch plain"] = cpu_ms(lambda: by_torch([plain]), 5)
    for method, level in (("grad_cam", "final"), ("grad_cam", "blocks.4"), ("cam", "")):
        asked = replace(plain, wanted_map=replace(wanted, method=method, level=level))
        cost[f"torch {method} {level}".strip()] = cpu_ms(lambda asked=asked: by_torch([asked]), 2)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    told = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit.stdout.strip(),
        "machine": f"{NUM_CORES} cores, no GPU",
        "without_map": {
            "ratio_with_over_without_places": round(float(np.median(ratios_P)), 4),
            "quartiles": np.quantile(ratios_P, [0.25, 0.75]).round(4).tolist(),
            "cpu_ms": np.median(pairs_P2, axis=0).round(2).tolist(),
            "graph_bytes": [sum(map(len, graphs[has])) for has in (False, True)],
        },
        "first_map_adds_mib": round(grown_mib, 1),
        "cpu_ms": {name: round(value, 1) for name, value in cost.items()},
    }
    print(json.dumps(told))


def cpu_ms(work: Callable[[], object], count: int = 1) -> float:
    """CPU milliseconds of the whole process for one call, mean over `count`."""
    started = time.process_time()
    for _ in range(count):
        work()
    return 1000 * (time.process_time() - started) / count


def memory_mib() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


if __name__ == "__main__":
    main()
