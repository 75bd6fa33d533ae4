"""Deploying: a model behind an endpoint, and everything of it taken away again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.kinds import ENDPOINT
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import client_of, send
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import PREVIOUS, read_config
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.endpoints.scaling import autoscale
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.hosting import Capture, How, RealTime, Scale, Serverless, check_how
from lesion_jobs.local.run import start_endpoint
from lesion_jobs.numbers import check_whole
from lesion_jobs.requests.endpoint import capture_uri, endpoint_config_request, endpoint_request
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.scaling import alarm_names
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.models import Model, model_uri_of

SERVERLESS_COST = "cost: by the second of each request, with {} GB; nothing while nobody asks"


@typed
def deploy(
    environment: Environment,
    model: Model,
    *,
    name: str | None = None,
    num_instances: int = 1,
    how: How = RealTime(),
    capture: Capture | None = None,
    scale: Scale | None = None,
    wait: bool = True,
) -> Endpoint:
    """Serve `model`, and return once it answers, or at once without `wait`. A model is a run, the location of a
    model.tar.gz, or an approved version of the registry.

    It costs money until `delete_endpoint`. `how` is RealTime(), Serverless(…) or Async(…); `capture` writes requests
    and answers to S3; with `scale` the number of machines follows the requests. Local mode serves on port 8080 of this
    machine, one endpoint at a time. Raises UserError, before anything is paid for, for what does not go together, and
    with the reason if the endpoint does not start.
    """
    name = name or new_name("endpoint")
    problems: list[UserError] = []
    model_uri = ""
    with collecting(problems):
        check_name(environment, ENDPOINT, name)
    with collecting(problems):
        check_whole("num_instances", num_instances, 1)
    with collecting(problems):
        check_how(environment, how, num_instances=num_instances, captures=capture is not None, scale=scale)
    if scale is not None and not wait:
        do = "Call autoscale(endpoint, scale) once it is in service, or wait for it here."
        problems.append(UserError("scale needs an endpoint that is in service", do=do, kind="environment"))
    with collecting(problems):
        model_uri = model_uri_of(environment, model)
    raise_all(problems)
    endpoint = Endpoint(name, environment)
    requests = [
        ("CreateModel", model_request(environment, name, model_uri)),
        (
            "CreateEndpointConfig",
            endpoint_config_request(environment, name, name, num_instances=num_instances, how=how, capture=capture),
        ),
        ("CreateEndpoint", endpoint_request(environment, name, name)),
    ]
    if environment.is_local:
        announce(ENDPOINT, name, environment)
        start_endpoint(environment, *(request for _, request in requests))
        return endpoint
    check_requests(requests)
    billed = None if isinstance(how, Serverless) else ENDPOINT
    reads = {"the model": model_uri}
    writes = {} if capture is None else {"the capture": capture_uri(environment, capture)}
    notes = check_account(environment, billed, num_instances=num_instances, reads=reads, writes=writes)
    cost = SERVERLESS_COST.format(how.memory_gb) if isinstance(how, Serverless) else None
    announce(ENDPOINT, name, environment, num_instances=num_instances, notes=notes, cost=cost)
    send(environment, requests, what=f"endpoint {name} did not start")
    if wait:
        endpoint.wait(print_logs=False)
    if scale is not None:
        autoscale(endpoint, scale)
    return endpoint


@typed
def delete_endpoint(endpoint: Endpoint) -> None:
    """Stop the endpoint, and with it its cost. Its models, configurations and alarms go too, those of earlier rollouts
    as well; those that were rolled back stay, and cost nothing. Artifacts stay, and so does what was captured.
    """
    client, name = client_of(endpoint.environment), endpoint.name
    what, do = f"endpoint {name} was not deleted", "Delete it in the console: it costs money."
    with plain_errors(what, do=do):
        configs = [] if endpoint.environment.is_local else list(_configs(endpoint))
        client.delete_endpoint(EndpointName=name)
    if endpoint.environment.is_local:
        client.delete_endpoint_config(EndpointConfigName=name)
        client.delete_model(ModelName=name)
        return
    with plain_errors(f"endpoint {name} is deleted, and not all that belonged to it", do="What is left costs little."):
        for config in configs:
            client.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
            for variant in [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]:
                client.delete_model(ModelName=variant["ModelName"])
        open_client(endpoint.environment, "cloudwatch").delete_alarms(AlarmNames=alarm_names(name))


def _configs(endpoint: Endpoint) -> Iterator[Mapping[str, Any]]:
    """The endpoint's configuration, and those before it."""
    name = endpoint.describe()["EndpointConfigName"]
    while name is not None:
        config, tags = read_config(endpoint, name)
        yield config
        name = tags.get(PREVIOUS)
