"""The training engine: where its time goes, and how fast it is beside what a user would take instead.

    python benchmarks/train.py --network resnet18 --pictures large            # images/s of parts, ours and the peers'
    python benchmarks/train.py --headline --num-pictures 320 --epochs 2       # wall time and AUC of whole jobs

Each is one interleaved run: in every round each side has its turn, the first turn going around; medians, the smallest
and the largest. The peers are scripts of their own (peers/), with the Python of --peers-python (README.md says how to
make it). Needs the real data beside the project (shared/data). Prints one JSON line; dated copies lie in results/.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dermoscopy import describe, lay_out_pictures
from ham10000 import PROJECT, WEIGHTS, where_and_when
from peers.job import NUM_AHEAD, NUM_WARM

HERE = Path(__file__).parent
BUILD = PROJECT / "build" / "train_bench"
PEERS_PYTHON = PROJECT / "build" / "peers-venv" / "bin" / "python"

# MobileNetV2 is the one network whose ImageNet weights lie in shared/data; the others start from noise.
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet18": {},
    "mobilenetv2_100": {"weights": WEIGHTS, "model_args": {"pad_type": "same"}, "mean": [0.5] * 3, "std": [0.5] * 3},
    "efficientnet_b2": {},
    "resnet50": {},
}
PEERS: dict[str, list[str]] = {
    "timm": ["plain_timm.py"],
    "timm_bf16": ["plain_timm.py", "--bf16"],  # with all that its user could know of the machine
    "fastai": ["fastai_learner.py"],
    "notebook": ["notebook.py"],
}
# Waiting threads that spin for long take the cores from those that work, most of all on a shared machine. Lesion sets
# this itself; the peers' users seldom do, and are given it all the same.
EVERYONES = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "5000", "NO_ALBUMENTATIONS_UPDATE": "1"}


def main() -> None:
    args = parse_arguments()
    if not args.peers_python.exists() and set(args.sides) != {"lesion"}:
        raise SystemExit(f"no Python of the peers at {args.peers_python}: make it as benchmarks/README.md says")
    longest = (NUM_WARM + args.num_timed + NUM_AHEAD) * args.batch_size
    if not args.headline and args.num_pictures < longest:
        raise SystemExit(
            f"{args.num_pictures} pictures are an epoch shorter than a measurement: take {longest} or more"
        )
    root = BUILD / f"{args.pictures}_{args.num_pictures}"
    table = lay_out_pictures(root, size=args.pictures, num_pictures=args.num_pictures)
    terms = Terms(root, args)
    load_before = os.getloadavg()[0]
    results = (headline if args.headline else breakdown)(terms, args)
    result = {
        "benchmark": "train_headline" if args.headline else "train_breakdown",
        **where_and_when(),
        "machine": machine(),
        "load_before": round(load_before, 1),
        "versions": versions(args.peers_python),
        "network": args.network,
        "pictures": args.pictures,
        **describe(table),
        "settings": terms.plain() | ({"epochs": args.epochs} if args.headline else {"timed_steps": args.num_timed}),
        "lesion_settings": dict(args.set),
        "rounds": args.rounds,
        **results,
    }
    print(json.dumps(result))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--headline", action="store_true", help="whole jobs, not their parts")
    parser.add_argument("--network", choices=NETWORKS, default="resnet18")
    parser.add_argument(
        "--pictures", choices=["small", "large"], default="small", help="224 px, or 1024×768 made of it"
    )
    parser.add_argument("--num-pictures", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", nargs="+", choices=["lesion", *PEERS], default=["lesion", *PEERS])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)  # at 64 five sides do not fit into 24 GiB
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=int, default=2, help="of a whole job")
    parser.add_argument("--num-timed", type=int, default=8, help="training steps of a measurement of parts")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    parser.add_argument(
        "--set", action="append", default=[], type=pair, metavar="NAME=VALUE", help="a hyperparameter of Lesion's"
    )
    return parser.parse_args()


def pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


class Terms:
    """What all sides are told, in the words of each."""

    def __init__(self, root: Path, args: argparse.Namespace) -> None:
        self.root, self.args = root, args
        self.network = NETWORKS[args.network]

    def plain(self) -> dict[str, Any]:
        args = self.args
        weights = self.network.get("weights")
        return {
            "image_size": args.image_size,
            "batch_size": args.batch_size,
            "learning_rate": args.learning_rate,
            "weights": None if weights is None else weights.name,
        }

    def peer_command(self, peer: str, *more: str) -> list[str]:
        args, network = self.args, self.network
        script, *flags = PEERS[peer]
        command = [str(args.peers_python), str(HERE / "peers" / script), "--csv", str(self.root / "table.csv"), *flags]
        command += ["--model", args.network, "--model-args", json.dumps(network.get("model_args", {}))]
        if "weights" in network:
            command += ["--weights", str(network["weights"])]
            command += ["--mean", *map(str, network["mean"]), "--std", *map(str, network["std"])]
        command += ["--image-size", str(args.image_size), "--batch-size", str(args.batch_size)]
        return [*command, "--learning-rate", str(args.learning_rate), *more]

    def lesion_settings(self) -> dict[str, Any]:
        """Lesion's hyperparameters for the same data and network; all others are Lesion's own, or set by hand."""
        network = self.network
        return {
            "model": self.args.network,
            "model_args": network.get("model_args", {}),
            "pretrained": str(network["weights"]) if "weights" in network else False,
            "metadata_columns": [],  # pictures only, as the peers
            "split": "fold",  # the column: the peers' folds
            "on_leak": "warn",
            **({"image_mean": network["mean"], "image_std": network["std"]} if "mean" in network else {}),
        }

    def equal_settings(self) -> dict[str, Any]:
        """And for the same work a step."""
        args = self.args
        return self.lesion_settings() | {
            "image_size": args.image_size,
            "batch_size_train": args.batch_size,
            "learning_rate": args.learning_rate,
        }


def lay_out_job(root: Path, settings: dict[str, Any]) -> Path:
    """A fresh job at `root`, as `lesion train` takes it, on the channel beside it."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "input" / "data").mkdir(parents=True)
    (root / "input" / "data" / "training").symlink_to(root.parent / "channel")
    path = root / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()})
    )
    return root


