"""Requests: word for word those that the SageMaker SDK 2 sent for the same calls, and valid as botocore says it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from requested import PLAIN, WHOLE, golden, made, training

from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.errors import UserError, UserErrors
from lesion_jobs.requests.endpoint import endpoint_config_request
from lesion_jobs.requests.model import model_request
from lesion_jobs.requests.processing import processing_request
from lesion_jobs.requests.transform import transform_request
from lesion_jobs.requests.validate import check_requests, find_faults

OBJECTIVE = METRIC_LINES["validation:roc_auc"]


@pytest.mark.parametrize("operation", made())
def test_a_request_is_the_golden_one_and_valid(operation: str):
    request = made()[operation]
    assert find_faults(operation, request) == []
    if operation == "CreateTrainingJob":
        metrics = request["AlgorithmSpecification"].pop("MetricDefinitions")
        assert metrics == [{"Name": metric.name, "Regex": metric.regex} for metric in METRIC_LINES.values()]
    if operation == "CreateHyperParameterTuningJob":
        metrics = request["TrainingJobDefinition"]["AlgorithmSpecification"].pop("MetricDefinitions")
        assert {"Name": OBJECTIVE.name, "Regex": OBJECTIVE.regex} in metrics and len(metrics) <= 20
    assert request == golden(operation)


def test_what_is_not_asked_for_and_what_has_no_gpu_is_left_out():
    job = training(PLAIN, use_spot=False, max_wait_hours=None, checkpoints=None)
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200}
    assert not {"EnableManagedSpotTraining", "VpcConfig", "CheckpointConfig", "Tags"} & set(job)
    (variant,) = endpoint_config_request(PLAIN, "e", "m")["ProductionVariants"]
    resources = transform_request(PLAIN, "t", "m", "s3://b/in", "s3://b/out")["TransformResources"]
    assert not {"InferenceAmiVersion", "TransformAmiVersion", "VolumeKmsKeyId"} & {*variant, *resources}
    processing = processing_request(PLAIN, "p", ["x"], [], inputs={}, output=("o", "s3://b/o"))
    assert "ContainerArguments" not in processing["AppSpecification"] and "Tags" not in processing
    assert set(model_request(PLAIN, "m", "s3://b/m")) == {*golden("CreateModel")} - {"VpcConfig", "Tags"}


def test_a_batch_keeps_within_sagemakers_product_of_requests_and_megabytes():
    job = made()["CreateTransformJob"]
    assert job["MaxConcurrentTransforms"] * job["MaxPayloadInMB"] <= 100


LONG = "x" * 64
FAULTS: dict[str, tuple[str, list[Any], Any, str]] = {
    # what is wrong: operation, path of the value, the value, what is said
    "a name too long": ("CreateTrainingJob", ["TrainingJobName"], LONG, "64 characters where at most 63"),
    "a name with a dot": (
        "CreateModel",
        ["ModelName"],
        "lesion.1",
        "ModelName is 'lesion.1', which is not of the form",
    ),
    "a misspelt machine": (
        "CreateTrainingJob",
        ["ResourceConfig", "InstanceType"],
        "ml.g5.xlarg",
        "does not know, did you mean ml.g5.xlarge?",
    ),
    "too many machines": (
        "CreateProcessingJob",
        ["ProcessingResources", "ClusterConfig", "InstanceCount"],
        101,
        "InstanceCount is 101, more than 100",
    ),
    "no machine": ("CreateTransformJob", ["TransformResources", "InstanceCount"], 0, "valid min value: 1"),
    "too many hyperparameters": (
        "CreateTrainingJob",
        ["HyperParameters"],
        {f"h{number}": "1" for number in range(101)},
        "HyperParameters has 101 entries, more than 100",
    ),
    "a hyperparameter too long": (
        "CreateTrainingJob",
        ["HyperParameters"],
        {"model_args": "x" * 2501},
        "HyperParameters.model_args is 'xxx",
    ),
    "its name too long": (
        "CreateTrainingJob",
        ["HyperParameters"],
        {"x" * 257: "1"},
        "257 characters where at most 256",
    ),
    "too many channels": (
        "CreateTrainingJob",
        ["InputDataConfig"],
        21 * golden("CreateTrainingJob")["InputDataConfig"][:1],
        "InputDataConfig has 21 items, more than 20",
    ),
    "a channel with a blank": (
        "CreateTrainingJob",
        ["InputDataConfig", 0, "ChannelName"],
        "my data",
        "InputDataConfig[0].ChannelName is 'my data'",
    ),
    "no S3": ("CreateModel", ["PrimaryContainer", "ModelDataUrl"], "ftp://b/m", "ModelDataUrl is 'ftp://b/m'"),
    "a role that is none": ("CreateModel", ["ExecutionRoleArn"], "arn:aws:iam::12:role/lesion", "ExecutionRoleArn is"),
    "an unknown field": ("CreateEndpoint", ["Colour"], "blue", 'Unknown parameter in input: "Colour"'),
    "a wrong type": ("CreateTransformJob", ["MaxPayloadInMB"], "25", "Invalid type for parameter MaxPayloadInMB"),
    "a tag with an emoji": ("CreateEndpoint", ["Tags", 0, "Value"], "skin 🙂", "Tags[0].Value is 'skin 🙂'"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_sagemaker_would_refuse_is_refused_here(kind: str):
    operation, path, value, said = FAULTS[kind]
    request = copy.deepcopy(made()[operation])
    inner = request
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (fault, *_) = find_faults(operation, request)
    assert said in fault


def test_letters_of_all_scripts_are_letters_to_a_tag():
    request = made()["CreateEndpoint"] | {"Tags": [{"Key": "Abteilung", "Value": "Übersicht 皮膚 1/2_+-@"}]}
    assert find_faults("CreateEndpoint", request) == []


def test_all_faults_of_all_requests_come_at_once():
    model = made()["CreateModel"] | {"ModelName": LONG, "ExecutionRoleArn": "none"}
    endpoint = made()["CreateEndpoint"] | {"EndpointName": LONG}
    with pytest.raises(UserErrors) as refused:
        check_requests([("CreateModel", model), ("CreateEndpoint", endpoint)])
    assert [error.where for error in refused.value.each] == ["CreateModel"] * 3 + ["CreateEndpoint"]
    assert "nothing was sent" in str(refused.value)


@pytest.mark.parametrize("max_hours", [0, -1, 28 * 24 + 1])
def test_hours_that_sagemaker_does_not_give_are_refused(max_hours: float):
    with pytest.raises(UserError, match="at most 672 hours"):
        training(WHOLE, max_hours=max_hours, max_wait_hours=None)


def test_a_wait_for_spot_machines_that_is_shorter_than_the_job_is_refused():
    with pytest.raises(UserError, match="max_wait_hours=1 is less than max_hours=2"):
        training(WHOLE, max_wait_hours=1)
    assert training(WHOLE, max_wait_hours=None)["StoppingCondition"]["MaxWaitTimeInSeconds"] == 4 * 3600
