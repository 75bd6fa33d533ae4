"""What lesion_jobs asks of AWS: requests as SDK and botocore put them on the wire, validated by botocore. No Docker."""

from __future__ import annotations

import json
from typing import Any

import pytest
from environments import environment, run_script

from lesion.algorithms.classify.metric_lines import METRIC_LINES

KEY = "arn:aws:kms:eu-central-1:123456789012:key/k"
TAGS = [{"Key": "team", "Value": "skin"}]
VPC = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("requests")
    printed = run_script(
        environment("sdk2"), "sdk2_requests.py", folder, variables={"TMPDIR": str(folder)}, limit_s=180
    )
    return {**json.loads((folder / "found.json").read_text()), "printed": printed}


def body(found: dict[str, Any], case: str, operation: str) -> Any:
    (only,) = [r["body"] for r in found[case]["requests"] if r["operation"] == f"sagemaker.{operation}"]
    return only


def test_a_training_job_carries_all_that_people_forget(found):
    job = body(found, "everything_set", "CreateTrainingJob")
    metrics = job["AlgorithmSpecification"].pop("MetricDefinitions")
    assert metrics == [{"Name": metric.name, "Regex": metric.regex} for metric in METRIC_LINES.values()]
    assert len(metrics) <= 40  # SageMaker's limit
    del job["InputDataConfig"]
    assert job == {
        "TrainingJobName": "everything",
        "AlgorithmSpecification": {
            "TrainingInputMode": "FastFile",
            "TrainingImage": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lesion:0.1.0",
        },
        "RoleArn": "arn:aws:iam::123456789012:role/lesion",
        "HyperParameters": {
            "model": "resnet18",
            "pretrained": "true",
            "model_args": '{"pad_type": "same"}',
            "folds": "5",
        },
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/lesion", "KmsKeyId": KEY},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": "ml.p3.2xlarge",
            "VolumeSizeInGB": 100,
            "VolumeKmsKeyId": KEY,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 10800},
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://bucket/lesion/everything/checkpoints"},
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://bucket/lesion", "LocalPath": "/opt/ml/output/tensorboard"},
        "ProfilerConfig": {"DisableProfiler": True},
        "EnableNetworkIsolation": True,
        "EnableInterContainerTrafficEncryption": True,
        "VpcConfig": VPC,
        "Tags": TAGS,
    }


