"""BentoML: a worker a core with one thread each, its adaptive batching up to 8; pictures as a form's files."""

from __future__ import annotations

import sys

import bentoml
import torch
from PIL.Image import Image
from serve_model import CORES, load_model, predict, to_tensor


@bentoml.service(workers=CORES, traffic={"timeout": 120})
class Classifier:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = load_model()

    @bentoml.api(route="/invocations", batchable=True, max_batch_size=8)
    def invocations(self, pictures: list[Image]) -> list[float]:
        return predict(self.model, [to_tensor(picture.convert("RGB")) for picture in pictures])


if __name__ == "__main__":
    bentoml.serve("serve_bentoml:Classifier", host="127.0.0.1", port=int(sys.argv[1]), blocking=True)
