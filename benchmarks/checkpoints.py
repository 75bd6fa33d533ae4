"""What a checkpoint costs the training that it is made of: how long a step waits, and how much slower steps are then.

    python benchmarks/checkpoints.py               # mobilenetv2_100 and resnet18, a few minutes on 2 cores
    python benchmarks/checkpoints.py --models resnet18 --rounds 9 --device cuda --folder /opt/ml/checkpoints

A round is so many steps without a save, then as many with one before the first, which goes to disk beside them. The
state is of its real size: weights, the best epoch's weights, Adam's moments. Prints one JSON line; dated copies lie in
benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ham10000 import where_and_when

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.training.loop import StepSettings, train_one_epoch
from lesion.data.loader import Batch
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints
from lesion.engine.device import keep_slow_convolutions_in_fp32, pick_precision
from lesion.engine.optim import Schedule, create_optimizer
from lesion.engine.training import EarlyStopping, EpochSums, Training
from lesion.models.fusion import create_network
from lesion.stop import Stop

LIMIT = 0.02  # of the time of training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["mobilenetv2_100", "resnet18"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="in a half round")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, help="where to save (default: a temporary folder)")
    args = parser.parse_args()
    interval_s = ClassifyConfig().checkpoint_interval_s
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        found = {model: measure(model, Path(folder) / model, args, interval_s) for model in args.models}
    settings = {"batch_size": args.batch_size, "image_size": args.image_size, "steps": args.steps}
    result = {
        "benchmark": "checkpoints",
        **where_and_when(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if args.device == "cuda" else args.device,
        "settings": settings | {"rounds": args.rounds, "interval_s": interval_s},
        "models": found,
    }
    print(json.dumps(result))


def measure(model: str, folder: Path, args: argparse.Namespace, interval_s: float) -> dict[str, Any]:
    """Medians over the rounds, in seconds, and what they come to as shares of the time of training."""
    device = torch.device(args.device)
    preprocess = Preprocess(args.image_size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = create_network(model, {}, preprocess, num_metadata=0, num_outputs=1, seed=0).to(device)
    precision = pick_precision("auto", device)
    keep_slow_convolutions_in_fp32(network, precision, device)
    optimizer = create_optimizer(
        "adam",
        network.backbone,
        list(network.head.parameters()),
        learning_rate=1e-4,
        weight_decay=0.0,
        rest_factor=1.0,
        layer_decay=1.0,
    )
    schedule = Schedule(
        optimizer, kind="plateau", num_epochs=1, warmup_epochs=0, better="higher", factor=0.5, patience=1
    )
    training = Training(network, optimizer, schedule, EarlyStopping("higher", 3))
    training.early_stopping.update(0, 0.5, network)
    rng = np.random.default_rng(0)
    shape = (args.batch_size, args.image_size, args.image_size, 3)
    batch = Batch(
        images_NHWC=rng.integers(0, 256, shape, dtype=np.uint8),
        metadata_NM=np.zeros((args.batch_size, 0), np.float32),
        targets_NK=rng.integers(0, 2, (args.batch_size, 1)).astype(np.float32),
        index_N=np.arange(args.batch_size),
    )

    def loss(logits_NK: torch.Tensor, targets_NK: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(logits_NK, targets_NK, reduction="none").mean(dim=1)

    settings = StepSettings(loss, device, precision)

    def train() -> float:
        training.sums = EpochSums()
        started = time.perf_counter()
        train_one_epoch(training, [batch] * args.steps, settings, num_steps=args.steps)  # its end waits for the device
        return time.perf_counter() - started

    train()  # moments are made, memory is found
    held, written, alone, beside = [], [], [], []
    with Checkpoints(folder, {}, Stop(), interval_s=interval_s) as checkpoints:
        for _ in range(args.rounds):
            alone.append(train())
            started = time.perf_counter()
            checkpoints.save("fold_0.step", training.state())
            held.append(time.perf_counter() - started)
            beside.append(train())
            checkpoints.wait()
            started = time.perf_counter()
            checkpoints.save("fold_0.step", training.state())
            checkpoints.wait()
            written.append(time.perf_counter() - started)
        size = max(path.stat().st_size for path in folder.iterdir())
    step_s = statistics.median(alone) / args.steps
    held_s = statistics.median(held)
    slower_s = statistics.median(after - before for after, before in zip(beside, alone, strict=True))
    cost_s = held_s + max(slower_s, 0.0)
    return {
        "state_mib": round(size / 2**20, 1),
        "step_s": round(step_s, 4),
        "held_s": round(held_s, 4),
        "held_s_longest": round(max(held), 4),
        "steps_beside_the_write_slower_by_s": round(slower_s, 4),
        "whole_save_alone_s": round(statistics.median(written), 4),
        "held_to_interval": round(held_s / interval_s, 6),
        "cost_to_interval": round(cost_s / interval_s, 6),
        "held_to_one_step": round(held_s / step_s, 3),
        # The end of an epoch is saved too: shorter epochs than this pay more than the limit.
        "epoch_s_at_the_limit": round(cost_s / LIMIT, 1),
        "is_below_limit": cost_s / interval_s < LIMIT,
    }


if __name__ == "__main__":
    main()
