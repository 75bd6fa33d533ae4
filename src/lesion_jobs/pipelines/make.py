"""Make: the verb `pipeline`: what was asked for, checked as far as it can be without sending, as a Pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

from lesion.algorithms.registry import parse_hyperparameters
from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.storage import readable_uri
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_choice, check_whole, check_within
from lesion_jobs.pipelines.definition import Plan, definition_faults, make_definition
from lesion_jobs.pipelines.pipeline import Pipeline, champion_uri, refuse_known_test
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.requests.registry import Approval
from lesion_jobs.requests.training import check_machines, seconds_of
from lesion_jobs.requests.validate import check_requests, find_faults
from lesion_jobs.runs.models import Model
from lesion_jobs.runs.processing import SHARDS, SHARDS_OWN
from lesion_jobs.runs.training import Channels, channel_uris, check_hyperparameters, given_channels


@typed
def pipeline(
    environment: Environment,
    data: Channels,
    *,
    test: str | Path,
    bar: float,
    name: str,
    champion: Model | None = None,
    margin: float = 0.02,
    hyperparameters: Mapping[str, object] | None = None,
    shards: Mapping[str, object] | None = None,
    group: str | None = None,
    approval: Approval = "PendingManualApproval",
    num_instances: int = 1,
    volume_gb: int = 100,
    max_hours: float = 24,
    use_spot: bool = False,
    cache_days: int | None = 30,
    role: str | None = None,
) -> Pipeline:
    """A pipeline: check the data, train, evaluate on a test set, and register the model if it is good enough.

    Good enough is a lower end of the ROC AUC's 95 % interval, by patient, of at least `bar` (0.5 to 1), and with a
    `champion` (a run, a version, a model.tar.gz) that the model is not inferior to it on the same images by a `margin`
    of AUC. `data` is as for `train`; `test` is a labelled set of other patients, laid out as a test channel: test.csv
    beside test_jpg/, or class folders. `shards` are options of `prepare_shards`: {} turns the data into shards first.

    A step is not repeated for `cache_days` if its image, settings and addresses are the same: data that changes needs
    a new address. None repeats all. `role` is what the pipeline itself takes on, to start jobs and to hand them the
    environment's role; none takes that one. Sends nothing, but asks the registry where the champion is a version.
    Raises one UserError with all that is wrong.
    """
    hyperparameters = hyperparameters or {}
    problems: list[UserError] = []
    uris: dict[str, str] = {}
    test_uri, held = "", None
    with collecting(problems):
        uris = channel_uris(environment, data)
        if "training" not in uris or "test" in uris:
            found = f"the channels are {', '.join(uris)}"
            raise UserError(found, do="Give `training`, and the test set as `test=`.", kind="environment")
    with collecting(problems):
        test_uri = readable_uri(test, environment, what="the test set")
    with collecting(problems):
        refuse_known_test(uris, test_uri)
    with collecting(problems):
        check_within("bar", bar, 0.5, 1)
    with collecting(problems):
        check_within("margin", margin, 0, 0.5)
    with collecting(problems):
        if cache_days is not None:
            check_whole("cache_days", cache_days, 1, 365)
    with collecting(problems):
        _check_algorithm(environment, given_channels(data), hyperparameters)
    with collecting(problems):
        held = None if champion is None else champion_uri(environment, champion)
    with collecting(problems):
        named = {"PipelineName": name, "PipelineDefinition": "{}", "RoleArn": role or environment.arn}
        _refuse_faults(find_faults("UpdatePipeline", named))
    with collecting(problems):
        if group is not None:
            _refuse_faults(find_faults("CreateModelPackageGroup", {"ModelPackageGroupName": group}))
    with collecting(problems):
        check_choice("approval", approval, get_args(Approval))
    with collecting(problems):
        command_arguments(SHARDS, shards or {}, own=SHARDS_OWN)
    with collecting(problems):
        seconds_of(max_hours)
    with collecting(problems):
        check_machines(num_instances, volume_gb)
    raise_all(problems)
    own = replace(environment, output=f"{environment.output_uri}/{name}")
    plan = Plan(
        name=name,
        environment=own,
        channels=uris,
        test=test_uri,
        bar=bar,
        champion=held,
        margin=margin,
        hyperparameters=hyperparameters,
        group=group or name,
        approval=approval,
        shards=shards,
        num_instances=num_instances,
        volume_gb=volume_gb,
        max_hours=max_hours,
        use_spot=use_spot and not environment.is_local,
        cache_days=cache_days,
    )
    content = make_definition(plan)
    made = Pipeline(name, own, content, plan.group, role or environment.arn, num_instances, max_hours)
    if not environment.is_local:  # where machines and addresses are others than SageMaker's
        _refuse_faults(definition_faults(content))
        check_requests(made.requests("CreatePipeline"))
    return made


def _check_algorithm(
    environment: Environment, channels: Collection[str], hyperparameters: Mapping[str, object]
) -> None:
    check_hyperparameters(environment, channels, hyperparameters)
    algorithm, _ = parse_hyperparameters(hyperparameters)
    if algorithm.name == "anomaly":
        raise UserError(
            "anomaly detection judges no further labelled sets, so that there is nothing to decide by",
            do="Give the set as the test channel of the training job: train().",
            kind="hyperparameters",
        )


def _refuse_faults(faults: list[str]) -> None:
    raise_all(
        [UserError(fault, where="pipeline", do="Correct it: nothing was sent.", kind="request") for fault in faults]
    )
