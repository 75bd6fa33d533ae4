"""Runs in the SDK 2's own environment: what the SDK itself writes for steps like ours, into definition.json.

python sdk2_definition.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import boto3
from sagemaker.estimator import Estimator
from sagemaker.model import Model
from sagemaker.model_metrics import MetricsSource, ModelMetrics
from sagemaker.processing import ProcessingInput, ProcessingOutput, Processor
from sagemaker.workflow.condition_step import ConditionStep
from sagemaker.workflow.conditions import ConditionEquals, ConditionGreaterThanOrEqualTo
from sagemaker.workflow.execution_variables import ExecutionVariables
from sagemaker.workflow.fail_step import FailStep
from sagemaker.workflow.functions import Join, JsonGet
from sagemaker.workflow.model_step import ModelStep
from sagemaker.workflow.parameters import ParameterFloat
from sagemaker.workflow.pipeline import Pipeline
from sagemaker.workflow.pipeline_context import PipelineSession
from sagemaker.workflow.properties import PropertyFile
from sagemaker.workflow.steps import CacheConfig, ProcessingStep, TrainingStep

ROLE, IMAGE, MACHINE = "arn:aws:iam::123456789012:role/lesion", "lesion", "ml.m5.xlarge"


def main(folder: Path) -> None:
    aws = boto3.Session("made-up", "made-up", region_name="eu-central-1")
    session = PipelineSession(boto_session=aws, default_bucket="bucket")
    bar, cache = ParameterFloat("Bar", 0.85), CacheConfig(enable_caching=True, expire_after="P30D")
    estimator = Estimator(IMAGE, ROLE, 1, MACHINE, output_path="s3://bucket", sagemaker_session=session)
    train = TrainingStep("Train", step_args=estimator.fit({"training": "s3://bucket/data"}), cache_config=cache)
    artifact = train.properties.ModelArtifacts.S3ModelArtifacts
    processor = Processor(ROLE, IMAGE, 1, MACHINE, entrypoint=["lesion"], sagemaker_session=session)
    output = Join("/", ["s3://bucket/lesion/lesion-skin", ExecutionVariables.PIPELINE_EXECUTION_ID, "Evaluate"])
    verdict = PropertyFile("verdict", "written", "verdict.json")
    job = processor.run(
        inputs=[ProcessingInput(artifact, "/opt/ml/processing/model", "model")],
        outputs=[ProcessingOutput("/opt/ml/processing/output", output, "written")],
    )
    evaluate = ProcessingStep("Evaluate", step_args=job, property_files=[verdict], cache_config=cache)
    low, is_not_inferior, said = (
        JsonGet("Evaluate", verdict, path) for path in ("roc_auc_low", "is_not_inferior", "said")
    )
    written = evaluate.properties.ProcessingOutputConfig.Outputs["written"].S3Output.S3Uri
    statistics = MetricsSource("application/json", Join("/", [written, "metrics.json"]))
    model = Model(IMAGE, artifact, ROLE, sagemaker_session=session)
    metrics = ModelMetrics(model_statistics=statistics)
    version = model.register(["image/jpeg"], ["text/csv"], [MACHINE], [MACHINE], model_metrics=metrics)
    decide = ConditionStep(
        "Decide",
        conditions=[ConditionGreaterThanOrEqualTo(low, bar), ConditionEquals(is_not_inferior, True)],
        if_steps=[ModelStep("Register", version)],
        else_steps=[FailStep("Refuse", Join("", ["The bar is ", bar, ". ", said]))],
    )
    steps = [train, evaluate, decide]
    made = Pipeline("lesion-skin", parameters=[bar], steps=steps, sagemaker_session=session)
    (folder / "definition.json").write_text(made.definition())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
