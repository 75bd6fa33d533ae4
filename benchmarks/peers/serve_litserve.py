"""LitServe: a worker a core with one thread each; pictures in base64, as in its guide to fast servers.

With batches or without. With them its idle workers ask the queue in a loop: 0.4 cores at a wait of 5 ms, 1.0 at none.
"""

from __future__ import annotations

import base64
import sys

import litserve
import torch
from serve_model import BATCH, CORES, load_model, predict, read
from torch import Tensor


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002  as it is called
        torch.set_num_threads(1)
        self.model = load_model()

    def decode_request(self, request: dict[str, str]) -> Tensor:
        return read(base64.b64decode(request["image"]))

    def batch(self, inputs: list[Tensor]) -> list[Tensor]:
        return inputs

    def predict(self, images: Tensor | list[Tensor]) -> list[float]:
        return predict(self.model, images if isinstance(images, list) else [images])

    def unbatch(self, output: list[float]) -> list[list[float]]:
        return [[probability] for probability in output]

    def encode_response(self, output: list[float]) -> dict[str, float]:
        return {"probability": output[0]}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=0.005 if BATCH > 1 else 0.0, api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=CORES, healthcheck_path="/ping", timeout=120)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
