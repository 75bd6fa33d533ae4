"""The limit of serving on this machine: what a picture costs at least, in CPU time, with nothing around it.

    python benchmarks/serve_limit.py --artifact DIR --pictures DIR     # one JSON line

Decoding by Lesion's decoder and by OpenCV's, the forward pass by torch and by OpenVINO in several precisions and
batches; the cheapest of each is the limit. CPU time, so that another process beside it disturbs little.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import cv2
import numpy as np
import openvino
import torch

from lesion.algorithms.classify.graph import has_bf16
from lesion.algorithms.classify.load import load_torch
from lesion.artifact import load_manifest
from lesion.data import images

BATCHES = (1, 2, 4, 8, 16)
SECONDS = 2.0  # of each measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    cv2.setNumThreads(0)
    manifest = load_manifest(args.artifact)
    files = [path.read_bytes() for path in sorted(args.pictures.glob("*.jpg"))]
    squares = [manifest.preprocessing(images.decode(file)) for file in files]
    side_px = manifest.preprocessing.image_size
    decode = {
        "lesion": cost(lambda n: [manifest.preprocessing(images.decode(files[i % len(files)])) for i in range(n)], 16),
        "opencv": cost(lambda n: [by_opencv(files[i % len(files)], side_px) for i in range(n)], 16),
    }
    forward: dict[str, dict[str, float]] = {}
    for name, make in backends(args.artifact).items():
        for batch in BATCHES:
            run, pixels = make(batch), np.stack([squares[i % len(squares)] for i in range(batch)])
            forward[f"{name} batch {batch}"] = cost(lambda _, run=run, pixels=pixels: run(pixels), batch)
    best_decode = min(decode, key=lambda name: decode[name]["cpu_ms"])
    best_forward = min(forward, key=lambda name: forward[name]["cpu_ms"])
    cpu_ms = decode[best_decode]["cpu_ms"] + forward[best_forward]["cpu_ms"]
    alone = [value["wall_ms"] for name, value in forward.items() if name.endswith("batch 1")]
    result = {
        "cores": cores,
        "decode": decode,
        "forward": forward,
        "best": [best_decode, best_forward],
        "limit_rps": 1000 * cores / cpu_ms,
        "alone_ms": min(part["wall_ms"] for part in decode.values()) + min(alone),  # one picture, all cores
    }
    print(json.dumps(result))


def cost(work: Callable[[int], object], num_pictures: int) -> dict[str, float]:
    """CPU and wall milliseconds a picture of `work`, which does that many."""
    work(num_pictures)
    times, started = 0, (time.process_time(), time.perf_counter())
    while time.perf_counter() - started[1] < SECONDS:
        work(num_pictures)
        times += 1
    cpu, wall = time.process_time() - started[0], time.perf_counter() - started[1]
    pictures = times * num_pictures
    return {"cpu_ms": round(1000 * cpu / pictures, 3), "wall_ms": round(1000 * wall / pictures, 3)}


def by_opencv(content: bytes, side_px: int) -> Any:
    image_HWC = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return cv2.resize(image_HWC[top : top + side, left : left + side], (side_px, side_px), interpolation=cv2.INTER_AREA)


def backends(artifact: Path) -> dict[str, Callable[[int], Callable[[Any], object]]]:
    """Name to what makes, for a batch size, the forward pass of fold 0 over uint8 pixels [N, H, W, 3]."""
    manifest = load_manifest(artifact)
    [network] = load_torch(artifact, manifest, manifest.folds[:1], [torch.device("cpu")]).lanes[0]._networks

    def by_torch(precision: str, layout: torch.memory_format) -> Callable[[int], Callable[[Any], object]]:
        def make(batch: int) -> Callable[[Any], object]:
            model = network.to(memory_format=layout)

            @torch.inference_mode()
            def run(pixels: Any) -> object:
                images_NCHW = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(memory_format=layout)
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                    return model(images_NCHW, torch.zeros(batch, 0))

            return run

        return make

    def by_openvino(precision: str) -> Callable[[int], Callable[[Any], object]]:
        def make(batch: int) -> Callable[[Any], object]:
            core = openvino.Core()
            model = core.read_model(artifact / "graph.xml")
            [result] = [result for result in model.get_results() if result.get_friendly_name() == "fold_0"]
            [image] = [part for part in model.get_parameters() if part.get_friendly_name() == "image"]
            model = openvino.Model([result], [image])
            model.reshape({"image": [batch, *model.input("image").shape[1:]]})
            compiled = core.compile_model(
                model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            )
            request = compiled.create_infer_request()
            return lambda pixels: request.infer({"image": pixels}, share_inputs=True)

        return make

    found = {
        "torch fp32": by_torch("fp32", torch.channels_last),
        "openvino fp32": by_openvino("f32"),
    }
    if has_bf16():
        found |= {"torch bf16": by_torch("bf16", torch.channels_last), "openvino bf16": by_openvino("bf16")}
    return found


if __name__ == "__main__":
    main()
