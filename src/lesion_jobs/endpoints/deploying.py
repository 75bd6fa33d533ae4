"""Deploying: a model behind an endpoint, and everything of it taken away again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.aws import explained, is_gone, open_client, plain_errors
from lesion_jobs.account.kinds import ENDPOINT
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import client_of, send
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import PREVIOUS, read_tags
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
from lesion_jobs.runs.job import SAME_ACCOUNT
from lesion_jobs.runs.models import Model, model_uri_of

SERVERLESS_COST = "cost: by the second of each request, with {} GB; nothing while nobody asks"
COSTS = "Delete it in the console: it costs money."
LEFT = "What is left costs little: delete it in the console."


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

    Whatever cannot be looked up or deleted, the endpoint itself is deleted first: UserError says if it was not, or all
    that is left of what belonged to it.
    """
    client, name = client_of(endpoint.environment), endpoint.name
    if endpoint.environment.is_local:
        with plain_errors(f"endpoint {name} was not deleted", do=COSTS):
            client.delete_endpoint(EndpointName=name)
        client.delete_endpoint_config(EndpointConfigName=name)
        client.delete_model(ModelName=name)
        return
    from botocore.exceptions import BotoCoreError, ClientError

    problems: list[UserError] = []
    configs: list[Mapping[str, Any]] = []
    with collecting(problems), plain_errors(f"endpoint {name} is deleted, but not all that belonged to it", do=LEFT):
        for config in _configs(client, name):
            configs.append(config)  # those before a refusal are deleted too
    try:
        client.delete_endpoint(EndpointName=name)
    except (ClientError, BotoCoreError) as error:
        do = SAME_ACCOUNT if is_gone(error) else COSTS
        raise explained(error, f"endpoint {name} was not deleted", do=do) from error
    for what, delete in _belongings(endpoint, configs):
        with collecting(problems), plain_errors(f"endpoint {name} is deleted, but not its {what}", do=LEFT):
            try:
                delete()
            except ClientError as error:
                if not is_gone(error):
                    raise
    raise_all(problems)


def _configs(client: Any, endpoint: str) -> Iterator[Mapping[str, Any]]:
    """The endpoint's configuration, and those before it, up to the first that is gone."""
    from botocore.exceptions import ClientError

    name = client.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    while name is not None:
        try:
            config = client.describe_endpoint_config(EndpointConfigName=name)
        except ClientError as error:
            if not is_gone(error):
                raise
            left = "its models and what was before it stay, and cost nothing"
            print(f"the configuration {name} of endpoint {endpoint} is gone: {left}", flush=True)  # noqa: T201
            return
        yield config
        name = read_tags(client, config).get(PREVIOUS)


def _belongings(endpoint: Endpoint, configs: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Callable[[], object]]]:
    """What an endpoint leaves behind, each thing once, and what deletes it."""
    client, alarms = open_client(endpoint.environment), open_client(endpoint.environment, "cloudwatch")
    variants = [
        variant
        for config in configs
        for variant in [*config["ProductionVariants"], *config.get("ShadowProductionVariants", [])]
    ]
    for one in configs:
        name = one["EndpointConfigName"]
        yield f"configuration {name}", partial(client.delete_endpoint_config, EndpointConfigName=name)
    for name in dict.fromkeys(variant["ModelName"] for variant in variants):
        yield f"model {name}", partial(client.delete_model, ModelName=name)
    for name in alarm_names(endpoint.name):
        yield f"alarm {name}", partial(alarms.delete_alarms, AlarmNames=[name])