def breakdown(terms: Terms, args: argparse.Namespace) -> dict[str, Any]:
    """Images/s of each side's parts, and the ratios, each of two numbers of one round."""
    sides: dict[str, Side] = {}
    for name in args.sides:
        if name == "lesion":
            root = lay_out_job(terms.root / "parts", terms.equal_settings() | dict(args.set))
            command = [sys.executable, str(HERE / "lesion_parts.py"), str(root), "--num-timed", str(args.num_timed)]
            sides[name] = Side(name, command, lesion_environment(root))
        else:
            command = terms.peer_command(name, "--num-timed", str(args.num_timed), "--rounds")
            sides[name] = Side(name, command, everyones_environment())
    try:
        for side in sides.values():
            side.read()  # until it is ready: one starts after the other
        rounds = interleaved(args.rounds, {name: side.measure for name, side in sides.items()})
    finally:
        for side in sides.values():
            side.end()
    result: dict[str, Any] = {"images_per_s": {name: spreads(measured) for name, measured in rounds.items()}}
    if "lesion" in rounds:
        ours = rounds["lesion"]
        result["real_to_compute"] = spread([one["real"] / one["compute"] for one in ours])
        result["pipeline_to_compute"] = spread([one["pipeline"] / one["compute"] for one in ours])
        result["lesion_to_peer"] = {
            part: ratios_to_peers(rounds, lambda mine, theirs, part=part: mine[part] / theirs[part])
            for part in ("pipeline", "real")
        }
    return result


def headline(terms: Terms, args: argparse.Namespace) -> dict[str, Any]:
    """Wall time and out-of-fold AUC of whole jobs, each a process from its start to its end."""
    settings = terms.equal_settings() | {"folds": 5, "epochs": args.epochs} | dict(args.set)
    runs: dict[str, Callable[[], dict[str, float]]] = {}
    for name in args.sides:
        if name == "lesion":
            runs[name] = partial(run_lesion, terms.root / "job", settings)
        else:
            oof = terms.root / f"oof_{name}.csv"
            command = terms.peer_command(name, "--folds", "5", "--epochs", str(args.epochs), "--oof", str(oof))
            runs[name] = partial(run_peer, name, command)
    rounds = interleaved(args.rounds, runs)
    result: dict[str, Any] = {"sides": {name: spreads(measured) for name, measured in rounds.items()}}
    if "lesion" in rounds:
        result["peer_minutes_to_lesion"] = ratios_to_peers(
            rounds, lambda mine, theirs: theirs["minutes"] / mine["minutes"]
        )
    return result


