"""Tuning request: CreateHyperParameterTuningJob, many training jobs that search for good hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lesion.algorithms.registry import parse_hyperparameters
from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed, nearest
from lesion_jobs.argument_types import check_fields
from lesion_jobs.numbers import check_choice, check_each, check_whole
from lesion_jobs.requests.training import as_text

Strategy = Literal["Bayesian", "Random"]
# A range is (lowest, highest) or a list of values; None takes the one that Lesion declares for tuning.
Ranges = Mapping[str, tuple[float, float] | list[object] | None]

MOST_JOBS = {"Bayesian": 750, "Random": 10_000}  # SageMaker's limits of one tuning job
MOST_PARALLEL = 100
MOST_RANGES = 30
MOST_METRICS = 20
MOST_PARENTS = 5
NUM_TRIED = 20  # values of a range of whole numbers, that are tried before the search is paid for
# What a tuning job's training jobs have in common with a training job. Without checkpoints: all of them would share one
# prefix, and each refuses those of another job. One that loses its spot machine begins again.
COMMON = (
    *("RoleArn", "OutputDataConfig", "StoppingCondition", "InputDataConfig", "VpcConfig", "EnableNetworkIsolation"),
    *("EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"),
)


@dataclass(frozen=True)
class WarmStart:
    """Earlier tuning jobs whose results a new one begins with: their names.

    `is_same_data` says that data and image are the same, so that their training jobs count as its own.
    """

    parents: Sequence[str]
    is_same_data: bool = True

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= len(self.parents) <= MOST_PARENTS:
            raise UserError(
                f"a warm start takes 1 to {MOST_PARENTS} earlier tuning jobs, not {len(self.parents)}",
                do="Name the best of them.",
                kind="environment",
            )


def search_config(
    hyperparameters: Mapping[str, object],
    ranges: Ranges,
    *,
    objective: str | None = None,
    max_jobs: int = 20,
    parallel: int = 2,
    strategy: Strategy = "Bayesian",
) -> dict[str, Any]:
    """A tuning request's HyperParameterTuningJobConfig: what is searched, for what, by how many jobs.

    `hyperparameters` are those that all jobs have, `ranges` those that are searched; without an `objective` it is the
    algorithm's. Raises UserError with all that is wrong with ranges, objective and numbers of jobs.
    """
    problems: list[UserError] = []
    searched: dict[str, list[dict[str, Any]]] = {}
    with collecting(problems):
        _check_numbers(max_jobs, parallel, strategy, len(ranges))
    with collecting(problems):
        algorithm, _ = parse_hyperparameters(hyperparameters)
        objective = objective or algorithm.objective
        with collecting(problems):
            better = _direction(algorithm, objective)
        for hyperparameter, wanted in ranges.items():
            with collecting(problems):
                kind, one = _range(algorithm, hyperparameters, hyperparameter, wanted)
                searched.setdefault(f"{kind}ParameterRanges", []).append(one)
    raise_all(problems)
    return {
        "Strategy": strategy,
        "ResourceLimits": {"MaxNumberOfTrainingJobs": max_jobs, "MaxParallelTrainingJobs": parallel},
        # It would compare values that come while a job trains; validation:* comes once, at its end.
        "TrainingJobEarlyStoppingType": "Off",
        "HyperParameterTuningJobObjective": {"Type": better, "MetricName": objective},
        "ParameterRanges": searched,
    }


def tuning_request(
    name: str,
    training: Mapping[str, Any],
    search: Mapping[str, Any],
    *,
    warm_start: WarmStart | None = None,
) -> dict[str, Any]:
    """CreateHyperParameterTuningJob's request. `training` is CreateTrainingJob's, `search` the `search_config`, for the
    same hyperparameters."""
    metrics = [
        m for m in training["AlgorithmSpecification"]["MetricDefinitions"] if m["Name"].startswith("validation:")
    ]
    definition: dict[str, Any] = {
        "StaticHyperParameters": training["HyperParameters"],
        "AlgorithmSpecification": {**training["AlgorithmSpecification"], "MetricDefinitions": metrics[:MOST_METRICS]},
        "HyperParameterTuningResourceConfig": training["ResourceConfig"],
        **{key: training[key] for key in COMMON if key in training},
    }
    request: dict[str, Any] = {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": search,
        "TrainingJobDefinition": definition,
    }
    if warm_start is not None:
        request["WarmStartConfig"] = {
            "WarmStartType": "IdenticalDataAndAlgorithm" if warm_start.is_same_data else "TransferLearning",
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": one} for one in warm_start.parents],
        }
    if "Tags" in training:
        request["Tags"] = training["Tags"]
    return request


def _check_numbers(max_jobs: int, parallel: int, strategy: Strategy, num_ranges: int) -> None:
    most = MOST_JOBS.get(strategy, max(MOST_JOBS.values()))
    problems: list[UserError] = []
    with collecting(problems):
        check_each(
            (check_choice, "strategy", strategy, MOST_JOBS),
            (check_whole, "max_jobs", max_jobs, 1, most),
            (check_whole, "parallel", parallel, 1, MOST_PARALLEL),
        )
        if parallel > max_jobs:
            what = f"parallel={parallel} is more than max_jobs={max_jobs}"
            raise UserError(what, do="Correct it.", kind="environment")
    if not 1 <= num_ranges <= MOST_RANGES:
        what = f"ranges has {num_ranges} hyperparameters, not 1 to {MOST_RANGES}"
        problems.append(UserError(what, do="Correct it.", kind="environment"))
    raise_all(problems)


def _direction(algorithm: Any, objective: str | None) -> str:
    """Maximize or Minimize. Only validation:* is printed once a job: the tuner takes the last value of a name."""
    known = {
        name: line.better
        for name, line in algorithm.metric_lines.items()
        if name.startswith("validation:") and line.better is not None
    }
    if objective is None:  # SageMaker fails a search whose objective is missing in the log, after its jobs are paid for
        raise UserError(
            f"algorithm={algorithm.name} has no objective that the log of each job has",
            do=f"Set objective to {listed(list(known), most=10)}: docs/{algorithm.name}.md says which your data gives.",
            kind="hyperparameters",
        )
    if objective not in known:
        near = nearest(objective, known)
        do = f"Did you mean {near}?" if near else f"Take one of {listed(list(known), most=10)}."
        raise UserError(f"objective '{objective}' is no metric to tune for", do=do, kind="hyperparameters")
    return "Maximize" if known[objective] == "higher" else "Minimize"


def _range(
    algorithm: Any, hyperparameters: Mapping[str, object], name: str, wanted: tuple[float, float] | list[object] | None
) -> tuple[str, dict[str, Any]]:
    """Its kind (Integer, Continuous, Categorical) and one parameter range, whose ends are values that Lesion takes."""
    if name in hyperparameters:
        raise UserError(f"{name} is both set and searched", do="Leave it out of one.", kind="hyperparameters")
    if name == "algorithm":
        raise UserError("algorithm cannot be searched", do="Tune each by itself.", kind="hyperparameters")
    field = algorithm.config.model_fields.get(algorithm.config.other_names().get(name, name))
    extra = (field.json_schema_extra or {}) if field is not None else {}
    if wanted is None and field is not None:
        if "tune" not in extra:
            raise UserError(f"Lesion declares no range for {name}", do=f"Give one: {name}=(lowest, highest).")
        wanted = tuple(extra["tune"])
    if wanted == []:
        raise UserError(f"{name} has no value to be searched", do=f"Give some: {name}=[…].", kind="hyperparameters")
    for value in wanted or [0]:
        parse_hyperparameters({**hyperparameters, name: value})  # refuses unknown names, and what is out of bounds
    if isinstance(wanted, list):
        return "Categorical", {"Name": name, "Values": [as_text(value) for value in wanted]}
    assert wanted is not None and field is not None  # else the name was refused
    lowest, highest = wanted
    if not {int, float} & _types(field.annotation):
        raise UserError(f"{name} is no number, and has no range", do=f"Give its values as a list: {name}=[…].")
    if not (math.isfinite(lowest) and lowest < highest):
        raise UserError(f"{name} from {lowest:g} to {highest:g} is no range", do="Give (lowest, highest).")
    scale = extra.get("scale", "Auto")
    if scale == "Logarithmic" and lowest <= 0:
        scale = "Linear"
    kind = "Continuous" if float in _types(field.annotation) else "Integer"
    if kind == "Integer":
        _check_between(hyperparameters, name, int(lowest), int(highest))
    return kind, {"Name": name, "MinValue": f"{lowest}", "MaxValue": f"{highest}", "ScalingType": scale}


def _check_between(hyperparameters: Mapping[str, object], name: str, lowest: int, highest: int) -> None:
    """Raises UserError for a range with values that Lesion refuses, such as even ones: the next to the lowest and some
    20 more are tried."""
    try:
        for value in [lowest + 1, *range(lowest, highest, max(1, (highest - lowest) // NUM_TRIED))]:
            parse_hyperparameters({**hyperparameters, name: value})
    except UserError as error:
        what = f"{name} from {lowest} to {highest} has values that are refused ({error.what})"
        raise UserError(what, do=f"Give its values as a list: {name}=[…].", kind="hyperparameters") from error


def _types(annotation: Any) -> set[Any]:
    """The plain types in a field's annotation, however deep."""
    inner = get_args(annotation)
    return {annotation} if not inner else {one for part in inner for one in _types(part)}
