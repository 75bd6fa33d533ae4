"""Runs in the SDK 2's own environment: the SDK as its users call it, in local mode, without lesion_jobs.

Leaves model.tar.gz, and in answers.json what endpoint and batch transform said of each picture; the endpoint is of the
image that only serves.

    python sdk2_local.py IMAGE SERVING_IMAGE TRAINING_FOLDER PICTURES_FOLDER OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.serializers import IdentitySerializer


def main(image: str, serving_image: str, training: Path, pictures: Path, output: Path) -> None:
    estimator = Estimator(
        image,
        "arn:aws:iam::000000000000:role/local",
        1,
        "local",
        output_path=f"file://{output}",
        sagemaker_session=LocalSession(),
        hyperparameters=json.loads((output / "hyperparameters.json").read_text()),
    )
    estimator.fit({"training": f"file://{training}"})
    predictor = estimator.deploy(
        1,
        "local",
        image_uri=serving_image,
        serializer=IdentitySerializer("image/jpeg"),
        deserializer=JSONDeserializer(),
        wait=False,
    )
    try:
        endpoint = {path.name: predictor.predict(path.read_bytes()) for path in sorted(pictures.iterdir())}
    finally:
        predictor.delete_endpoint()
    transformer = estimator.transformer(1, "local", strategy="SingleRecord", output_path=f"file://{output / 'batch'}")
    transformer.transform(f"file://{pictures}", content_type="image/jpeg", wait=False)
    batch = {path.stem: json.loads(path.read_bytes()) for path in sorted((output / "batch").iterdir())}
    answers: dict[str, Any] = {"endpoint": endpoint, "batch": batch}
    (output / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(Path, sys.argv[3:]))
