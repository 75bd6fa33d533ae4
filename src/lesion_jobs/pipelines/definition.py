"""Definition: a pipeline as JSON, of the same requests that the verbs send, and what is wrong with them.

prepare → check → evaluate the champion → train → evaluate → decide → register or fail. Schema of 2020-12-01:
https://aws-sagemaker-mlops.github.io/sagemaker-model-building-pipeline-definition-JSON-schema/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lesion_jobs.environment import Environment
from lesion_jobs.pipelines.expressions import EXECUTION_ID, get, join, json_get, output_of, resolve
from lesion_jobs.requests.arguments import command_arguments
from lesion_jobs.requests.processing import INPUT, OUTPUT, processing_request
from lesion_jobs.requests.registry import Approval, package_request
from lesion_jobs.requests.training import as_text, training_request
from lesion_jobs.requests.validate import find_faults
from lesion_jobs.runs.evaluation import EVALUATE, MODEL
from lesion_jobs.runs.processing import SHARDS, SHARDS_OWN

Json = dict[str, Any]

JOB = "/opt/ml/processing/job"  # a whole job, as `lesion check` reads it
CHAMPION = "/opt/ml/processing/champion"
OUTPUT_NAME, VERDICT = "written", "verdict"
TRAINED = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")

# Type of a step → the operation whose request its arguments are, and the name that SageMaker gives the job itself.
OPERATIONS = {
    "Processing": ("CreateProcessingJob", "ProcessingJobName"),
    "Training": ("CreateTrainingJob", "TrainingJobName"),
    "RegisterModel": ("CreateModelPackage", None),
}


@dataclass(frozen=True)
class Plan:
    """What a pipeline does with which data, checked. `environment.output` is the pipeline's own prefix."""

    name: str
    environment: Environment
    channels: Mapping[str, str]  # of the training; a test set is added
    test: str
    bar: float
    champion: str | None
    margin: float
    hyperparameters: Mapping[str, object]
    group: str
    approval: Approval
    shards: Mapping[str, object] | None  # options of `lesion prepare shards`; none trains on the data as it is
    num_instances: int
    volume_gb: int
    max_hours: float
    use_spot: bool
    cache_days: int | None


def make_definition(plan: Plan) -> Json:
    """The pipeline's JSON. Data, test set, bar and champion are parameters, which each execution may set anew."""
    parameters: list[Json] = [
        {"Name": "Data", "Type": "String", "DefaultValue": plan.channels["training"]},
        {"Name": "Test", "Type": "String", "DefaultValue": plan.test},
        {"Name": "Bar", "Type": "Float", "DefaultValue": plan.bar},
    ]
    if plan.champion is not None:
        parameters.append({"Name": "Champion", "Type": "String", "DefaultValue": plan.champion})
    data, test = get("Parameters.Data"), get("Parameters.Test")
    steps: list[Json] = []
    if plan.shards is not None:
        arguments = command_arguments(SHARDS, plan.shards, own=SHARDS_OWN)
        steps.append(_processing(plan, "Prepare", SHARDS, arguments, {"data": (data, INPUT)}))
        data = output_of("Prepare", OUTPUT_NAME)
    channels = {**plan.channels, "training": data, "test": test}
    steps.append(_check(plan, channels))
    if plan.champion is not None:
        champion = {"data": (test, INPUT), "model": (get("Parameters.Champion"), MODEL)}
        # Before the training is paid for: a champion of another task, or that is no artifact, is refused here.
        steps.append(_processing(plan, "EvaluateChampion", EVALUATE, [], champion, after=["Check"]))
    steps += [_train(plan, channels, after=[steps[-1]["Name"]]), _evaluate(plan, test), _decide(plan)]
    return {"Version": "2020-12-01", "Metadata": {}, "Parameters": parameters, "Steps": steps}


def definition_faults(definition: Json) -> list[str]:
    """A sentence for each place in which a step's arguments break botocore's description of its operation."""
    defaults = {f"Parameters.{one['Name']}": one["DefaultValue"] for one in definition["Parameters"]}
    faults = []
    for step in all_steps(definition["Steps"]):
        if step["Type"] not in OPERATIONS:
            continue
        operation, name = OPERATIONS[step["Type"]]
        # What only an execution knows is held by an S3 address, for nothing else is passed from step to step.
        request = resolve(step["Arguments"], lambda path: defaults.get(path, "s3://bucket/key"))
        named = request if name is None else {**request, name: "made-by-sagemaker"}
        faults += [f"step {step['Name']}: {fault}" for fault in find_faults(operation, named)]
    return faults


