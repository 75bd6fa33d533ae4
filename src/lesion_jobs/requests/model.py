"""Model request: CreateModel, artifact and image under a name, not yet on any machine."""

from __future__ import annotations

from typing import Any

from lesion_jobs.environment import Environment


def model_request(environment: Environment, name: str, model_uri: str) -> dict[str, Any]:
    """CreateModel's request for the model.tar.gz at `model_uri`, or for a version in the registry by its ARN."""
    container: dict[str, Any] = {"ModelPackageName": model_uri}
    if not model_uri.startswith("arn:"):
        container = {"Image": environment.image, "ModelDataUrl": model_uri, "Environment": {}}
    request: dict[str, Any] = {
        "ModelName": name,
        "ExecutionRoleArn": environment.arn,
        "PrimaryContainer": container,
        "EnableNetworkIsolation": environment.isolated,
    }
    if environment.vpc:
        request["VpcConfig"] = environment.vpc
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request
