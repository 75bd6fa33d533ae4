"""Split: the traffic of one endpoint shared by several models, or copied to one that nobody hears."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.send import send
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.current import Current, read_current
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.endpoints.rollout import Update, announce_update, start_update
from lesion_jobs.environment import new_name
from lesion_jobs.hosting import AllAtOnce
from lesion_jobs.numbers import check_whole
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.update import next_config, present_variant, update_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.models import Model, model_uri_of

SHADOW = "Shadow"


@typed
def split(
    endpoint: Endpoint, weights: Mapping[str, float], *, models: Mapping[str, Model] | None = None, wait: bool = True
) -> Endpoint:
    """Share the requests by `weights`: {"AllTraffic": 9, "challenger": 1} gives the second a tenth.

    `models` are by name those of new variants, each of which gets as many machines as the first variant has, at the
    same price. Variants that `weights` does not name are taken away, with their machines. Without new or lost variants
    only the weights change, in seconds. Raises UserError for weights of what is not there, and for endpoints that have
    one variant by nature (Serverless, Async).
    """
    models, environment = models or {}, endpoint.environment
    names = {one: new_name("model") for one in models}
    problems: list[UserError] = []
    uris: dict[str, str] = {}
    for one, model in models.items():
        with collecting(problems):
            uris[names[one]] = model_uri_of(environment, model)
    with collecting(problems):
        current = read_current(endpoint)
        there = {variant["VariantName"]: variant for variant in current.variants}
        if models:
            with collecting(problems):
                _check_kind(endpoint, current, "a second variant")
        _check_weights(endpoint, weights, models, there)
    raise_all(problems)
    if set(weights) == set(there):
        desired = [{"VariantName": name, "DesiredWeight": float(weight)} for name, weight in weights.items()]
        request = {"EndpointName": endpoint.name, "DesiredWeightsAndCapacities": desired}
        what = f"endpoint {endpoint.name} was not changed"
        send(endpoint.environment, [("UpdateEndpointWeightsAndCapacities", request)], what=what)
        return endpoint.wait(print_logs=False) if wait else endpoint
    configured = {variant["VariantName"]: variant for variant in current.config["ProductionVariants"]}
    first, *_ = configured
    variants = [
        present_variant(
            configured[one if one in there else first],
            there[one if one in there else first],
            VariantName=one,
            InitialVariantWeight=float(weight),
            **({"ModelName": names[one]} if one in names else {}),
        )
        for one, weight in weights.items()
    ]
    config = next_config(environment, new_name("split"), current.config, variants, tags=current.next_tags)
    return _change(endpoint, current, config, uris, wait=wait)


@typed
def shadow(endpoint: Endpoint, model: Model, *, percent: int = 100, wait: bool = True) -> Update:
    """Send a copy of `percent` of the requests to another model, whose answers nobody gets: for its errors and times.

    It gets as many machines as the endpoint has, at the same price, and its own metrics under the variant `Shadow`. The
    next `rollout` takes it away. Raises UserError where SageMaker has no shadow: Serverless, Async, several variants.
    """
    environment, name, model_uri = endpoint.environment, new_name("model"), ""
    problems: list[UserError] = []
    with collecting(problems):
        check_whole("percent", percent, 1, 100)
    with collecting(problems):
        model_uri = model_uri_of(environment, model)
    with collecting(problems):
        current = read_current(endpoint)
        _check_kind(endpoint, current, "a shadow")
        if len(current.variants) != 1:
            raise UserError(
                f"endpoint {endpoint.name} has several variants, and a shadow stands beside one",
                do="Give one of them all the traffic first: split(endpoint, {NAME: 1}).",
                kind="environment",
            )
    raise_all(problems)
    (configured,), (now,) = current.config["ProductionVariants"], current.variants
    first = present_variant(configured, now, InitialVariantWeight=1.0)
    copy = present_variant(configured, now, VariantName=SHADOW, ModelName=name, InitialVariantWeight=percent / 100)
    config = next_config(environment, name, current.config, [first], tags=current.next_tags, shadows=[copy])
    return _change(endpoint, current, config, {name: model_uri}, wait=wait)


def _change(
    endpoint: Endpoint, current: Current, config: Mapping[str, Any], uris: Mapping[str, str], *, wait: bool
) -> Update:
    """Makes the models of new variants, `uris` by their names, and changes the endpoint to `config`, all at once."""
    update = update_request(endpoint.name, config["EndpointConfigName"], AllAtOnce(), has_same_variants=False)
    requests = [("CreateModel", model_request(endpoint.environment, name, uri)) for name, uri in uris.items()]
    requests += [("CreateEndpointConfig", dict(config)), ("UpdateEndpoint", update)]
    check_requests(requests)
    announce_update(endpoint, current, config, reads={f"the model {name}": uri for name, uri in uris.items()})
    return start_update(endpoint, requests, wait=wait)


def _check_weights(
    endpoint: Endpoint, weights: Mapping[str, float], models: Mapping[str, Model], there: Mapping[str, Any]
) -> None:
    problems = []
    if unknown := sorted(set(weights) - set(there) - set(models)):
        problems.append(f"no variant is called {', '.join(unknown)}: there is {', '.join(there)}")
    if again := sorted(set(models) & set(there)):
        problems.append(f"{', '.join(again)} is there already, and `rollout` replaces its model")
    if lost := sorted(set(models) - set(weights)):
        problems.append(f"{', '.join(lost)} has a model and no weight")
    if wrong := [f"'{name}': {weight}" for name, weight in weights.items() if not _is_weight(weight)]:
        problems.append(f"weights are numbers from 0 on, and not {', '.join(wrong)}")
    elif not any(weights.values()):
        problems.append("weights are not all of them 0")
    if problems:
        raise UserError(
            "split refused: " + "; ".join(problems), where=endpoint.name, do="Correct it.", kind="environment"
        )


def _is_weight(value: float) -> bool:
    return not isinstance(value, bool) and 0 <= value < math.inf


def _check_kind(endpoint: Endpoint, current: Current, what: str) -> None:
    if current.is_serverless or current.is_async:
        kind = "Serverless" if current.is_serverless else "Async"
        raise UserError(
            f"endpoint {endpoint.name} is {kind}, which has no place for {what}", do="Deploy a second endpoint."
        )