def all_steps(steps: Sequence[Json]) -> list[Json]:
    """The steps, and those that a condition chooses among."""
    branches = [step["Arguments"][way] for step in steps if step["Type"] == "Condition" for way in _WAYS]
    return [*steps, *(step for branch in branches for step in all_steps(branch))]


_WAYS = ("IfSteps", "ElseSteps")


def _check(plan: Plan, channels: Mapping[str, Any]) -> Json:
    command = ("check", JOB, "--output", OUTPUT, "--no-progress")
    settings = {name: as_text(value) for name, value in plan.hyperparameters.items()}
    arguments = command_arguments(command, {"set": settings} if settings else {}, own=())
    inputs = {channel: (uri, f"{JOB}/input/data/{channel}") for channel, uri in channels.items()}
    return _processing(plan, "Check", command, arguments, inputs)


def _train(plan: Plan, channels: Mapping[str, Any], *, after: Sequence[str]) -> Json:
    request = training_request(
        plan.environment,
        "",
        channels,
        plan.hyperparameters,
        num_instances=plan.num_instances,
        volume_gb=plan.volume_gb,
        max_hours=plan.max_hours,
        use_spot=plan.use_spot,
        # Of this execution alone: another's states would be refused, or resumed.
        checkpoints=_of_execution(plan, "checkpoints") if plan.use_spot else None,
    )
    return _step(plan, "Train", "Training", request, after=after)


def _evaluate(plan: Plan, test: Any) -> Json:
    inputs = {"data": (test, INPUT), "model": (TRAINED, MODEL)}
    arguments: list[str] = []
    if plan.champion is not None:
        inputs["champion"] = (output_of("EvaluateChampion", OUTPUT_NAME), CHAMPION)
        arguments = ["--champion", CHAMPION, "--margin", f"{plan.margin:g}"]
    step = _processing(plan, "Evaluate", EVALUATE, arguments, inputs)
    file = {"PropertyFileName": VERDICT, "OutputName": OUTPUT_NAME, "FilePath": "verdict.json"}
    return {**step, "PropertyFiles": [file]}


def _decide(plan: Plan) -> Json:
    conditions = [
        {"Type": "GreaterThanOrEqualTo", "LeftValue": _verdict("roc_auc_low"), "RightValue": get("Parameters.Bar")}
    ]
    if plan.champion is not None:
        conditions.append({"Type": "Equals", "LeftValue": _verdict("is_not_inferior"), "RightValue": True})
    said = join("", "The bar is ", get("Parameters.Bar"), ". ", _verdict("said"))
    refuse = {"Name": "Refuse", "Type": "Fail", "Arguments": {"ErrorMessage": said}}
    request = package_request(
        plan.environment,
        plan.group,
        TRAINED,
        statistics_uri=join("/", output_of("Evaluate", OUTPUT_NAME), "metrics.json"),
        approval=plan.approval,
        description=f"pipeline {plan.name}",
    )
    register = {"Name": "Register", "Type": "RegisterModel", "Arguments": request}
    branches = {"IfSteps": [register], "ElseSteps": [refuse]}
    return {"Name": "Decide", "Type": "Condition", "Arguments": {"Conditions": conditions, **branches}}


def _verdict(path: str) -> Any:
    return json_get("Evaluate", VERDICT, path)


def _processing(
    plan: Plan,
    step: str,
    command: Sequence[str],
    arguments: Sequence[str],
    inputs: Mapping[str, tuple[Any, str]],
    *,
    after: Sequence[str] = (),
) -> Json:
    request = processing_request(
        plan.environment,
        "",
        command,
        arguments,
        inputs=inputs,
        output=(OUTPUT_NAME, _of_execution(plan, step)),
        volume_gb=plan.volume_gb,
        max_hours=plan.max_hours,
    )
    return _step(plan, step, "Processing", request, after=after)


def _step(plan: Plan, name: str, type_: str, request: Json, *, after: Sequence[str]) -> Json:
    """A step whose job SageMaker names itself. `after` are steps whose outputs it does not read."""
    arguments = {key: value for key, value in request.items() if key != OPERATIONS[type_][1]}
    step: Json = {"Name": name, "Type": type_, "Arguments": arguments}
    if after:
        step["DependsOn"] = list(after)
    if plan.cache_days is not None:
        step["CacheConfig"] = {"Enabled": True, "ExpireAfter": f"P{plan.cache_days}D"}
    return step


def _of_execution(plan: Plan, what: str) -> Any:
    return join("/", plan.environment.output_uri, get(EXECUTION_ID), what)
