"""Current: what an endpoint serves now, which the next configuration is made from, so that nothing set is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.endpoints.endpoint import Endpoint

PREVIOUS = "lesion:previous"  # tag of a configuration: that which it took the place of


@dataclass(frozen=True)
class Current:
    """SageMaker's descriptions of an endpoint and of its configuration, and the configuration's tags."""

    endpoint: Mapping[str, Any]
    config: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def variants(self) -> list[Mapping[str, Any]]:
        """The variants as they are now: their weights and numbers of machines may differ from the configuration's."""
        return list(self.endpoint["ProductionVariants"])

    @property
    def next_tags(self) -> dict[str, str]:
        """The tags of a configuration that takes the place of this one."""
        return {**self.tags, PREVIOUS: str(self.config["EndpointConfigName"])}

    @property
    def is_async(self) -> bool:
        return "AsyncInferenceConfig" in self.config

    @property
    def is_serverless(self) -> bool:
        return any("ServerlessConfig" in variant for variant in self.config["ProductionVariants"])


def read_current(endpoint: Endpoint) -> Current:
    """What the endpoint serves. Raises UserError for one that is not in service: it cannot be changed then."""
    if endpoint.environment.is_local:
        raise UserError(
            "local mode has one model an endpoint, on one machine",
            do="Delete the endpoint and deploy another, or take an instance type of SageMaker.",
            kind="environment",
        )
    told = endpoint.describe()
    status = told["EndpointStatus"]
    if status != "InService":
        do = "Wait until it is done: endpoint.wait()."
        if status in {"Failed", "OutOfService"}:
            do = "Delete it and deploy again: .describe() and .logs() say why."
        raise UserError(f"endpoint {endpoint.name} cannot be changed: it is {status}", do=do, kind="busy")
    return Current(told, *read_config(endpoint, told["EndpointConfigName"]))


def read_config(endpoint: Endpoint, name: str) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """A configuration's description and its tags, without AWS's own, which no request may have.

    Raises UserError if it is gone.
    """
    with plain_errors(f"the configuration {name} of endpoint {endpoint.name} is not known", do="Deploy again."):
        client = open_client(endpoint.environment)
        config = client.describe_endpoint_config(EndpointConfigName=name)
        tags = read_tags(client, config)
        return config, {key: value for key, value in tags.items() if not key.lower().startswith("aws:")}


def read_tags(client: Any, config: Mapping[str, Any]) -> dict[str, str]:
    """All tags of a configuration. Raises what boto3 does."""
    pages = client.get_paginator("list_tags").paginate(ResourceArn=config["EndpointConfigArn"])
    return {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}
