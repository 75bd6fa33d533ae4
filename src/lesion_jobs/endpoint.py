"""Endpoint: serves a model over HTTPS, and costs money until it is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_jobs.announce import announce
from lesion_jobs.aws import plain_errors
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.hosting import Capture, How, RealTime, Serverless, check_how
from lesion_jobs.job import Job
from lesion_jobs.kinds import ENDPOINT
from lesion_jobs.local.run import start_endpoint
from lesion_jobs.models import Model, model_uri_of
from lesion_jobs.preflight import check_account
from lesion_jobs.requests.endpoint import endpoint_config_request, endpoint_request
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.send import client_of, send

SERVERLESS_COST = "cost: by the second of each request, with {} GB; nothing while nobody asks"


@dataclass(frozen=True)
class Endpoint(Job):
    """A running endpoint, and its environment."""

    kind = ENDPOINT


def deploy(
    environment: Environment,
    model: Model,
    *,
    name: str | None = None,
    num_instances: int = 1,
    how: How = RealTime(),
    capture: Capture | None = None,
    wait: bool = True,
) -> Endpoint:
    """Serve `model`, and return once it answers, or at once without `wait`. A model is a run, the location of a
    model.tar.gz, or an approved version of the registry.

    It costs money until `delete_endpoint`. `how` is RealTime(), Serverless(…) or Async(…); `capture` writes requests
    and answers to S3. Local mode serves on port 8080 of this machine, one endpoint at a time. Raises UserError, before
    anything is paid for, for what does not go together, and with the reason if the endpoint does not start.
    """
    check_how(environment, how, num_instances=num_instances, captures=capture is not None)
    model_uri = model_uri_of(environment, model)
    name = name or new_name("endpoint")
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
    notes = check_account(environment, billed, num_instances=num_instances, reads={"the model": model_uri})
    cost = SERVERLESS_COST.format(how.memory_gb) if isinstance(how, Serverless) else None
    announce(ENDPOINT, name, environment, num_instances=num_instances, notes=notes, cost=cost)
    send(environment, requests, what=f"endpoint {name} did not start")
    return endpoint.wait(print_logs=False) if wait else endpoint


def delete_endpoint(endpoint: Endpoint) -> None:
    """Stop the endpoint, and with it its cost; its configuration and model go too. The artifact stays."""
    client, name = client_of(endpoint.environment), endpoint.name
    with plain_errors(f"endpoint {name} was not deleted", do="Delete it in the console: it costs money."):
        client.delete_endpoint(EndpointName=name)
        client.delete_endpoint_config(EndpointConfigName=name)
        client.delete_model(ModelName=name)
