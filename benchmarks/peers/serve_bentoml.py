"""BentoML: a worker a core with one thread each; pictures as a form's files. With its adaptive batching or without."""

from __future__ import annotations

import sys

import bentoml
import torch
from PIL.Image import Image
from serve_model import BATCH, CORES, load_model, predict, to_tensor


@bentoml.service(workers=CORES, traffic={"timeout": 120})
class Classifier:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = load_model()

    @bentoml.api(route="/invocations", batchable=BATCH > 1, max_batch_size=max(BATCH, 2))
    def invocations(self, pictures: list[Image]) -> list[float]:
        return predict(self.model, [to_tensor(picture.convert("RGB")) for picture in pictures])


if __name__ == "__main__":
    bentoml.serve("serve_bentoml:Classifier", host="127.0.0.1", port=int(sys.argv[1]), blocking=True)
