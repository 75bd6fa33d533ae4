"""Execution: the handle of a pipeline that runs on SageMaker: wait for it, see its steps, take what they made."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.argument_types import check_fields, typed
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_within
from lesion_jobs.pipelines.expressions import find
from lesion_jobs.runs.evaluation import EvaluationRun
from lesion_jobs.runs.job import GOES_ON
from lesion_jobs.runs.models import ModelVersion
from lesion_jobs.runs.processing import ProcessingRun
from lesion_jobs.runs.training import TrainingRun, describe_run

RUNNING = {"Executing", "Stopping"}
Step = Mapping[str, Any]


@dataclass(frozen=True)
class Execution:
    """One execution by its ARN. `environment` is that of its pipeline, whose output is the pipeline's prefix."""

    arn: str
    environment: Environment

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def pipeline(self) -> str:
        """arn:aws:sagemaker:REGION:ACCOUNT:pipeline/NAME/execution/ID"""
        return self.arn.split("/")[1]

    def describe(self) -> Mapping[str, Any]:
        """SageMaker's own description. Raises UserError for an execution that is not known."""
        with plain_errors(f"the execution {self.arn} cannot be described", do=GOES_ON):
            client = open_client(self.environment)
            answer: Mapping[str, Any] = client.describe_pipeline_execution(PipelineExecutionArn=self.arn)
        return answer

    def steps(self) -> list[Step]:
        """SageMaker's description of each step that has begun, in that order."""
        with plain_errors(f"the steps of {self.arn} cannot be listed", do=GOES_ON):
            pages = open_client(self.environment).get_paginator("list_pipeline_execution_steps")
            listed = pages.paginate(PipelineExecutionArn=self.arn, SortOrder="Ascending")
            return [step for page in listed for step in page["PipelineExecutionSteps"]]

    @typed
    def wait(self, *, poll_s: float = 30) -> Self:
        """Returns the handle once all steps are done, and says meanwhile how they stand.

        Raises UserError that names the failed step, its reason and its job. One that was stopped is told, and no error.
        """
        check_within("poll_s", poll_s, 0)
        told: dict[str, str] = {}
        while True:
            status = self.describe()["PipelineExecutionStatus"]
            steps = self.steps()  # after the status, so that no failed step is missing
            for step in steps:
                if told.get(step["StepName"]) != (state := _state(step)):
                    told[step["StepName"]] = state
                    print(f"step {step['StepName']}: {state}", flush=True)  # noqa: T201
            if status not in RUNNING:
                break
            time.sleep(poll_s)
        if status == "Stopped":
            print(f"pipeline {self.pipeline} was stopped", flush=True)  # noqa: T201
        elif status != "Succeeded":
            raise self._failure(steps)
        return self

    @typed
    def job(self, step: str) -> TrainingRun | ProcessingRun:
        """The job of a step, such as "Train" or "Check": `.logs()`, `.describe()`.

        Raises UserError for a step that has not begun, or has no job.
        """
        metadata = self._metadata(step)
        arn = metadata.get("TrainingJob", metadata.get("ProcessingJob", {})).get("Arn")
        if arn is None:
            raise UserError(f"step {step} has no job", do="Ask for a step that trains or processes.", kind="location")
        name = arn.rpartition("/")[2]
        if "TrainingJob" in metadata:
            return describe_run(self.environment, name)
        job = ProcessingRun(name, self.environment, "")
        output = find("ProcessingOutputConfig.Outputs", job.describe())[0]["S3Output"]["S3Uri"]
        return ProcessingRun(name, self.environment, output)

    def evaluation(self) -> EvaluationRun:
        """The evaluation of the model, for `fetch_evaluation`: its report, and verdict.json. Also of a refused one."""
        job = self.job("Evaluate")
        assert isinstance(job, ProcessingRun)
        return EvaluationRun(job.name, job.environment, job.output)

    def model_version(self) -> ModelVersion:
        """The registered model, which `deploy` and `rollout` take once it is approved. Raises UserError for none."""
        arn = self._metadata("Register").get("RegisterModel", {}).get("Arn")
        if arn is None:
            raise UserError(f"pipeline {self.pipeline} has not registered a model", do="Wait for it.", kind="location")
        return ModelVersion(arn, self.environment)

    def _metadata(self, name: str) -> Mapping[str, Any]:
        steps = {step["StepName"]: step for step in self.steps()}
        if name not in steps:
            begun = ", ".join(steps) or "none"
            raise UserError(f"step {name} has not begun; these have: {begun}", do="Wait for it.", kind="location")
        found: Mapping[str, Any] = steps[name].get("Metadata", {})
        return found

    def _failure(self, steps: list[Step]) -> UserError:
        failed = [step for step in steps if step["StepStatus"] == "Failed"]
        refused = next((step for step in failed if "Fail" in step.get("Metadata", {})), None)
        if refused is not None:
            said = refused["Metadata"]["Fail"]["ErrorMessage"].rstrip(".")
            do = "Its report: fetch_evaluation(execution.evaluation(), FOLDER)."
            return UserError(
                f"pipeline {self.pipeline} refuses the model: {said}", where=self.arn, do=do, kind="refused"
            )
        if not failed:
            why = self.describe().get("FailureReason", "no reason is known")
            return UserError(f"pipeline {self.pipeline} failed: {why}", where=self.arn, do="Look at it in the console.")
        said = "; ".join(f"step {step['StepName']}: {step.get('FailureReason', 'no reason')}" for step in failed)
        do = f'Its log says more: execution.job("{failed[0]["StepName"]}").logs().'
        return UserError(f"pipeline {self.pipeline} failed in {said}", where=self.arn, do=do, kind="job_failed")


def _state(step: Step) -> str:
    return f"{step['StepStatus']}, as before" if "CacheHitResult" in step else str(step["StepStatus"])
