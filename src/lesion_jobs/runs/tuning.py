"""Tuning: a search for good hyperparameters by many training jobs, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.announce import announce
from lesion_jobs.account.kinds import TUNING
from lesion_jobs.account.preflight import check_account, check_name
from lesion_jobs.account.send import send
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.requests.training import InputMode
from lesion_jobs.requests.tuning import Ranges, Strategy, WarmStart, search_config, tuning_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.job import Job
from lesion_jobs.runs.training import Channels, TrainingRun, checked_training, describe_run


@dataclass(frozen=True)
class TuningRun(Job):
    """A tuning job. `best(tuning)` is the training job that won; each of them is a training job of its own."""

    kind = TUNING


@typed
def tune(
    environment: Environment,
    channels: Channels,
    ranges: Ranges,
    *,
    hyperparameters: Mapping[str, object] | None = None,
    objective: str | None = None,
    max_jobs: int = 20,
    parallel: int = 2,
    strategy: Strategy = "Bayesian",
    warm_start: WarmStart | None = None,
    name: str | None = None,
    num_instances: int = 1,
    volume_gb: int = 30,
    max_hours: float = 24,
    use_spot: bool = False,
    max_wait_hours: float | None = None,
    input_mode: InputMode = "File",
    wait: bool = True,
) -> TuningRun:
    """Search the ranges for the best `objective`, by at most `max_jobs` training jobs, `parallel` at a time. None is
    validation:roc_auc; for algorithm=anomaly it must be chosen.

    `ranges`: {"learning_rate": (1e-5, 1e-2), "model": ["resnet18", "resnet34"], "epochs": None}; None is the range that
    docs/hyperparameters.md gives. `max_hours` and the settings beside it are those of each job; the price that is
    printed is that of all of them. Raises UserError, before anything is paid for, with all that is wrong.
    """
    if environment.is_local:
        raise UserError("local mode has no tuning", do="Take an instance type of SageMaker.", kind="environment")
    hyperparameters = hyperparameters or {}
    tuning = TuningRun(name or new_name("tune"), environment)
    problems: list[UserError] = []
    uris: dict[str, str] = {}
    training: dict[str, Any] = {}
    search: dict[str, Any] = {}
    with collecting(problems):
        check_name(environment, TUNING, tuning.name)
    with collecting(problems):
        uris, training = checked_training(
            environment,
            tuning.name,
            channels,
            hyperparameters,
            num_instances=num_instances,
            volume_gb=volume_gb,
            max_hours=max_hours,
            use_spot=use_spot,
            max_wait_hours=max_wait_hours,
            input_mode=input_mode,
        )
    with collecting(problems):
        search = search_config(
            hyperparameters, ranges, objective=objective, max_jobs=max_jobs, parallel=parallel, strategy=strategy
        )
    raise_all(problems)
    request = tuning_request(tuning.name, training, search, warm_start=warm_start)
    check_requests([("CreateHyperParameterTuningJob", request)])
    reads = {f"channel '{channel}'": uri for channel, uri in uris.items()}
    num_machines = parallel * num_instances
    notes = check_account(environment, TUNING, num_instances=num_machines, use_spot=use_spot, reads=reads)
    notes = [f"{max_jobs} training jobs of {max_hours:g} h at most", *notes]
    hours = max_hours * max_jobs
    announce(TUNING, tuning.name, environment, num_instances=num_instances, max_hours=hours, notes=notes)
    send(environment, [("CreateHyperParameterTuningJob", request)], what=f"tuning job {tuning.name} failed")
    return tuning.wait(print_logs=False) if wait else tuning


@typed
def best(tuning: TuningRun) -> TrainingRun:
    """The training job with the best objective up to now. Raises UserError while none has finished."""
    answer = tuning.describe()
    winner = answer.get("BestTrainingJob", {}).get("TrainingJobName")
    if not winner:
        counts = answer.get("TrainingJobStatusCounters", {})
        told = ", ".join(f"{number} {status}" for status, number in counts.items())
        raise UserError(
            f"no training job of {tuning.name} has finished ({told or 'none was started'})",
            do="Wait: tuning.wait(). If all failed, .describe() of one of them says why.",
            kind="job_failed",
        )
    return replace(describe_run(tuning.environment, winner), checkpoints=None)