def test_an_endpoint_is_isolated_encrypted_and_on_a_driver_that_runs_the_image(found):
    model = body_of_first(found, "everything_set", "CreateModel")
    assert model["EnableNetworkIsolation"] and model["VpcConfig"] == VPC and model["Tags"] == TAGS
    assert model["PrimaryContainer"]["ModelDataUrl"] == "s3://bucket/lesion/everything/output/model.tar.gz"
    config = body(found, "everything_set", "CreateEndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert config["KmsKeyId"] == KEY and config["Tags"] == TAGS
    assert variant["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-3-1"
    assert variant["InitialInstanceCount"] == 2
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == 600


def test_a_batch_sends_one_picture_a_request_from_exactly_the_folder_that_was_named(found):
    job = body(found, "everything_set", "CreateTransformJob")
    assert job["BatchStrategy"] == "SingleRecord"
    assert job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://bucket/new/"
    assert job["MaxConcurrentTransforms"] * job["MaxPayloadInMB"] <= 100  # SageMaker's limit
    assert job["TransformResources"] == {
        "InstanceCount": 3,
        "InstanceType": "ml.p3.2xlarge",
        "VolumeKmsKeyId": KEY,
        "TransformAmiVersion": "al2-ami-sagemaker-batch-gpu-535",
    }
    assert job["TransformOutput"]["KmsKeyId"] == KEY
    assert found["everything_set"]["answer"] == [0.25, "benign"]


def test_a_processing_job_deals_shards_to_its_instances_and_is_isolated_and_encrypted(found):
    job = body(found, "everything_set", "CreateProcessingJob")
    assert job["AppSpecification"] == {
        "ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lesion:0.1.0",
        "ContainerEntrypoint": [
            *("lesion", "prepare", "shards", "/opt/ml/processing/input"),
            *("--output", "/opt/ml/processing/output", "--no-progress"),
        ],
        "ContainerArguments": ["--size", "384", "--set", "group_column=lesion_id"],
    }
    (read,) = job["ProcessingInputs"]
    assert read["S3Input"]["S3Uri"] == "s3://bucket/raw"
    assert read["S3Input"]["S3DataDistributionType"] == "FullyReplicated"  # each instance plans from the whole table
    written = job["ProcessingOutputConfig"]
    assert written["Outputs"][0]["S3Output"]["S3Uri"] == "s3://bucket/lesion/everything" and written["KmsKeyId"] == KEY
    assert job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 4
    assert job["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KEY
    assert job["NetworkConfig"]["EnableNetworkIsolation"] and job["NetworkConfig"]["VpcConfig"] == VPC
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200} and job["Tags"] == TAGS


def test_an_evaluation_reads_the_model_as_it_is_stored_and_the_set_beside_it(found):
    job = body(found, "evaluated", "CreateProcessingJob")
    command = [
        *("lesion", "evaluate", "/opt/ml/processing/input", "--model", "/opt/ml/processing/model"),
        *("--output", "/opt/ml/processing/output", "--no-progress"),
    ]
    assert job["AppSpecification"]["ContainerEntrypoint"] == command
    assert job["AppSpecification"]["ContainerArguments"] == ["--set", "target_column=dx"]
    read = {item["S3Input"]["LocalPath"]: item["S3Input"]["S3Uri"] for item in job["ProcessingInputs"]}
    assert read == {
        "/opt/ml/processing/input": "s3://bucket/other",
        "/opt/ml/processing/model": "s3://bucket/run/output/model.tar.gz",
    }
    written = job["ProcessingOutputConfig"]
    assert written["Outputs"][0]["S3Output"]["S3Uri"] == found["evaluated"]["output"] == "s3://bucket/lesion/judged"
    assert written["KmsKeyId"] == KEY and job["NetworkConfig"]["EnableNetworkIsolation"]
    assert job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 1


def test_local_mode_evaluates_from_folders_of_this_machine(found):
    asked = found["evaluated"]["local"]
    assert asked["command"][:2] == ["lesion", "evaluate"] and asked["command"][-1] == "target_column=dx"
    folder = asked["output"].removeprefix("file://").removesuffix("/jobs/here")
    assert asked["output"].startswith("file://")
    assert asked["inputs"] == {"/opt/ml/processing/input": f"{folder}/other", "/opt/ml/processing/model": folder}
    shards = found["evaluated"]["shards"]
    assert shards["command"][1:3] == ["prepare", "shards"] and shards["command"][-2:] == ["--size", "64"]
    assert shards["inputs"] == {"/opt/ml/processing/input": f"{folder}/other"}


def test_what_is_not_asked_for_and_what_has_no_gpu_is_left_out(found):
    job = body(found, "little_set", "CreateTrainingJob")
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 24 * 3600}
    assert not {"EnableManagedSpotTraining", "VpcConfig"} & set(job)
    (variant,) = body(found, "little_set", "CreateEndpointConfig")["ProductionVariants"]
    assert "InferenceAmiVersion" not in variant
    assert "TransformAmiVersion" not in body(found, "little_set", "CreateTransformJob")["TransformResources"]


def test_cost_and_logs_are_said_before_each_request(found):
    order = [request["operation"] for request in found["everything_set"]["requests"]]
    assert order.index("pricing.GetProducts") < order.index("sagemaker.CreateTrainingJob")
    asked = [r["body"]["Filters"] for r in found["everything_set"]["requests"] if r["operation"].startswith("pricing")]
    assert [{f["Field"]: f["Value"] for f in filters}["platoinstancetype"] for filters in asked] == [
        "Training",
        "Hosting",
        "BatchTransform",
        "Processing",
    ]
    # 1.50 USD an hour is what the stand-in for the price list says.
    assert "cost: at most 3.00 USD (1 × ml.p3.2xlarge × 1.5 USD an hour × 2 h)" in found["printed"]
    assert "cost: 3.00 USD an hour for 2 × ml.p3.2xlarge, until delete_endpoint(endpoint)" in found["printed"]
    assert "cost: unknown, because the price list did not answer" in found["printed"]
    assert "region=eu-central-1#logsV2:log-groups/log-group/$252Faws$252Fsagemaker$252FTrainingJobs" in found["printed"]


def test_what_is_missing_or_refused_is_told_in_its_own_words(found):
    no_docker, picture, job = found["refused"]
    assert "no `docker` command" in no_docker
    assert "request body is not a picture" in picture
    assert "ResourceLimitExceeded" in job and "0 Instances" in job


def test_files_go_to_s3_encrypted_and_come_back(found):
    files = found["files"]
    assert files["uploaded"] == [f"{files['location']}/train.csv", f"{files['location']}/train_jpg/a.jpg"]
    assert files["location"].startswith("s3://bucket/lesion/")
    assert all(KEY in str(headers) and "aws:kms" in str(headers) for headers in files["encrypted"])
    assert files["results"] == ["metrics.json", "report.html"]
    assert files["predictions"] == {"a.jpg": 0.1, "deeper/b.jpg": 0.9}


def test_we_and_the_sdk_agree_which_machines_take_a_key_for_their_volumes(found):
    assert found["keys"]["ours"] == found["keys"]["sdk"]


def body_of_first(found: dict[str, Any], case: str, operation: str) -> Any:
    return next(r["body"] for r in found[case]["requests"] if r["operation"] == f"sagemaker.{operation}")
