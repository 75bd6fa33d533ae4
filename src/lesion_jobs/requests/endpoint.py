"""Endpoint requests: CreateEndpointConfig and CreateEndpoint."""

from __future__ import annotations

from typing import Any

from lesion_jobs.environment import Environment
from lesion_jobs.hosting import Async, Capture, How, RealTime, Serverless

# NVIDIA driver 550, on which the image's CUDA 12 runs; left unset, hosts were seen with 470, on which it does not.
INFERENCE_AMI = "al2-ami-sagemaker-inference-gpu-3-1"
START_LIMIT_S = 600  # for the model's download, and for the container's first answer to /ping
VARIANT = "AllTraffic"


def endpoint_config_request(
    environment: Environment,
    name: str,
    model_name: str,
    *,
    num_instances: int = 1,
    how: How = RealTime(),
    capture: Capture | None = None,
) -> dict[str, Any]:
    """CreateEndpointConfig's request: one variant, and what is written of its requests."""
    request: dict[str, Any] = {
        "EndpointConfigName": name,
        "ProductionVariants": [_variant(environment, model_name, num_instances=num_instances, how=how)],
    }
    if isinstance(how, Async):
        request["AsyncInferenceConfig"] = _async_config(environment, name, how)
    if capture is not None:
        request["DataCaptureConfig"] = capture_config(environment, capture)
    if environment.volume_key and not isinstance(how, Serverless):
        request["KmsKeyId"] = environment.volume_key
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request


def endpoint_request(environment: Environment, name: str, config_name: str) -> dict[str, Any]:
    """CreateEndpoint's request."""
    request: dict[str, Any] = {"EndpointName": name, "EndpointConfigName": config_name}
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request


def capture_config(environment: Environment, capture: Capture) -> dict[str, Any]:
    """DataCaptureConfig: both directions, JSON as text and pictures in base64."""
    config: dict[str, Any] = {
        "EnableCapture": True,
        "InitialSamplingPercentage": capture.percent,
        "DestinationS3Uri": capture_uri(environment, capture),
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }
    if environment.kms_key:
        config["KmsKeyId"] = environment.kms_key
    return config


def capture_uri(environment: Environment, capture: Capture) -> str:
    """Below which prefix SageMaker writes ENDPOINT/VARIANT/yyyy/mm/dd/hh/*.jsonl."""
    return capture.output or f"{environment.bucket_uri}/captured"


def _variant(environment: Environment, model_name: str, *, num_instances: int, how: How) -> dict[str, Any]:
    variant: dict[str, Any] = {"VariantName": VARIANT, "ModelName": model_name, "InitialVariantWeight": 1.0}
    if isinstance(how, Serverless):
        limits = {"MemorySizeInMB": 1024 * how.memory_gb, "MaxConcurrency": how.max_concurrency}
        return variant | {"ServerlessConfig": limits}
    variant |= {
        "InstanceType": environment.instance_type,
        "InitialInstanceCount": num_instances,
        "ModelDataDownloadTimeoutInSeconds": START_LIMIT_S,
        "ContainerStartupHealthCheckTimeoutInSeconds": START_LIMIT_S,
    }
    return variant | ({"InferenceAmiVersion": INFERENCE_AMI} if environment.has_gpu else {})


def _async_config(environment: Environment, name: str, how: Async) -> dict[str, Any]:
    folder = f"{environment.bucket_uri}/answers/{name}"  # where the role of the template may write
    output = {"S3OutputPath": folder, "S3FailurePath": f"{folder}/failures"}
    if environment.kms_key:
        output["KmsKeyId"] = environment.kms_key
    return {
        "OutputConfig": output,
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": how.max_concurrent},
    }
