"""Estimate: what a job or an endpoint would cost at most, without starting it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lesion.errors import UserError
from lesion.words import nearest
from lesion_jobs.account.aws import open_session
from lesion_jobs.account.cost import ask_price, cost_line
from lesion_jobs.account.kinds import ENDPOINT, PROCESSING, TRAINING, TRANSFORM
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_each, check_whole, check_within

Verb = Literal["train", "tune", "transform", "evaluate", "prepare_shards", "deploy"]

KINDS = {
    "train": TRAINING,
    "tune": TRAINING,
    "transform": TRANSFORM,
    "evaluate": PROCESSING,
    "prepare_shards": PROCESSING,
    "deploy": ENDPOINT,
}


@dataclass(frozen=True)
class Cost:
    """US dollars at most, or none where the price is not known; and the sentence that says what they are made of."""

    usd: float | None
    sentence: str


@typed
def estimate(environment: Environment, verb: Verb, *, hours: float, num_instances: int = 1, num_jobs: int = 1) -> Cost:
    """What `hours` on the machines of `environment` cost on demand, by AWS's price list.

    `num_jobs` is for tune: that many jobs of so many hours. Spot machines cost less, storage and traffic are extra. In
    local mode it is nothing. Needs the permission `pricing:GetProducts`; without it the cost is unknown, with the
    reason. Raises UserError for an unknown verb, and for numbers below 0 hours, 1 machine or 1 job.
    """
    if verb not in KINDS:
        near = nearest(verb, KINDS)
        hint = f": did you mean {near}?" if near else ""
        raise UserError(f"'{verb}' has no cost{hint}", do=f"Give one of {', '.join(KINDS)}.", kind="environment")
    check_each(
        (check_within, "hours", hours, 0),
        (check_whole, "num_instances", num_instances, 1),
        (check_whole, "num_jobs", num_jobs, 1),
    )
    if environment.is_local:
        return Cost(0.0, "cost: nothing, it runs on this machine")
    session = open_session(environment)
    price = ask_price(session, environment.instance_type, session.region_name, KINDS[verb].billed_as)
    total = hours * num_jobs
    sentence = cost_line(price, environment.instance_type, num_instances=num_instances, max_hours=total)
    return Cost(None if price.usd_per_hour is None else price.usd_per_hour * num_instances * total, sentence)
