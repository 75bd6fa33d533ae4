"""Two folds side by side with a thread each, against one after the other with two threads: pictures a second of both.

    python benchmarks/processes.py                 # resnet10t and mobilenetv2_100, 3 minutes on two cores

The training step alone, on made-up pictures. Each round times both ways; prints one JSON line with the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from ham10000 import where_and_when

from lesion.sagemaker import prepare_libraries, training_environment

BATCH, SIDE_PX, NUM_STEPS = 32, 128, 6  # of one process alone, in a round; half of them each for two


def work(model: str, num_threads: int) -> None:
    """A process that trains as many steps as each line it reads says, and answers when it has."""
    import numpy as np
    import torch

    from lesion.data.loader import Batch
    from lesion.data.transforms import Preprocess
    from lesion.engine.device import limit_threads
    from lesion.engine.loop import train_one_epoch
    from lesion.engine.optim import create_optimizer
    from lesion.models.fusion import create_network
    from lesion.targets import Target

    limit_threads(num_threads)
    network = create_network(
        model, {}, Preprocess(SIDE_PX, (0.5,) * 3, (0.5,) * 3), num_metadata=0, num_outputs=1, seed=0
    )
    optimizer = create_optimizer(network.parameters(), learning_rate=1e-4, weight_decay=0.0)
    loss = partial(Target("binary", ("no", "yes")).loss, weights_K=np.ones(1, np.float32))
    rng = np.random.default_rng(0)
    images_NCHW = rng.integers(0, 256, (BATCH, 3, SIDE_PX, SIDE_PX)).astype(np.uint8)
    targets_NK = rng.integers(0, 2, (BATCH, 1)).astype(np.float32)
    batch = Batch(np.arange(BATCH), images_NCHW, np.zeros((BATCH, 0), np.float32), targets_NK)
    for line in sys.stdin:
        train_one_epoch(network, [batch] * int(line), loss, optimizer, torch.device("cpu"))
        print("done", flush=True)


def seconds(workers: list[subprocess.Popen[str]], num_steps: int) -> float:
    """Until all have done that many steps, at once."""
    started = time.monotonic()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{num_steps}\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline()
    return time.monotonic() - started


def compare(model: str, num_rounds: int) -> dict[str, object]:
    def start(num_threads: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, __file__, "--work", model, str(num_threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=training_environment(Path("/opt/ml")),
        )  # fmt: skip

    alone, beside = [start(2)], [start(1), start(1)]
    try:
        for workers in (alone, beside):
            seconds(workers, 2)  # memory, oneDNN's kernels
        rounds = [(seconds(alone, NUM_STEPS), seconds(beside, NUM_STEPS // 2)) for _ in range(num_rounds)]
    finally:
        for worker in (*alone, *beside):
            worker.kill()
            worker.wait()
    ratios = [one / two for one, two in rounds]
    pictures = NUM_STEPS * BATCH
    return {
        "one_by_one_images_per_s": round(pictures / statistics.median(one for one, _ in rounds), 1),
        "side_by_side_images_per_s": round(pictures / statistics.median(two for _, two in rounds), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["resnet10t", "mobilenetv2_100"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    prepare_libraries()
    if args.work:
        work(args.work[0], int(args.work[1]))
        return
    results = {model: compare(model, args.rounds) for model in args.models}
    print(json.dumps({"benchmark": "processes", **where_and_when(), "batch": BATCH, "side_px": SIDE_PX, **results}))


if __name__ == "__main__":
    main()
