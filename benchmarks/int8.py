"""int8 on a CPU that has instructions for it, beside bf16 and fp32: time of a pass, and what it changes in predictions.

    python benchmarks/int8.py JOB --quantise-python build/nncf/bin/python

JOB is the folder of a finished job whose artifact has a graph. Each fold's network is quantised with activations that
were calibrated on pictures it was trained on, and judged on the rows that it was not. Passes are timed on one core, one
picture at a time as the server computes them, the precisions by turns. Prints one JSON line.
"""

# H, W pixels · K outputs · N rows

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pandas as pd
from ham10000 import PROJECT, where_and_when
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from lesion.algorithms.classify.manifest import read
from lesion.artifact import load_manifest
from lesion.data.decode import images

NUM_CALIBRATION = 100  # pictures of a fold's training rows
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32", "int8 in bf16": "bf16"}  # int8: what its other layers take


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("job", type=Path)
    parser.add_argument("--pictures", type=Path, help="the folder of its pictures (default: that of its channel)")
    parser.add_argument("--quantise-python", type=Path, default=PROJECT / "build" / "nncf" / "bin" / "python")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    artifact = args.job / "model"
    pictures = args.pictures or args.job / "input" / "data" / "training" / "train_jpg"
    table = pd.read_csv(args.job / "output" / "data" / "oof.csv")
    preprocessing = read(artifact, load_manifest(artifact)).preprocessing
    squares_NHWC = np.stack(
        [preprocessing(images.decode((pictures / f"{name}.jpg").read_bytes())) for name in table["image_name"]]
    )
    probs = {name: np.zeros(len(table)) for name in PRECISIONS}
    times: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for fold in sorted(table["fold"].unique()):
        with tempfile.TemporaryDirectory() as folder:
            is_held_out = (table["fold"] == fold).to_numpy()
            compiled = of_fold(artifact, int(fold), squares_NHWC[~is_held_out][:NUM_CALIBRATION], Path(folder), args)
            for name, network in compiled.items():
                probs[name][is_held_out] = predicted(network, squares_NHWC[is_held_out])
            if fold == 0:
                times = timed(compiled, squares_NHWC[:4], args.rounds)
    truth = table["target"].to_numpy()
    result = {
        name: {
            "ms": round(statistics.median(times[name]), 3),
            "to_bf16": round(statistics.median(b / t for b, t in zip(times["bf16"], times[name], strict=True)), 3),
            "auc": round(float(roc_auc_score(truth, probs[name])), 5),
            "auc_minus_fp32": round(float(roc_auc_score(truth, probs[name]) - roc_auc_score(truth, probs["fp32"])), 5),
            "largest_change": round(float(np.abs(probs[name] - probs["fp32"]).max()), 4),
        }
        for name in PRECISIONS
    }
    print(
        json.dumps({"benchmark": "int8", **where_and_when(), "load": os.getloadavg()[0], "rows": len(table), **result})
    )


def of_fold(
    artifact: Path, fold: int, calibration_NHWC: NDArray[np.uint8], folder: Path, args: argparse.Namespace
) -> dict[str, Any]:
    """The fold's network, compiled for one core in each precision."""
    core = openvino.Core()
    graph = core.read_model(artifact / "graph.xml")
    [result] = [result for result in graph.get_results() if result.get_friendly_name() == f"fold_{fold}"]
    wanted = {"image", f"metadata_{fold}"}
    inputs = [part for part in graph.get_parameters() if part.get_friendly_name() in wanted]
    openvino.save_model(openvino.Model([result], inputs), folder / "fold.xml", compress_to_fp16=False)
    np.save(folder / "pixels.npy", calibration_NHWC)
    command = [args.quantise_python, Path(__file__).parent / "peers" / "quantise.py"]
    files = [folder / "fold.xml", folder / "pixels.npy", folder / "int8.xml"]
    subprocess.run([*map(str, command), *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    return {
        name: core.compile_model(
            folder / ("int8.xml" if "int8" in name else "fold.xml"),
            "CPU",
            {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": 1},
        )
        for name, hint in PRECISIONS.items()
    }


def predicted(network: Any, squares_NHWC: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probabilities [N] of a binary network, without metadata."""
    request, others = network.create_infer_request(), no_metadata(network)
    logits = [float(request.infer(others | {"image": square[None]})[0].ravel()[0]) for square in squares_NHWC]
    return np.asarray(expit(logits))


def no_metadata(network: Any) -> dict[str, NDArray[np.float32]]:
    """Zeros for its inputs of metadata. A port has several names, so those of the image must not be among them."""
    ports = {name: port for port in network.inputs for name in port.names if name.startswith("metadata_")}
    return {name: np.zeros(list(port.shape), np.float32) for name, port in ports.items()}


def timed(networks: dict[str, Any], squares_NHWC: NDArray[np.uint8], num_rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a pass, in each round each network once over the pictures."""
    requests = {name: network.create_infer_request() for name, network in networks.items()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    for one_round in range(num_rounds + 3):
        for name, request in requests.items():
            others = {
                key: np.zeros(list(port.shape), np.float32) for port in networks[name].inputs for key in port.names
            }
            started = time.process_time()
            for square in squares_NHWC:
                request.infer(others | {"image": square[None]})
            if one_round >= 3:
                times[name].append(1000 * (time.process_time() - started) / len(squares_NHWC))
    return times


if __name__ == "__main__":
    main()
