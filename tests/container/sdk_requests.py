"""Runs in the environment of either SDK: what lesion_jobs asks local mode for, up to the container that it would start.

The SDK is real but for that container, which keeps what it is asked and does nothing. No Docker and no account.

Leaves found.json in the folder.

    python sdk_requests.py FOLDER
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lesion_jobs
from lesion.errors import UserError
from lesion_jobs.local.sdk import installed_major

# SDK → where it keeps local mode, and its rule of which machines take a key for their volumes
LOCAL = {"2": "sagemaker.local", "3": "sagemaker.core.local"}
RULES = {"2": "sagemaker.utils", "3": "sagemaker.core.common_utils"}


class Container:
    """What local mode would start with compose: keeps what it is asked for. Volumes are resolved by the SDK."""

    instance_count = 1

    def __init__(self, data: Any) -> None:
        self.data = data  # the SDK's module that finds files
        self.asked: dict[str, Any] = {}

    def __call__(self, *_: Any, container_entrypoint: Any = (), container_arguments: Any = (), **__: Any) -> Any:
        self.container_entrypoint = container_entrypoint
        self.asked["command"] = [*container_entrypoint, *(container_arguments or [])]
        return self

    def process(self, inputs: Any, outputs: Any, *_: Any) -> None:
        self.asked["inputs"] = {item["S3Input"]["LocalPath"]: self.folder_of(item["DataUri"]) for item in inputs}
        self.asked["output"] = outputs["Outputs"][0]["S3Output"]["S3Uri"]

    def train(self, inputs: Any, output: Any, hyperparameters: Any, _environment: Any, name: str) -> str:
        self.asked["inputs"] = {item["ChannelName"]: self.folder_of(item["DataUri"]) for item in inputs}
        self.asked |= {"output": output["S3OutputPath"], "hyperparameters": hyperparameters, "name": name}
        return "model"

    def folder_of(self, uri: str) -> str:
        return str(self.data.get_data_source_instance(uri, None).get_root_dir())


def main(folder: Path) -> None:
    local = LOCAL[installed_major()]
    (folder / "other").mkdir()
    (folder / "model.tar.gz").write_bytes(b"")
    container = Container(importlib.import_module(f"{local}.data"))
    environment = lesion_jobs.Environment("lesion", "local", folder / "jobs")
    found: dict[str, Any] = {}
    with patch(f"{local}.local_session._SageMakerContainer", container):
        run = lesion_jobs.train(
            environment, folder / "other", hyperparameters={"pretrained": False, "folds": 3}, name="trained"
        )
        found["train"], container.asked = container.asked, {}
        found["described"] = [run.describe()["TrainingJobStatus"], run.wait().name]
        options = {"set": {"target_column": "dx"}}
        lesion_jobs.evaluate(environment, folder / "model.tar.gz", folder / "other", options=options, name="here")
        found["evaluate"], container.asked = container.asked, {}
        lesion_jobs.prepare_shards(environment, folder / "other", options={"size": 64}, name="shards")
        found["shards"] = container.asked
    found["keys"] = keys()
    os.environ["PATH"] = ""
    found["no docker"] = refusal(environment, folder)
    (folder / "found.json").write_text(json.dumps(found))


def refusal(environment: lesion_jobs.Environment, folder: Path) -> str:
    try:
        lesion_jobs.train(environment, folder, hyperparameters={"pretrained": False})
    except UserError as error:
        return str(error)
    return "nothing was refused"


def keys() -> dict[str, Any]:
    """Whether we and the SDK agree on which machines take a key for their volumes."""
    families = ["m5", "m5d", "c6i", "g4dn", "g5", "g6", "g6e", "gr6", "p3", "p3dn", "p4d", "p4de", "p5", "p5en", "t3"]
    types = [f"ml.{family}.xlarge" for family in families]
    ours = {
        t: lesion_jobs.Environment("i", t, "s3://bucket", "arn:r", kms_key="k").volume_key is not None for t in types
    }
    rule = importlib.import_module(RULES[installed_major()]).instance_supports_kms
    return {"ours": ours, "sdk": {t: rule(t) for t in types}}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
