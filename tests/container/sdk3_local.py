"""Runs in the SDK 3's own environment: its ModelTrainer in local container mode. Leaves compressed_artifacts/.

python sdk3_local.py IMAGE TRAINING_FOLDER OUTPUT_FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode, ModelTrainer


def main(image: str, training: Path, output: Path) -> None:
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


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
