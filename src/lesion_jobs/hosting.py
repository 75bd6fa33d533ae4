"""Hosting: how an endpoint serves, scales, records and changes, as values that cannot hold what SageMaker refuses."""

from __future__ import annotations

from dataclasses import dataclass

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.argument_types import check_fields
from lesion_jobs.environment import Environment, has_bucket
from lesion_jobs.numbers import check_each, check_whole, check_within


@dataclass(frozen=True)
class RealTime:
    """Machines that answer at once, and cost money until the endpoint is deleted."""


@dataclass(frozen=True)
class Serverless:
    """Machines that are there while requests come: a CPU of 1 to 6 GB, priced by the second of a request.

    No GPU, no network isolation, no VPC, no data capture, and a first request that waits for the container's start.
    Raises UserError for what SageMaker does not offer.
    """

    memory_gb: int = 4
    max_concurrency: int = 5  # requests at the same time; the account's limit is 200 or more

    def __post_init__(self) -> None:
        check_each(
            (check_whole, "memory_gb", self.memory_gb, 1, 6),
            (check_whole, "max_concurrency", self.max_concurrency, 1, 200),
        )


@dataclass(frozen=True)
class Async:
    """Machines that take pictures from S3 and write answers to S3: requests wait in a queue, for up to an hour each.

    With `Scale(min_instances=0, …)` there are none while nobody asks.
    """

    max_concurrent: int = 4  # requests at a time on each machine

    def __post_init__(self) -> None:
        check_whole("max_concurrent", self.max_concurrent, 1, 1000)


How = RealTime | Serverless | Async

MOST_INSTANCES = 10_000
MAX_WAIT_MINUTES = 60  # between two steps of a rollout, and after the last


@dataclass(frozen=True)
class Scale:
    """Between how many machines an endpoint varies, and what it aims at.

    `target` is requests a minute of one machine for real time, and waiting requests a machine for Async. Raises
    UserError if the numbers are no range.
    """

    max_instances: int
    min_instances: int = 1
    target: float = 60
    scale_in_cooldown_s: int = 300  # at least so long after a change before machines are taken away
    scale_out_cooldown_s: int = 60  # and before others are added

    def __post_init__(self) -> None:
        check_each(
            (check_whole, "max_instances", self.max_instances, 1, MOST_INSTANCES),
            (check_whole, "min_instances", self.min_instances, 0, MOST_INSTANCES),
            (check_within, "target", self.target, 1e-3, 1e9),
            (check_whole, "scale_in_cooldown_s", self.scale_in_cooldown_s, 0, 86_400),
            (check_whole, "scale_out_cooldown_s", self.scale_out_cooldown_s, 0, 86_400),
        )
        check_whole("min_instances", self.min_instances, 0, self.max_instances)


@dataclass(frozen=True)
class Capture:
    """Requests and answers written to S3 as they pass, which `monitor` reads. Pictures are data of patients.

    Raises UserError for a percentage that is none.
    """

    percent: int = 100  # of the requests
    output: str | None = None  # s3://…; none takes `captured/` in the environment's bucket

    def __post_init__(self) -> None:
        check_fields(self)
        problems: list[UserError] = []
        with collecting(problems):
            check_whole("percent", self.percent, 1, 100)
        if self.output is not None and not (self.output.startswith("s3://") and has_bucket(self.output)):
            what = f"output '{self.output}' is not s3://BUCKET/PREFIX, with a bucket that S3 could have"
            problems.append(UserError(what, do="Correct it.", kind="environment"))
        raise_all(problems)


@dataclass(frozen=True)
class Canary:
    """A share of the machines is replaced first, and the rest after `wait_minutes` without an alarm."""

    percent: int = 10  # of the machines, at most 50
    wait_minutes: float = 10  # at most 60

    def __post_init__(self) -> None:
        check_each(
            (check_whole, "percent", self.percent, 1, 50),
            (check_within, "wait_minutes", self.wait_minutes, 0, MAX_WAIT_MINUTES),
        )


@dataclass(frozen=True)
class Linear:
    """The machines are replaced in equal steps, `wait_minutes` after each other."""

    percent: int = 20  # of the machines a step, 10 to 50
    wait_minutes: float = 5  # at most 60

    def __post_init__(self) -> None:
        check_each(
            (check_whole, "percent", self.percent, 10, 50),
            (check_within, "wait_minutes", self.wait_minutes, 0, MAX_WAIT_MINUTES),
        )


@dataclass(frozen=True)
class AllAtOnce:
    """All traffic goes over at once, when the new machines answer."""


Shift = Canary | Linear | AllAtOnce


def check_how(
    environment: Environment, how: How, *, num_instances: int = 1, captures: bool = False, scale: Scale | None = None
) -> None:
    """Raises UserError for what does not go together, which SageMaker would say only after the model was made."""
    problems = []
    if environment.is_local and (captures or scale is not None or not isinstance(how, RealTime)):
        problems.append("local mode has neither Serverless, Async, capture nor scale")
    if isinstance(how, Serverless):
        problems += [
            problem
            for problem, is_there in {
                "Serverless has no network isolation: set isolated=False in the Environment": environment.isolated,
                "Serverless has no VPC: leave subnets and security_group_ids out": environment.vpc is not None,
                "Serverless captures no data: leave capture out": captures,
                "Serverless scales by itself: leave scale out, and set max_concurrency": scale is not None,
                "Serverless has no instances: leave num_instances out": num_instances != 1,
            }.items()
            if is_there
        ]
    if isinstance(how, Async) and captures:
        problems.append("Async writes each answer to S3 already: leave capture out")
    if scale is not None and scale.min_instances == 0 and isinstance(how, RealTime):
        problems.append("min_instances=0 is for Async alone: a real-time endpoint has at least one machine")
    if problems:
        raise UserError("deploy refused: " + "; ".join(problems), do="Correct the call.", kind="environment")
