"""The demo: train, serve, ask, print the answer and where the artifact lies. Uses only the `lesion` commands.

python local_test/demo.py                  # on pictures that it draws itself
python local_test/demo.py --data DIR       # on DIR/train.csv with pictures in DIR/train_jpg/
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from lesion.words import plural_of

LESION = [sys.executable, "-m", "lesion.cli"]
# A small network from noise, since the demo has no pretrained weights: minutes on two cores.
HYPERPARAMETERS = {
    "model": "resnet10t",
    "pretrained": "false",
    "image_size": "96",
    "folds": "3",
    "epochs": "10",
    "batch_size_train": "32",
    "learning_rate": "1e-3",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with train.csv and train_jpg/ (default: draw one)")
    parser.add_argument(
        "--root", type=Path, default=Path("build/demo"), help="where everything goes (default: %(default)s)"
    )
    args = parser.parse_args()

    channel = lay_out(args.root, args.data)
    subprocess.run([*LESION, "train", "--root", str(args.root)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([*LESION, "serve", "--root", str(args.root), "--port", str(port)])
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/ping", server)
        picture = sorted((channel / "train_jpg").iterdir())[0]
        answer = ask(f"http://127.0.0.1:{port}/invocations", picture)
    finally:
        server.terminate()
        server.wait(30)
    results = args.root / "output" / "data"
    metrics = json.loads((results / "metrics.json").read_text())
    overall = metrics["overall"]
    interval = overall["interval_95"].get("roc_auc")  # none of very few images
    told = "" if interval is None else f" (95 % {interval[0]:.3f} to {interval[1]:.3f})"
    area = overall["metrics"].get("roc_auc")
    area = overall["notes"]["roc_auc"] if area is None else f"ROC AUC {area:.3f}"
    groups = "" if metrics["unit"] == "image" else f" of {overall['num_groups']} {plural_of(metrics['unit'])}"
    print(
        f"\nimage        {picture}\nprediction   {answer}\n"
        f"out of fold  {area}{told}, "
        f"{overall['num_rows']} images{groups}\n"
        f"artifact     {args.root / 'model'}\nresults      {results} (open report.html)"
    )


def lay_out(root: Path, data: Path | None) -> Path:
    """A job under `root`, as SageMaker lays out /opt/ml. Returns the training channel."""
    shutil.rmtree(root, ignore_errors=True)
    channel = root / "input" / "data" / "training"
    config = root / "input" / "config"
    config.mkdir(parents=True)
    channel.parent.mkdir(parents=True)
    settings = HYPERPARAMETERS
    if data is None:
        settings = settings | {"split": "stratified_group_kfold"}  # of your own data the table decides
        subprocess.run([*LESION, "sample-data", str(channel)], check=True)
    else:
        channel.symlink_to(data.resolve(strict=True))
    (config / "hyperparameters.json").write_text(json.dumps(settings))
    return channel


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        if server.poll() is not None:
            sys.exit("the server ended before it was ready")
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.5)
    sys.exit("the server did not become ready")


def ask(url: str, picture: Path) -> str:
    request = urllib.request.Request(url, picture.read_bytes(), {"Content-Type": "application/x-image"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return str(response.read().decode())


if __name__ == "__main__":
    main()
