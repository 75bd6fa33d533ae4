"""Registry requests: CreateModelPackageGroup and CreateModelPackage, a version of a model with what is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain, islice
from typing import Any, Literal

from lesion.errors import UserError
from lesion_jobs.environment import Environment

Approval = Literal["PendingManualApproval", "Approved", "Rejected"]

REQUESTS = ["image/jpeg", "image/png", "application/x-image", "application/json", "application/jsonlines", "text/csv"]
ANSWERS = ["application/json", "application/jsonlines", "text/csv"]
# A version's card describes itself: of a model card's overview it takes nothing that our cards have.
NOT_IN_A_VERSION = {"model_overview", "model_package_details"}
MOST_PROPERTIES = 50  # that a version holds (botocore's CustomerMetadataMap); the rest stands in its metrics.json


def group_request(environment: Environment, group: str) -> dict[str, Any]:
    """CreateModelPackageGroup's request: what versions of one model stand in."""
    request: dict[str, Any] = {"ModelPackageGroupName": group}
    return request | ({"Tags": environment.tag_list} if environment.tag_list else {})


def package_request(
    environment: Environment,
    group: str,
    model_uri: str,
    *,
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    statistics_uri: str,
    card: Mapping[str, Any] | None = None,
    approval: Approval,
    description: str,
    image_digest: str | None = None,
) -> dict[str, Any]:
    """CreateModelPackage's request.

    `metrics` are by where they come from (`training`, `evaluation`) the content of a metrics.json; `statistics_uri` is
    the file that the console shows; `card` is sagemaker_model_card.json. A pipeline knows neither metrics nor card when
    it is made. A version takes no tags: its group has them.
    """
    container = {"Image": environment.image, "ModelDataUrl": model_uri}
    if image_digest is not None:
        container["ImageDigest"] = image_digest
    request: dict[str, Any] = {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": description,
        "ModelApprovalStatus": approval,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedRealtimeInferenceInstanceTypes": [environment.instance_type],
            "SupportedTransformInstanceTypes": [environment.instance_type],
            "SupportedContentTypes": REQUESTS,
            "SupportedResponseMIMETypes": ANSWERS,
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": statistics_uri}}},
    }
    if metrics is not None:
        properties = chain.from_iterable(_properties(source, content).items() for source, content in metrics.items())
        request["CustomerMetadataProperties"] = dict(islice(properties, MOST_PROPERTIES))
    if card is not None:
        content = {name: part for name, part in card.items() if name not in NOT_IN_A_VERSION}
        request["ModelCard"] = {"ModelCardContent": json.dumps(content), "ModelCardStatus": "Draft"}
    return request


def _properties(source: str, metrics: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that a version can be searched by: value and 95 % interval."""
    overall = metrics.get("overall", {})
    if "metrics" not in overall:
        raise UserError(
            "metrics.json of this job has no overall metrics in the form of this version",
            where=source,
            do="Run the job again with this version's image.",
            kind="location",
        )
    told: dict[str, str] = {f"{source}:num_rows": str(overall["num_rows"])}
    for name, value in overall["metrics"].items():
        told[f"{source}:{name}"] = f"{value:.6g}"
        if name in overall.get("interval_95", {}):
            low, high = overall["interval_95"][name]
            told |= {f"{source}:{name}:lower": f"{low:.6g}", f"{source}:{name}:upper": f"{high:.6g}"}
    return told
