"""LitServe: a worker a core with one thread each, batches of up to 8 within 5 ms; pictures in JSON, as in its guide."""

from __future__ import annotations

import base64
import sys

import litserve
import torch
from fastapi import Response
from serve_model import CORES, load_model, predict, read


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002  as it is called
        torch.set_num_threads(1)
        self.model = load_model()

    def decode_request(self, request: dict) -> object:
        return read(base64.b64decode(request["image"]))

    def batch(self, inputs: list[object]) -> object:
        return inputs

    def predict(self, images: object) -> object:
        return predict(self.model, images)

    def unbatch(self, output: object) -> object:
        return output

    def encode_response(self, output: object) -> Response:
        return Response(f'{{"probability": {output}}}', media_type="application/json")


if __name__ == "__main__":
    api = Api(max_batch_size=8, batch_timeout=0.005, api_path="/invocations")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=CORES, healthcheck_path="/ping")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", generate_client_file=False, log_level="warning")
