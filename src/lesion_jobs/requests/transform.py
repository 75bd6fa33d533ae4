"""Transform request: CreateTransformJob, one picture a request to the container."""

from __future__ import annotations

from typing import Any

from lesion_jobs.environment import Environment

# NVIDIA driver 535, on which the image's CUDA 12 runs; left unset, hosts were seen with 470, on which it does not.
TRANSFORM_AMI = "al2-ami-sagemaker-batch-gpu-535"
MAX_PICTURE_MB, MAX_CONCURRENT = 25, 4  # SageMaker's limit is 100 for their product


def transform_request(
    environment: Environment, name: str, model_name: str, pictures_uri: str, output_uri: str, *, num_instances: int = 1
) -> dict[str, Any]:
    """CreateTransformJob's request for all pictures below `pictures_uri`, each of which becomes NAME.out."""
    # A prefix without its slash would match its neighbours too: …/new and …/new_rejected.
    source = {"S3DataType": "S3Prefix", "S3Uri": pictures_uri.rstrip("/") + "/"}
    output = {"S3OutputPath": output_uri, "Accept": "application/json"}
    resources: dict[str, Any] = {"InstanceCount": num_instances, "InstanceType": environment.instance_type}
    if environment.kms_key:
        output["KmsKeyId"] = environment.kms_key
    if environment.volume_key:
        resources["VolumeKmsKeyId"] = environment.volume_key
    if environment.has_gpu:
        resources["TransformAmiVersion"] = TRANSFORM_AMI
    request: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model_name,
        "BatchStrategy": "SingleRecord",
        "MaxConcurrentTransforms": MAX_CONCURRENT,
        "MaxPayloadInMB": MAX_PICTURE_MB,
        "TransformInput": {"DataSource": {"S3DataSource": source}, "ContentType": "application/x-image"},
        "TransformOutput": output,
        "TransformResources": resources,
    }
    if environment.tag_list:
        request["Tags"] = environment.tag_list
    return request
