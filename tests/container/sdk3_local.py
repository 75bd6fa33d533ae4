"""Runs in the SDK 3's own environment: its ModelTrainer in local container mode, without lesion_jobs; then an endpoint
and a batch transform of that model by lesion_jobs, whose local mode it drives too.

Leaves compressed_artifacts/, and in answers.json the probability of each picture.

    python sdk3_local.py IMAGE TRAINING_FOLDER PICTURES_FOLDER OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode, ModelTrainer

import lesion_jobs


def main(image: str, training: Path, pictures: Path, output: Path) -> None:
    trainer = ModelTrainer(
        training_image=image,
        training_mode=Mode.LOCAL_CONTAINER,
        compute=Compute(instance_type="local_cpu", instance_count=1),
        input_data_config=[InputData(channel_name="training", data_source=str(training))],
        hyperparameters=json.loads((output / "hyperparameters.json").read_text()),
        local_container_root=str(output),
        role="arn:aws:iam::000000000000:role/local",
        sagemaker_session=Session(),
    )
    trainer.train()
    environment = lesion_jobs.Environment(image, "local", output / "jobs")
    model = str(output / "compressed_artifacts" / "model.tar.gz")
    endpoint = lesion_jobs.deploy(environment, model)
    try:
        asked = {path.name: lesion_jobs.predict(endpoint, path).probability for path in sorted(pictures.iterdir())}
    finally:
        lesion_jobs.delete_endpoint(endpoint)
    batch = lesion_jobs.fetch_predictions(lesion_jobs.transform(environment, model, pictures))
    answers = {"endpoint": asked, "batch": {name: prediction.probability for name, prediction in batch.items()}}
    (output / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
