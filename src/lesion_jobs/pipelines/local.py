"""Local: a pipeline's definition run on this machine, step by step, by the jobs of either SDK's local mode.

The JSON itself is run, with its expressions and conditions. Registering is left out, since local mode has no registry,
and each step runs anew, since it has no cache.
"""

from __future__ import annotations

import json
import operator
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lesion.errors import UserError
from lesion_jobs.account.announce import announce
from lesion_jobs.account.kinds import PROCESSING, TRAINING
from lesion_jobs.account.storage import download
from lesion_jobs.environment import Environment, new_name
from lesion_jobs.local.run import run_job
from lesion_jobs.pipelines.definition import OUTPUT_NAME, VERDICT, Json
from lesion_jobs.pipelines.expressions import find, resolve
from lesion_jobs.runs.evaluation import EvaluationRun
from lesion_jobs.runs.training import TrainingRun, describe_run, train_here

OUTPUT = f"ProcessingOutputConfig.Outputs.{OUTPUT_NAME}.S3Output.S3Uri"
CONDITIONS = {"GreaterThanOrEqualTo": operator.ge, "Equals": operator.eq}


@dataclass(frozen=True)
class LocalExecution:
    """A pipeline that ran here and passed: the model, which `deploy` takes, its evaluation, and what was decided by."""

    run: TrainingRun
    evaluation: EvaluationRun
    verdict: Mapping[str, Any]


@dataclass
class _Progress:
    """What is known up to now: the scope of expressions, and the names of the jobs."""

    pipeline: str
    environment: Environment
    scope: Json
    jobs: dict[str, str] = field(default_factory=dict)  # step → the name of its job


def run_here(name: str, environment: Environment, definition: Json) -> LocalExecution:
    """Runs the steps of the definition in their order. Raises UserError that names step and reason where one fails."""
    execution = {"PipelineName": name, "PipelineExecutionId": new_name("execution")}
    parameters = {one["Name"]: one["DefaultValue"] for one in definition["Parameters"]}
    progress = _Progress(name, environment, {"Execution": execution, "Parameters": parameters, "Steps": {}})
    _run_steps(definition["Steps"], progress)
    evaluated = progress.scope["Steps"]["Evaluate"]
    output = find(OUTPUT, evaluated)
    return LocalExecution(
        describe_run(environment, progress.jobs["Train"]),
        EvaluationRun(progress.jobs["Evaluate"], environment, output),
        evaluated["PropertyFiles"][VERDICT],
    )


def _run_steps(steps: Sequence[Json], progress: _Progress) -> None:
    for step in steps:
        if step["Type"] == "RegisterModel":
            print(f"step {step['Name']}: left out, local mode has no registry", flush=True)  # noqa: T201
            continue
        print(f"step {step['Name']}", flush=True)  # noqa: T201
        if step["Type"] == "Condition":
            _run_steps(step["Arguments"][_way(step["Arguments"]["Conditions"], progress)], progress)
            continue
        arguments = resolve(step["Arguments"], lambda path: find(path, progress.scope))
        if step["Type"] == "Fail":
            said = arguments["ErrorMessage"].rstrip(".")
            report = find(f"Evaluate.{OUTPUT}", progress.scope["Steps"])
            do = "Its report is there: report.html."
            raise UserError(
                f"pipeline {progress.pipeline} refuses the model: {said}", where=report, do=do, kind="refused"
            )
        with _named(step["Name"], progress.pipeline):
            run = _run_training if step["Type"] == "Training" else _run_processing
            progress.scope["Steps"][step["Name"]] = run(step, arguments, progress)


def _run_processing(step: Json, arguments: Json, progress: _Progress) -> Json:
    """Runs the job; returns its properties, the content of its property files among them."""
    name = progress.jobs[step["Name"]] = new_name(step["Name"].lower())
    announce(PROCESSING, name, progress.environment)
    request = {"ProcessingJobName": name, **arguments}
    run_job(progress.environment, "create_processing_job", request, what=f"processing job {name}")
    files = {}
    for file in step.get("PropertyFiles", []):
        uri = find(f"ProcessingOutputConfig.Outputs.{file['OutputName']}.S3Output.S3Uri", arguments)
        with tempfile.TemporaryDirectory() as scratch:
            path = download(progress.environment, uri, scratch) / file["FilePath"]
            files[file["PropertyFileName"]] = json.loads(path.read_text(encoding="utf-8"))
    return {**arguments, "PropertyFiles": files}


def _run_training(step: Json, arguments: Json, progress: _Progress) -> Json:
    """Runs the job; returns its properties, with where its model lies."""
    run = describe_run(progress.environment, new_name(step["Name"].lower()))
    progress.jobs[step["Name"]] = run.name
    announce(TRAINING, run.name, progress.environment)
    train_here(run, {"TrainingJobName": run.name, **arguments})
    return {**arguments, "ModelArtifacts": {"S3ModelArtifacts": run.model}}


def _way(conditions: Sequence[Json], progress: _Progress) -> str:
    """Which branch a condition's step takes: all of them must hold."""
    for condition in conditions:
        left, right = (
            resolve(condition[side], lambda path: find(path, progress.scope)) for side in ("LeftValue", "RightValue")
        )
        if not CONDITIONS[condition["Type"]](left, right):
            return "ElseSteps"
    return "IfSteps"


@contextmanager
def _named(step: str, pipeline: str) -> Iterator[None]:
    """Inside, a UserError says in which step of which pipeline it came."""
    try:
        yield
    except UserError as error:
        what = f"pipeline {pipeline} failed in step {step}: {error.what}"
        raise UserError(what, where=error.where, do=error.do, kind=error.kind) from error
