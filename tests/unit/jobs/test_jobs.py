"""Jobs on SageMaker as moto plays it: what is sent and in which order, what is waited for, and what comes back."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from requested import IMAGE, KEY, ROLE
from wire import account

from lesion.errors import UserError
from lesion_jobs import (
    Endpoint,
    Environment,
    Later,
    TrainingRun,
    TransformRun,
    delete_endpoint,
    deploy,
    evaluate,
    fetch_evaluation,
    fetch_predictions,
    fetch_results,
    monitor,
    predict,
    predict_later,
    prepare_shards,
    train,
    transform,
    upload,
)
from lesion_jobs.hosting import Async, Capture, Serverless
from lesion_jobs.runs.registry import make_group

MODEL = "s3://bucket/run/output/model.tar.gz"
PLAIN = {"pretrained": False}


def test_a_training_job_is_checked_priced_sent_and_waited_for(capsys):
    with account() as (wire, environment):
        run = train(environment, "s3://bucket/data", hyperparameters=PLAIN, name="job", max_hours=2)
        assert wire.operations == [
            *("sts.GetCallerIdentity", "iam.GetRole", "ecr.DescribeImages", "service-quotas.ListServiceQuotas"),
            *("s3.HeadBucket", "s3.ListObjectsV2", "pricing.GetProducts", "sagemaker.CreateTrainingJob"),
            *("sagemaker.DescribeTrainingJob", "cloudwatch-logs.DescribeLogStreams"),
        ]
        body = wire.body("sagemaker.CreateTrainingJob")
        assert body["CheckpointConfig"]["S3Uri"] == run.checkpoints == "s3://bucket/lesion/job/checkpoints"
        assert run.describe()["TrainingJobStatus"] == "Completed"
    printed = capsys.readouterr().out
    # 1.50 USD an hour is what the table in place of the price list says.
    assert "cost: at most 3.00 USD (1 × ml.m5.xlarge × 1.5 USD an hour × 2 h)" in printed
    assert f"region=eu-central-1#logsV2:log-groups/log-group/{'$252Faws$252Fsagemaker$252FTrainingJobs'}" in printed


def test_without_wait_nothing_is_waited_for_and_the_handle_does_it_later():
    with account() as (wire, environment):
        run = train(environment, "s3://bucket/data", hyperparameters=PLAIN, wait=False)
        assert wire.operations[-1] == "sagemaker.CreateTrainingJob"
        assert run.wait(print_logs=False) is run and TrainingRun(run.name, environment, "", "", None).wait()


STATES: dict[str, tuple[list[dict[str, str]], str | None]] = {
    "it runs, then completes": ([{"TrainingJobStatus": "InProgress"}, {"TrainingJobStatus": "Completed"}], None),
    "it fails": (
        [{"TrainingJobStatus": "Failed", "FailureReason": "AlgorithmError: column 'target' not found"}],
        "training job job failed: AlgorithmError: column 'target' not found",
    ),
    "it reaches its time limit": ([{"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}], None),
}


def now_ms() -> int:
    """The time as CloudWatch counts it, which takes no lines that are weeks old."""
    return round(1000 * time.time())


@pytest.mark.parametrize("kind", STATES)
def test_a_handle_waits_until_the_job_ends_and_tells_how(kind: str, capsys):
    states, said = STATES[kind]
    with account() as (wire, environment):
        run = TrainingRun("job", environment, "", "", None)
        answers = iter(states)

        def next_answer() -> None:
            wire.answers["sagemaker.DescribeTrainingJob"] = (200, next(answers))

        wire.before["DescribeTrainingJob"] = next_answer
        with nullcontext() if said is None else pytest.raises(UserError, match=said):
            run.wait(poll_s=0)
        assert wire.operations.count("sagemaker.DescribeTrainingJob") == len(states)
    assert ("was stopped: MaxRuntimeExceeded" in capsys.readouterr().out) == (kind == "it reaches its time limit")


def test_the_log_of_a_job_is_read_to_its_end_and_no_neighbours(capsys):
    with account() as (wire, environment):
        logs, group = wire.session.client("logs"), "/aws/sagemaker/TrainingJobs"
        logs.create_log_group(logGroupName=group)
        for stream, lines in {
            "job/algo-1-1": ["epoch 1", "epoch 2"],
            "job/algo-2-1": ["other"],
            "job2/a": ["no"],
        }.items():
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
            events = [{"timestamp": now_ms() + i, "message": line} for i, line in enumerate(lines)]
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        run = TrainingRun("job", environment, "", "", None)
        assert list(run.logs()) == ["epoch 1", "epoch 2", "other"]
        wire.answers["sagemaker.DescribeTrainingJob"] = (200, {"TrainingJobStatus": "Completed"})
        run.wait()
        assert capsys.readouterr().out.splitlines() == ["epoch 1", "epoch 2", "other"]
        denied = "User: u is not authorized to perform: logs:DescribeLogStreams on resource: x"
        wire.refuse("cloudwatch-logs.DescribeLogStreams", "AccessDeniedException", denied)
        run.wait()  # waiting goes on without the log
        assert "the permission logs:DescribeLogStreams is missing" in capsys.readouterr().out


LOST = EndpointConnectionError(endpoint_url="https://logs")
BUSY = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "DescribeLogStreams")


def failing(*errors: Exception) -> Callable[[], None]:
    """What raises the errors, one a call, and then nothing more."""
    left = iter(errors)

    def fail() -> None:
        for error in left:
            raise error

    return fail


def test_a_log_that_cannot_be_read_for_a_while_is_read_later(capsys):
    with account() as (wire, environment):
        logs, where = wire.session.client("logs"), {"logGroupName": "/aws/sagemaker/TrainingJobs"}
        logs.create_log_group(**where)
        logs.create_log_stream(**where, logStreamName="job/algo-1-1")
        event = {"timestamp": now_ms(), "message": "epoch 1"}
        logs.put_log_events(**where, logStreamName="job/algo-1-1", logEvents=[event])
        states = iter(["InProgress", "InProgress", "Completed"])

        def next_state() -> None:
            wire.answers["sagemaker.DescribeTrainingJob"] = (200, {"TrainingJobStatus": next(states)})

        wire.before["DescribeTrainingJob"] = next_state
        wire.before["DescribeLogStreams"] = failing(LOST, BUSY)
        TrainingRun("job", environment, "", "", None).wait(poll_s=0)
    lost, busy, line = capsys.readouterr().out.splitlines()
    assert lost.startswith("no log: ") and "https://logs" in lost and "Rate exceeded" in busy and line == "epoch 1"


def test_without_a_network_no_verb_ends_in_boto3s_words():
    with account() as (wire, environment):
        later = Later(environment, "s3://bucket/a.jpg", "s3://bucket/a.out", "s3://bucket/a.no")
        wire.before["GetObject"] = wire.before["DescribeModelPackageGroup"] = failing(LOST, LOST)
        with pytest.raises(UserError, match=r"s3://bucket/a.out cannot be read: .*https://logs"):
            later.result()
        with pytest.raises(UserError, match=r"the group skin is not known: .*https://logs"):
            make_group(environment, "skin")


def test_shards_and_evaluations_are_processing_jobs(tmp_path: Path):
    with account() as (wire, environment):
        shards = prepare_shards(environment, "s3://bucket/data", options={"size": 64}, name="shards")
        body = wire.body("sagemaker.CreateProcessingJob")
        assert body["AppSpecification"]["ContainerArguments"] == ["--size", "64"]
        assert body["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"] == shards.output
        wire.sent.clear()
        options = {"set": {"target_column": "dx"}}
        judged = evaluate(environment, MODEL, "s3://bucket/new", options=options, name="judged")
        body = wire.body("sagemaker.CreateProcessingJob")
        assert body["AppSpecification"]["ContainerEntrypoint"] == [
            *("lesion", "evaluate", "/opt/ml/processing/input", "--model", "/opt/ml/processing/model"),
            *("--output", "/opt/ml/processing/output", "--no-progress"),
        ]
        read = {item["S3Input"]["LocalPath"]: item["S3Input"]["S3Uri"] for item in body["ProcessingInputs"]}
        assert read == {"/opt/ml/processing/input": "s3://bucket/new", "/opt/ml/processing/model": MODEL}
        for name in ("judged/report.html", "judged_later/metrics.json"):
            wire.session.client("s3").put_object(Bucket="bucket", Key=f"lesion/{name}", Body=b"x")
        assert [path.name for path in fetch_evaluation(judged, tmp_path).iterdir()] == ["report.html"]


def test_an_evaluation_on_the_images_of_the_training_is_said_to_be_too_good(capsys):
    with account() as (_wire, environment):
        run = train(environment, "s3://bucket/data", hyperparameters=PLAIN, name="job")
        run = replace(run, model=MODEL)
        capsys.readouterr()
        evaluate(environment, run, "s3://bucket/data/", wait=False)
        assert "shares files with channel 'training' of job" in capsys.readouterr().out
        evaluate(environment, run, "s3://bucket/new", wait=False)
        assert "shares files" not in capsys.readouterr().out
        evaluate(environment, replace(run, name="gone"), "s3://bucket/data", wait=False)
        assert "not checked: whether the model was trained on this set" in capsys.readouterr().out


def test_a_machine_is_not_paid_for_what_a_model_of_anomalies_cannot_do():
    with account() as (wire, environment):
        settings = {"algorithm": "anomaly", "scorer": "gan"}
        run = train(environment, "s3://bucket/data", hyperparameters=settings, name="job")
        endpoint = deploy(environment, MODEL, capture=Capture())
        wire.sent.clear()
        with pytest.raises(UserError, match=r"judges no further labelled sets \(job\). Give the set as"):
            evaluate(environment, replace(run, model=MODEL), "s3://bucket/new")
        with pytest.raises(UserError, match=r"keeps nothing that served images could be compared with.* \(job\)"):
            monitor(environment, endpoint, replace(run, model=MODEL))
        assert not [operation for operation in wire.operations if "Create" in operation]


def test_an_endpoint_is_made_answers_and_is_deleted_whole():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, name="skin")
        assert endpoint.describe()["EndpointStatus"] == "InService"
        assert predict(endpoint, b"\xff\xd8\xff and so on").label == "benign"
        delete_endpoint(endpoint)
        sagemaker = wire.session.client("sagemaker")
        assert sagemaker.list_endpoints()["Endpoints"] == sagemaker.list_models()["Models"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []


def test_a_picture_that_the_container_refuses_is_told_in_its_own_words():
    words = json.dumps({"error": "unreadable_image", "message": "request body is not a picture"})
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, wait=False)
        wire.refuse("sagemaker-runtime.InvokeEndpoint", "ModelError", "…", status=424, OriginalMessage=words)
        with pytest.raises(UserError, match="request body is not a picture"):
            predict(endpoint, b"no picture")


def test_a_batch_leaves_no_model_behind_and_its_predictions_come_back():
    with account() as (wire, environment):
        run = transform(environment, MODEL, "s3://bucket/new", name="batch")
        assert wire.session.client("sagemaker").list_models()["Models"] == []
        for name, prob in {"batch/a.jpg": 0.1, "batch/deeper/b.jpg": 0.9, "batch_2/c.jpg": 0.5}.items():
            answer = {"predictions": [{"probability": prob, "label": "benign"}]}
            key = f"lesion/{name}.out"
            wire.session.client("s3").put_object(Bucket="bucket", Key=key, Body=json.dumps(answer).encode())
        assert {name: p.probability for name, p in fetch_predictions(run).items()} == {
            "a.jpg": 0.1,
            "deeper/b.jpg": 0.9,
        }
        with pytest.raises(UserError, match="there is nothing in S3"):
            fetch_predictions(TransformRun("other", environment, "s3://bucket/lesion/other"))


def test_files_go_to_s3_encrypted_and_come_back(tmp_path: Path):
    with account(kms_key=KEY) as (wire, environment):
        (tmp_path / "data" / "train_jpg").mkdir(parents=True)
        for name in ("train.csv", "train_jpg/a.jpg"):
            (tmp_path / "data" / name).write_text(name)
        uploaded = upload(environment, tmp_path / "data")
        assert uploaded.startswith("s3://bucket/lesion/lesion-data-")
        key = f"{uploaded.removeprefix('s3://bucket/')}/train_jpg/a.jpg"
        stored = wire.session.client("s3").get_object(Bucket="bucket", Key=key)
        assert (stored["Body"].read(), stored["SSEKMSKeyId"]) == (b"train_jpg/a.jpg", KEY)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in ("report.html", "metrics.json"):
                tar.addfile(tarfile.TarInfo(name))
        run = TrainingRun("run", environment, "", "s3://bucket/lesion/run/output/output.tar.gz", None)
        wire.session.client("s3").put_object(
            Bucket="bucket", Key="lesion/run/output/output.tar.gz", Body=packed.getvalue()
        )
        assert {p.name for p in fetch_results(run, tmp_path / "here").iterdir()} == {"report.html", "metrics.json"}


def test_an_upload_follows_links_once_around_and_says_what_s3_refuses(tmp_path: Path):
    data, images = tmp_path / "data", tmp_path / "images"
    for folder in (data, images):
        folder.mkdir()
    for file in (data / "train.csv", images / "a.jpg"):
        file.write_text("x")
    (data / "train_jpg").symlink_to(images)
    (data / "test_jpg").symlink_to(images)
    (images / "back").symlink_to(data)
    with account() as (wire, environment):
        uploaded = upload(environment, data)
        s3 = wire.session.client("s3")
        listed = s3.list_objects_v2(Bucket="bucket", Prefix=uploaded.removeprefix("s3://bucket/"))["Contents"]
        files = [f"s3://bucket/{one['Key']}".removeprefix(f"{uploaded}/") for one in listed]
        assert files == ["test_jpg/a.jpg", "train.csv", "train_jpg/a.jpg"]
        denied = (
            "<Error><Code>AccessDenied</Code><Message>not authorized to perform: s3:PutObject on x</Message></Error>"
        )
        wire.answers["s3.PutObject"] = (403, denied)
        with pytest.raises(UserError, match=r"data was not uploaded: the permission s3:PutObject is missing"):
            upload(environment, data)


def test_a_serverless_endpoint_has_memory_and_no_machines(capsys):
    with account(isolated=False) as (wire, environment):
        deploy(environment, MODEL, how=Serverless(memory_gb=3, max_concurrency=2), wait=False)
        (variant,) = wire.body("sagemaker.CreateEndpointConfig")["ProductionVariants"]
        assert variant["ServerlessConfig"] == {"MemorySizeInMB": 3072, "MaxConcurrency": 2}
        assert not {"InstanceType", "InitialInstanceCount", "InferenceAmiVersion"} & set(variant)
        assert "service-quotas.ListServiceQuotas" not in wire.operations
    assert "by the second of each request, with 3 GB" in capsys.readouterr().out


def test_an_asynchronous_endpoint_writes_answers_and_failures_into_the_bucket():
    with account(kms_key=KEY) as (wire, environment):
        deploy(environment, MODEL, name="later", how=Async(max_concurrent=2), wait=False)
        assert wire.body("sagemaker.CreateEndpointConfig")["AsyncInferenceConfig"] == {
            "OutputConfig": {
                "S3OutputPath": "s3://bucket/answers/later",
                "S3FailurePath": "s3://bucket/answers/later/failures",
                "KmsKeyId": KEY,
            },
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
        }


def test_a_picture_in_the_queue_is_answered_or_refused_later():
    with account() as (wire, environment):
        endpoint = deploy(environment, MODEL, how=Async(), wait=False)
        places = {"x-amzn-SageMaker-OutputLocation": "s3://bucket/answers/1.out"}
        places["x-amzn-SageMaker-FailureLocation"] = "s3://bucket/answers/failures/1.out"
        wire.headers["sagemaker-runtime.InvokeEndpointAsync"] = places
        wire.answers["sagemaker-runtime.InvokeEndpointAsync"] = (202, {"InferenceId": "1"})
        asked = predict_later(endpoint, "s3://bucket/new/a.jpg")
        assert asked.result() is None
        put = wire.session.client("s3").put_object
        words = {"error": "unreadable_image", "message": "not a picture"}
        put(Bucket="bucket", Key="answers/failures/1.out", Body=json.dumps(words).encode())
        with pytest.raises(UserError, match="not a picture"):
            asked.result()
        answer = {"predictions": [{"probability": 0.25, "label": "benign"}]}
        put(Bucket="bucket", Key="answers/1.out", Body=json.dumps(answer).encode())
        told = asked.result()
        assert told is not None and told.probability == 0.25


def test_an_endpoint_without_a_queue_is_asked_directly():
    with account() as (wire, environment):
        wire.refuse("sagemaker-runtime.InvokeEndpointAsync", "ValidationError", "Endpoint is not asynchronous")
        with pytest.raises(UserError, match=r"has no queue: .* Ask it directly: predict\(endpoint, picture\)"):
            predict_later(deploy(environment, MODEL, wait=False), "s3://bucket/new/a.jpg")
        with pytest.raises(UserError, match=r"did not take the request: .*not asynchronous"):  # what it is is not known
            predict_later(Endpoint("elsewhere", environment), "s3://bucket/new/a.jpg")


def test_the_queue_takes_no_picture_of_this_machine():
    with account() as (wire, environment):
        with pytest.raises(UserError, match=r"from S3 alone \(/tmp/x.jpg\). Copy it there first"):
            predict_later(Endpoint("later", environment), "/tmp/x.jpg")
        assert wire.operations == []


def test_requests_and_answers_are_captured_where_it_is_asked_for():
    with account() as (wire, environment):
        deploy(environment, MODEL, name="seen", capture=Capture(percent=20), wait=False)
        config = wire.body("sagemaker.CreateEndpointConfig")["DataCaptureConfig"]
        assert config["DestinationS3Uri"] == "s3://bucket/captured"
        assert config["EnableCapture"] and config["InitialSamplingPercentage"] == 20
        assert [option["CaptureMode"] for option in config["CaptureOptions"]] == ["Input", "Output"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"how": Serverless()}, "isolated=False"),
        ({"how": Serverless(), "capture": Capture()}, "leave capture out"),
        ({"how": Serverless(), "num_instances": 2}, "leave num_instances out"),
        ({"how": Async(), "capture": Capture()}, "Async writes each answer to S3 already"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_model_is_made(settings: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        deploy(Environment(IMAGE, "ml.m5.xlarge", "s3://bucket/x", ROLE), MODEL, **settings)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Serverless(memory_gb=7),
        lambda: Serverless(memory_gb=0),
        lambda: Serverless(max_concurrency=201),
        lambda: Async(max_concurrent=1001),
        lambda: Capture(percent=0),
        lambda: Capture(output="bucket/x"),
        lambda: Capture(output="s3://B_ad/x"),
    ],
)
def test_what_sagemaker_does_not_offer_cannot_be_made(wrong):
    with pytest.raises(UserError):
        wrong()


def test_local_mode_has_neither_queue_nor_capture(tmp_path: Path):
    with pytest.raises(UserError, match="local mode has neither"):
        deploy(Environment("i", "local", tmp_path), MODEL, how=Async())
    with pytest.raises(UserError, match="local mode has no queue"):
        predict_later(Endpoint("e", Environment("i", "local", tmp_path)), "s3://bucket/new/a.jpg")
