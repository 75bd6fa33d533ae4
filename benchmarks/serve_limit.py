"""The limit of serving on this machine: what a picture costs at least, in CPU time, with nothing around it.

Started by serve.py, which tells the network as it tells the peers. Decoding by Lesion and by OpenCV, the forward pass
by torch and by OpenVINO, in each precision that the CPU has and in batches; the cheapest of each is the limit. In CPU
time, so that another process beside it disturbs little, and with all cores busy: two that are threads of one physical
core each compute less than one alone does. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino
import torch
from peers.serve_model import CORES, MEAN, SIDE_PX, STD, load_model

from lesion.algorithms.classify.manifest import read
from lesion.artifact import load_manifest
from lesion.data.decode import images

# N batch · H, W pixels

BATCHES = (1, 2, 4, 8, 16)
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artifact", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    cv2.setNumThreads(0)
    files = [path.read_bytes() for path in sorted(args.pictures.glob("*.jpg"))]
    decode = {
        f"decode {name}": cost_on_all_cores(lambda read=read: [read(file) for file in files[:16]], 16, args.seconds)
        for name, read in decoders(args.artifact).items()
    }
    squares = [by_opencv(file, cv2.IMREAD_COLOR) for file in files]
    forward = {
        f"{name} batch {batch}": cost(*make(np.stack(squares[:batch])), args.seconds)
        for name, make in backends(args.artifact).items()
        for batch in BATCHES
    }
    best_decode, best_forward = (min(parts, key=lambda name: parts[name]["cpu_ms"]) for parts in (decode, forward))
    alone_ms = min(part["wall_ms"] for part in decode.values()) + min(
        part["wall_ms"] for name, part in forward.items() if name.endswith(" batch 1") and "streams" not in name
    )
    result = {
        "limit_rps": 1000 * CORES / (decode[best_decode]["cpu_ms"] + forward[best_forward]["cpu_ms"]),
        "alone_ms": alone_ms,  # wall time of one picture that has all cores
        "best_decode": best_decode,
        "best_forward": best_forward,
        "cpu_ms": {name: part["cpu_ms"] for name, part in (decode | forward).items()},
    }
    print(json.dumps(result))


def cost(work: Work, num_pictures: int, seconds: float) -> dict[str, float]:
    """CPU and wall milliseconds a picture of `work`, which does that many."""
    work()
    times, cpu_s, wall_s = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - wall_s < seconds:
        work()
        times += 1
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return {"cpu_ms": 1000 * cpu_s / times / num_pictures, "wall_ms": 1000 * wall_s / times / num_pictures}


def cost_on_all_cores(work: Work, num_pictures: int, seconds: float) -> dict[str, float]:
    """The same by a thread for each core side by side; the wall milliseconds are those of one thread alone."""
    alone = cost(work, num_pictures, seconds)
    if CORES == 1:
        return alone
    ends = time.perf_counter() + seconds

    def repeat() -> int:
        times = 0
        while time.perf_counter() < ends:
            work()
            times += 1
        return times

    cpu_s = time.process_time()
    with ThreadPoolExecutor(CORES) as pool:
        times = sum(pool.map(lambda _: repeat(), range(CORES)))
    return alone | {"cpu_ms": 1000 * (time.process_time() - cpu_s) / times / num_pictures}


def decoders(artifact: Path) -> dict[str, Callable[[bytes], object]]:
    """Name to what makes of a file the network's square."""
    preprocessing = read(artifact, load_manifest(artifact)).preprocessing
    return {
        "lesion": lambda file: preprocessing(images.decode(file)),
        "opencv": lambda file: by_opencv(file, cv2.IMREAD_COLOR),
        "opencv reduced": lambda file: by_opencv(file, cv2.IMREAD_REDUCED_COLOR_2),  # libjpeg's half size
    }


def by_opencv(file: bytes, mode: int) -> Any:
    """uint8 RGB of the network's size, from the picture's middle. A half size that is too small for it is not taken."""
    image_HWC = cv2.imdecode(np.frombuffer(file, np.uint8), mode)
    if min(image_HWC.shape[:2]) < SIDE_PX and mode != cv2.IMREAD_COLOR:
        return by_opencv(file, cv2.IMREAD_COLOR)
    height, width = image_HWC.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle_HWC = image_HWC[top : top + side, left : left + side]
    return cv2.cvtColor(cv2.resize(middle_HWC, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def backends(artifact: Path) -> dict[str, Callable[[Any], tuple[Work, int]]]:
    """Name to what makes, for a batch of uint8 pixels [N, H, W, 3], the forward pass and how many pictures it takes."""
    has_bf16 = {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split())
    model = load_model()
    # As the artifact's graph does it: pixels in, the division by deviation inside.
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))

    def by_torch(layout: torch.memory_format, *, bf16: bool = False) -> Callable[[Any], tuple[Work, int]]:
        def make(pixels_NHWC: Any) -> tuple[Work, int]:
            laid_out = model.to(memory_format=layout)

            @torch.inference_mode()
            def work() -> object:
                images_NCHW = ((torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2) - mean) / std).contiguous(
                    memory_format=layout
                )
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    return laid_out(images_NCHW)

            return work, len(pixels_NHWC)

        return make

    def by_openvino(precision: str, num_streams: int) -> Callable[[Any], tuple[Work, int]]:
        def make(pixels_NHWC: Any) -> tuple[Work, int]:
            core = openvino.Core()
            graph = core.read_model(artifact / "graph.xml")
            [result] = [result for result in graph.get_results() if result.get_friendly_name() == "fold_0"]
            [image] = [part for part in graph.get_parameters() if part.get_friendly_name() == "image"]
            graph = openvino.Model([result], [image])
            graph.reshape({"image": list(pixels_NHWC.shape)})
            hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": CORES, "NUM_STREAMS": num_streams}
            compiled = core.compile_model(graph, "CPU", hints)
            if num_streams == 1:
                request = compiled.create_infer_request()
                return lambda: request.infer({"image": pixels_NHWC}, share_inputs=True), len(pixels_NHWC)
            requests = openvino.AsyncInferQueue(compiled, num_streams)
            num_batches = 4 * num_streams

            def work() -> None:
                for _ in range(num_batches):
                    requests.start_async({"image": pixels_NHWC}, share_inputs=True)
                requests.wait_all()

            return work, num_batches * len(pixels_NHWC)

        return make

    found = {
        "torch fp32": by_torch(torch.contiguous_format),
        "torch fp32 channels_last": by_torch(torch.channels_last),
        "openvino fp32": by_openvino("f32", 1),
        "openvino fp32 streams": by_openvino("f32", CORES),
    }
    if has_bf16:
        found |= {
            "torch bf16 channels_last": by_torch(torch.channels_last, bf16=True),
            "openvino bf16": by_openvino("bf16", 1),
            "openvino bf16 streams": by_openvino("bf16", CORES),
        }
    return found


if __name__ == "__main__":
    main()
