"""Requested: a request of each kind, made with all that can be set, as the golden files hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesion_jobs import Environment
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.requests.endpoint import endpoint_config_request, endpoint_request
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.processing import INPUT, processing_request
from lesion_jobs.requests.training import training_request
from lesion_jobs.requests.transform import transform_request
from lesion_jobs.requests.tuning import Ranges, WarmStart, search_config, tuning_request
from lesion_jobs.runs.processing import SHARDS

GOLDEN = Path(__file__).parent / "golden"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lesion:0.1.0"
ROLE = "arn:aws:iam::123456789012:role/lesion"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"
PLAIN = Environment(IMAGE, "ml.m5.xlarge", "s3://bucket/lesion", ROLE)
WHOLE = Environment(
    IMAGE,
    "ml.p3.2xlarge",
    "s3://bucket/lesion",
    ROLE,
    kms_key=KEY,
    tags={"team": "skin"},
    subnets=("subnet-1",),
    security_group_ids=("sg-1",),
)


def training(environment: Environment = WHOLE, **settings: Any) -> dict[str, Any]:
    """A training job on spot machines, unless `settings` say otherwise."""
    hyperparameters = {"model": "resnet18", "pretrained": True, "model_args": {"pad_type": "same"}, "folds": 5}
    channels = {"training": "s3://bucket/data", "pretrained": "s3://bucket/weights"}
    plain: dict[str, Any] = {
        "volume_gb": 100,
        "max_hours": 2,
        "use_spot": True,
        "max_wait_hours": 3,
        "checkpoints": "s3://bucket/lesion/everything/checkpoints",
        "input_mode": "FastFile",
    }
    return training_request(environment, "everything", channels, hyperparameters, **plain | settings)


def tuning(
    ranges: Ranges | None = None, *, hyperparameters: Mapping[str, object] = {"pretrained": False}, **settings: Any
) -> dict[str, Any]:
    """A tuning job after an earlier one, unless `settings` say otherwise."""
    chosen: Ranges = {"learning_rate": None, "model": ["resnet18", "resnet34"], "epochs": (5, 40)}
    job = training_request(
        WHOLE,
        "tuned",
        {"training": "s3://bucket/data"},
        hyperparameters,
        volume_gb=100,
        max_hours=2,
        use_spot=True,
        max_wait_hours=3,
        input_mode="FastFile",
    )
    given: dict[str, Any] = {"max_jobs": 20, "parallel": 4}
    search = search_config(hyperparameters, chosen if ranges is None else ranges, **given | settings)
    return tuning_request("tuned", job, search, warm_start=WarmStart(("earlier",)))


def made() -> dict[str, dict[str, Any]]:
    """Operation → its request, for the calls whose requests the golden files hold."""
    options = command_arguments(SHARDS, {"size": 384, "set": {"group_column": "lesion_id"}}, own=())
    return {
        "CreateTrainingJob": training(),
        "CreateModel": model_request(WHOLE, "everything", "s3://bucket/lesion/everything/output/model.tar.gz"),
        "CreateEndpointConfig": endpoint_config_request(WHOLE, "everything", "everything", num_instances=2),
        "CreateEndpoint": endpoint_request(WHOLE, "everything", "everything"),
        "CreateTransformJob": transform_request(
            WHOLE, "everything", "everything", "s3://bucket/new", "s3://bucket/lesion/everything", num_instances=3
        ),
        "CreateProcessingJob": processing_request(
            WHOLE,
            "everything",
            SHARDS,
            options,
            inputs={"data": ("s3://bucket/raw", INPUT)},
            output=("shards", "s3://bucket/lesion/everything"),
            num_instances=4,
            max_hours=2,
        ),
        "CreateHyperParameterTuningJob": tuning(),
    }


def golden(operation: str) -> Any:
    return json.loads((GOLDEN / f"{operation}.json").read_text())
