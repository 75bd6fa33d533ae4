"""BentoML: a worker a core with one thread each. Its batching needs arrays of one shape, and on a CPU buys nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import bentoml
import torch
from bentoml.validators import ContentType
from serve_model import CORES, load_model, predict, read


@bentoml.service(workers=CORES, traffic={"timeout": 60, "max_concurrency": 128})
class Classifier:
    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.model = load_model()

    @bentoml.api(route="/invocations")
    def invocations(self, picture: Annotated[Path, ContentType("image/jpeg")], /) -> dict:
        return {"probability": predict(self.model, [read(picture.read_bytes())])[0]}


if __name__ == "__main__":
    bentoml.serve("serve_bentoml:Classifier", host="127.0.0.1", port=int(sys.argv[1]), blocking=True)