def run_lesion(root: Path, settings: dict[str, Any]) -> dict[str, float]:
    """`lesion train` as a user starts it, with nothing left of an earlier job."""
    lay_out_job(root, settings)
    command = [sys.executable, "-m", "lesion.cli", "train", "--root", str(root), "--no-progress"]
    started = time.monotonic()
    with (root / "log.txt").open("w") as log:
        status = subprocess.run(command, stdout=log, stderr=log, env=everyones_environment(), check=False).returncode
    minutes = (time.monotonic() - started) / 60
    if status:
        raise SystemExit(f"lesion train ended with {status}:\n{(root / 'log.txt').read_text()[-2000:]}")
    metrics = json.loads((root / "output" / "data" / "metrics.json").read_text())["overall"]["metrics"]
    return {"minutes": minutes, "roc_auc": metrics["roc_auc"]}


def run_peer(name: str, command: list[str]) -> dict[str, float]:
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=everyones_environment(), check=False)
    minutes = (time.monotonic() - started) / 60
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout)
    parts = {f"minutes_{phase}": value for phase, value in answer["minutes_of"].items()}
    return {"minutes": minutes, "roc_auc": answer["roc_auc"], **parts}


@dataclass
class Side:
    """A process that measures when it is told to. Between its turns it sleeps."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        BUILD.mkdir(parents=True, exist_ok=True)
        self.log = BUILD / f"{self.name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )

    def measure(self) -> dict[str, float]:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has died, and `read` says how
            self.process.stdin.write("measure\n")
            self.process.stdin.flush()
        return self.read()

    def read(self) -> Any:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"{self.name} ended with {self.process.wait()}:\n{self.log.read_text()[-2000:]}")

    def end(self) -> None:
        """Its input ends, and so does it."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()


Rounds = dict[str, list[dict[str, float]]]


def interleaved(num_rounds: int, runs: dict[str, Callable[[], dict[str, float]]]) -> Rounds:
    rounds: Rounds = {name: [] for name in runs}
    names = list(runs)
    for number in range(num_rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            rounds[name].append(runs[name]())
            shown = {key: round(value, 3) for key, value in rounds[name][-1].items()}
            print(f"round={number} side={name} {shown}", file=sys.stderr, flush=True)
    return rounds


def ratios_to_peers(rounds: Rounds, ratio: Callable[..., float]) -> dict[str, list[float]]:
    """Lesion beside each peer and beside whichever peer did best in a round; over 1 Lesion is faster."""
    ours = rounds["lesion"]
    peers = {name: measured for name, measured in rounds.items() if name != "lesion"}
    each = {name: [ratio(*both) for both in zip(ours, theirs, strict=True)] for name, theirs in peers.items()}
    return {name: spread(ratios) for name, ratios in each.items()} | (
        {"fastest": spread([min(ratios) for ratios in zip(*each.values(), strict=True)])} if each else {}
    )


def spreads(measured: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: spread([one[name] for one in measured]) for name in measured[0]}


def spread(values: list[float]) -> list[float]:
    """Median, smallest and largest."""
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def everyones_environment() -> dict[str, str]:
    return {**os.environ, **EVERYONES}


def lesion_environment(root: Path) -> dict[str, str]:
    """What `lesion train` gives its training process."""
    from lesion import sagemaker

    return sagemaker.training_environment(root) | EVERYONES


def machine() -> str:
    """The processor and its cores, and the GPU if there is one."""
    import platform

    import torch

    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    flags = " ".join(flag for flag in ("avx512_bf16", "amx_bf16") if flag in Path("/proc/cpuinfo").read_text())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{len(os.sched_getaffinity(0))} cores, {cpu} {flags}, {gpu}"


def versions(python: Path, *more: str) -> dict[str, str]:
    """Of what the peers run on, where they are there."""
    names = ["torch", "torchvision", "timm", "fastai", "albumentations", "opencv-python-headless", "pillow", *more]
    program = (
        "import importlib.metadata as m, json\n"
        f"there = {{d.metadata['Name']: d.version for d in m.distributions()}}\n"
        f"print(json.dumps({{n: there[n] for n in {names} if n in there}}))"
    )
    done = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {}


if __name__ == "__main__":
    main()
