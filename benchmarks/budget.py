"""Quality for the time spent: AUC out of fold against minutes of wall time, of Lesion's recipes and of what a user
would run instead, each point a whole job of its own.

    python benchmarks/budget.py --minutes 10
    python benchmarks/budget.py --minutes 10 --lesion "probe: recipe=probe" --lesion "3 epochs: recipe=fast epochs=3"

HAM10000's 3,521 lesions, pictures only, the weights in shared/data, the same five grouped folds for all. A curve goes
on to more epochs until the next of its points would last longer than the budget. Prints one JSON line; dated copies lie
in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dermoscopy import describe, lay_out_pictures
from ham10000 import where_and_when
from train import BUILD, PEERS, PEERS_PYTHON, Terms, machine, run_lesion, run_peer, versions

PEERS["frozen"] = ["frozen.py"]
PEERS["frozen_bf16"] = ["frozen.py", "--bf16"]

EPOCHS = (1, 2, 3, 5, 8, 12, 20, 30)
# Peer and side in pixels. Those that train go on through EPOCHS.
CURVES: dict[str, tuple[str, int]] = {
    "frozen features, 224 px": ("frozen", 224),
    "frozen features, 224 px, bf16": ("frozen_bf16", 224),
    "plain loop, 128 px": ("timm", 128),
    "plain loop, 128 px, bf16": ("timm_bf16", 128),
    "plain loop, 224 px, bf16": ("timm_bf16", 224),
    "fastai fine_tune, 128 px": ("fastai", 128),
    "fastai fine_tune, 224 px": ("fastai", 224),
}
LESION = ("probe: recipe=probe", "fast: recipe=fast", "good: recipe=good")
BUDGETS = (1, 2, 3, 5, 10, 20, 40, 60)  # minutes at which the curves are read off


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="the longest job that is wanted")
    parser.add_argument(
        "--lesion", action="append", metavar="'NAME: KEY=VALUE …'", help="a named point of Lesion's, instead of recipes"
    )
    parser.add_argument("--curves", nargs="*", choices=CURVES, default=list(CURVES), metavar="CURVE", help="of peers")
    parser.add_argument("--num-pictures", type=int, help="fewer than all, to try the script")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of the plain loop")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    args = parser.parse_args()
    if args.curves and not args.peers_python.exists():
        raise SystemExit(f"no Python of the peers at {args.peers_python}: make it as benchmarks/README.md says")
    root = BUILD / f"budget_{args.num_pictures or 'all'}"
    table = lay_out_pictures(root, size="small", num_pictures=args.num_pictures)
    load_before = os.getloadavg()[0]
    points = [*lesion_points(root, args), *peer_points(root, args)]
    result = {
        "benchmark": "train_budget",
        **where_and_when(),
        "machine": machine(),
        "load_before": round(load_before, 1),
        "versions": versions(args.peers_python),
        "network": "mobilenetv2_100",
        **describe(table),
        "settings": {"batch_size": args.batch_size, "learning_rate": args.learning_rate},
        "points": points,
        "best_within": best_within(points, args.minutes),
    }
    print(json.dumps(result))


def lesion_points(root: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for text in LESION if args.lesion is None else args.lesion:
        name, _, words = text.partition(":")
        settings = dict(word.split("=", 1) for word in words.split())
        # Side, batch, rate and epochs are the recipe's own where the point does not name them.
        point = run_lesion(root / "job", Terms(root, terms_of(args, 224)).lesion_settings() | {"folds": 5} | settings)
        yield shown({"side": "lesion", "name": name.strip(), "settings": settings, **rounded(point)})


def peer_points(root: Path, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in args.curves:
        peer, image_size = CURVES[name]
        terms = Terms(root, terms_of(args, image_size))
        is_trained = not peer.startswith("frozen")
        points: list[dict[str, float]] = []
        for epochs in EPOCHS if is_trained else (1,):
            if points and expected_minutes(points[-1], epochs) > args.minutes:
                break
            oof = root / "oof_budget.csv"
            command = terms.peer_command(peer, "--folds", "5", "--epochs", str(epochs), "--oof", str(oof))
            points.append({"epochs": epochs, **run_peer(name, command)})
            yield shown({"side": peer, "name": name, **rounded(points[-1])})
            if points[-1]["minutes"] > args.minutes:
                break


def expected_minutes(point: dict[str, float], epochs: int) -> float:
    """A job of more epochs, from one of fewer: all but its start grows with them."""
    start = point["minutes_start"]
    return start + (point["minutes"] - start) * epochs / point["epochs"]


def best_within(points: list[dict[str, Any]], longest: float) -> dict[str, dict[str, Any]]:
    """For each budget the best point of Lesion's and the best of the peers' that had ended by then."""
    best: dict[str, dict[str, Any]] = {}
    for minutes in sorted({budget for budget in BUDGETS if budget < longest} | {longest}):
        sides: dict[str, Callable[[dict[str, Any]], bool]] = {
            "lesion": lambda point: point["side"] == "lesion",
            "peers": lambda point: point["side"] != "lesion",
        }
        ended = {
            side: [point for point in points if is_of(point) and point["minutes"] <= minutes]
            for side, is_of in sides.items()
        }
        best[f"{minutes:g} minutes"] = {
            side: max(of_side, key=lambda point: point["roc_auc"]) if of_side else None
            for side, of_side in ended.items()
        }
    return best


def terms_of(args: argparse.Namespace, image_size: int) -> argparse.Namespace:
    """What `Terms` takes."""
    return argparse.Namespace(
        network="mobilenetv2_100",
        image_size=image_size,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        peers_python=args.peers_python,
    )


def rounded(point: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in point.items()}


def shown(point: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(point), file=sys.stderr, flush=True)
    return point


if __name__ == "__main__":
    main()
