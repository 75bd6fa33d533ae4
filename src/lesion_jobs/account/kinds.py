"""Kinds: what SageMaker calls each kind of job: in requests, on the bill, in quotas and in the logs."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_jobs.account.cost import BilledAs


@dataclass(frozen=True)
class JobKind:
    """A kind of job. `noun` is in all of its API's names: Describe<noun>, <noun>Name, <noun>Status."""

    title: str
    noun: str
    billed_as: BilledAs
    quota: str  # Service Quotas counts its machines as "ml.… for <quota> usage"
    log_group: str  # in CloudWatch; {name}: an endpoint has one of its own
    log_prefix: str = "{name}/"  # with which the names of its log streams begin
    until: str = ""  # what ends it where no time limit does


TRAINING = JobKind("training job", "TrainingJob", "Training", "training job", "/aws/sagemaker/TrainingJobs")
PROCESSING = JobKind("processing job", "ProcessingJob", "Processing", "processing job", "/aws/sagemaker/ProcessingJobs")
TRANSFORM = JobKind(
    "batch transform",
    "TransformJob",
    "BatchTransform",
    "transform job",
    "/aws/sagemaker/TransformJobs",
    until="the last image is predicted",
)
ENDPOINT = JobKind(
    "endpoint",
    "Endpoint",
    "Hosting",
    "endpoint",
    "/aws/sagemaker/Endpoints/{name}",
    log_prefix="",
    until="delete_endpoint(endpoint)",
)
# A tuning job trains: its machines, quota and logs are those of training jobs, whose names begin with its own.
TUNING = JobKind(
    "tuning job",
    "HyperParameterTuningJob",
    "Training",
    "training job",
    "/aws/sagemaker/TrainingJobs",
    log_prefix="{name}-",
)
