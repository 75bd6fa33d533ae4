"""Runs in the SDK 2's own environment: what lesion_jobs sends to AWS, and what it makes of the answers.

Everything is real, SDK, botocore and its validators, but for the wire: requests are kept and answered from a table. So
no account is needed and nothing leaves this machine.

Leaves found.json in the folder.

    python sdk2_requests.py FOLDER
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import sagemaker
from botocore.awsrequest import AWSResponse
from sagemaker.local.data import get_data_source_instance
from sagemaker.utils import instance_supports_kms
from urllib3 import HTTPResponse

import lesion_jobs
from lesion.errors import UserError
from lesion_jobs.session import sdk_settings

REGION = "eu-central-1"
KEPT = ["x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"]  # headers of an upload
OFFER = {
    "terms": {"OnDemand": {"T": {"priceDimensions": {"D": {"unit": "Hrs", "pricePerUnit": {"USD": "1.5000000000"}}}}}}
}
ANSWERS: dict[str, tuple[int, Any]] = {
    "pricing.GetProducts": (200, {"FormatVersion": "aws_v1", "PriceList": [json.dumps(OFFER)]}),
    "sagemaker.CreateTrainingJob": (200, {"TrainingJobArn": "arn:aws:sagemaker:eu-central-1:1:training-job/x"}),
    "sagemaker.CreateModel": (200, {"ModelArn": "arn:aws:sagemaker:eu-central-1:1:model/x"}),
    "sagemaker.CreateEndpointConfig": (
        200,
        {"EndpointConfigArn": "arn:aws:sagemaker:eu-central-1:1:endpoint-config/x"},
    ),
    "sagemaker.CreateEndpoint": (200, {"EndpointArn": "arn:aws:sagemaker:eu-central-1:1:endpoint/x"}),
    "sagemaker.CreateProcessingJob": (200, {"ProcessingJobArn": "arn:aws:sagemaker:eu-central-1:1:processing-job/x"}),
    "sagemaker.CreateTransformJob": (200, {"TransformJobArn": "arn:aws:sagemaker:eu-central-1:1:transform-job/x"}),
    "sagemaker-runtime.InvokeEndpoint": (200, {"predictions": [{"probability": 0.25, "label": "benign"}]}),
}
OPERATIONS = {
    "price": "pricing.GetProducts",
    "train": "sagemaker.CreateTrainingJob",
    "invoke": "sagemaker-runtime.InvokeEndpoint",
}


class Aws:
    """A sagemaker.Session whose requests are kept instead of sent, and answered from a table of operation → answer."""

    def __init__(self) -> None:
        boto_session = boto3.Session("made-up", "made-up", region_name=REGION)
        boto_session.events.register("before-send", self.answer)
        self.session = sagemaker.Session(boto_session=boto_session, sagemaker_config=sdk_settings())

    def reset(self, **answers: tuple[int, Any]) -> Aws:
        """Forgets requests and files; from now on `answers` stand in for the usual ones."""
        self.requests: list[dict[str, Any]] = []
        self.bucket: dict[str, bytes] = {}
        self.answers = ANSWERS | {OPERATIONS[name]: answer for name, answer in answers.items()}
        return self

    def answer(self, request: Any, event_name: str, **_: Any) -> AWSResponse:
        operation = event_name.removeprefix("before-send.")
        if operation.startswith("s3."):
            return self.answer_from_bucket(request, operation)
        body = request.body or b""
        is_json = body[:1] == b"{"
        self.requests.append({"operation": operation, "body": json.loads(body) if is_json else len(body)})
        status, answer = self.answers[operation]
        raw = HTTPResponse(io.BytesIO(json.dumps(answer).encode()), preload_content=False)
        return AWSResponse(request.url, status, {"content-type": "application/json"}, raw)

    def answer_from_bucket(self, request: Any, operation: str) -> AWSResponse:
        """S3 with the objects in `self.bucket`: list, look, get, put."""
        key = unquote(urlsplit(request.url).path).lstrip("/").removeprefix("bucket").lstrip("/")
        content = b""
        if operation == "s3.PutObject":
            self.bucket[key] = b"something"
            self.requests.append(
                {"operation": operation, "body": {name: str(request.headers.get(name)) for name in KEPT}}
            )
        elif operation == "s3.ListObjectsV2":
            prefix = parse_qs(urlsplit(request.url).query).get("prefix", [""])[0]
            listed = "".join(f"<Contents><Key>{k}</Key></Contents>" for k in self.bucket if k.startswith(prefix))
            content = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>".encode()
        else:
            content = self.bucket[key]
        is_look = operation == "s3.HeadObject"
        raw = HTTPResponse(io.BytesIO(b"" if is_look else content), preload_content=False)
        return AWSResponse(request.url, 200, {"content-length": str(len(content)), "etag": '"e"'}, raw)


def environment(aws: Aws, **changes: Any) -> lesion_jobs.Environment:
    plain: dict[str, Any] = {
        "image": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/lesion:0.1.0",
        "instance_type": "ml.g4dn.xlarge",
        "output": "s3://bucket/lesion",
        "role": "arn:aws:iam::123456789012:role/lesion",
        "session": aws.session,
    }
    return lesion_jobs.Environment(**(plain | changes))


def everything_set(aws: Aws, folder: Path) -> Any:
    """A job, an endpoint, a question and a batch, with all that can be set."""
    aws.reset()
    key = {"kms_key": "arn:aws:kms:eu-central-1:123456789012:key/k", "tags": {"team": "skin"}}
    where = environment(aws, instance_type="ml.p3.2xlarge", subnets=("subnet-1",), security_group_ids=("sg-1",), **key)
    run = lesion_jobs.train(
        where,
        {"training": "s3://bucket/data", "pretrained": "s3://bucket/weights"},
        hyperparameters={"model": "resnet18", "pretrained": True, "model_args": {"pad_type": "same"}, "folds": 5},
        name="everything",
        volume_gb=100,
        max_hours=2,
        use_spot=True,
        max_wait_hours=3,
        input_mode="FastFile",
        wait=False,
    )
    endpoint = lesion_jobs.deploy(where, run, name="everything", num_instances=2, wait=False)
    picture = folder / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff and so on")
    answer = lesion_jobs.predict(endpoint, picture)
    batch = lesion_jobs.transform(where, run, "s3://bucket/new", name="everything", num_instances=3, wait=False)
    options = {"size": 384, "set": {"group_column": "lesion_id"}}
    lesion_jobs.prepare_shards(
        where, "s3://bucket/raw", options=options, name="everything", num_instances=4, max_hours=2, wait=False
    )
    return {
        "requests": aws.requests,
        "run": run.model,
        "batch": batch.output,
        "answer": [answer.probability, answer.label],
    }


def evaluated(aws: Aws, folder: Path) -> Any:
    """A model on another hospital's set, in SageMaker and as local mode is asked for it."""
    aws.reset()
    where = environment(aws, kms_key="arn:aws:kms:eu-central-1:123456789012:key/k")
    model, options = "s3://bucket/run/output/model.tar.gz", {"set": {"target_column": "dx"}}
    run = lesion_jobs.evaluate(where, model, "s3://bucket/other", options=options, name="judged", wait=False)
    (folder / "other").mkdir()
    (folder / "model.tar.gz").write_bytes(b"")
    container = Container()
    with patch("sagemaker.local.local_session._SageMakerContainer", container):
        local = lesion_jobs.Environment("lesion", "local", folder / "jobs")
        lesion_jobs.evaluate(local, str(folder / "model.tar.gz"), folder / "other", options=options, name="here")
        evaluated_here, container.asked = container.asked, {}
        lesion_jobs.prepare_shards(local, folder / "other", options={"size": 64}, name="shards")
    return {"requests": aws.requests, "output": run.output, "local": evaluated_here, "shards": container.asked}


class Container:
    """What local mode would start with compose: keeps what it is asked for. Volumes are resolved by the SDK."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def __call__(self, *_: Any, container_entrypoint: Any, container_arguments: Any, **__: Any) -> Any:
        self.asked["command"] = [*container_entrypoint, *container_arguments]
        return self

    def process(self, inputs: Any, outputs: Any, *_: Any) -> None:
        self.asked["inputs"] = {
            item["S3Input"]["LocalPath"]: get_data_source_instance(item["DataUri"], None).get_root_dir()
            for item in inputs
        }
        self.asked["output"] = outputs["Outputs"][0]["S3Output"]["S3Uri"]


def little_set(aws: Aws, _folder: Path) -> Any:
    """A machine without a GPU, outside a VPC, with AWS's own keys, where the price list refuses to answer."""
    denied = {"__type": "AccessDeniedException", "message": "not authorized to perform: pricing:GetProducts"}
    aws.reset(price=(400, denied))
    where = environment(aws, instance_type="ml.m5.xlarge")
    run = lesion_jobs.train(
        where, "s3://bucket/data", hyperparameters={"pretrained": "false"}, name="little", wait=False
    )
    lesion_jobs.deploy(where, run, name="little", wait=False)
    lesion_jobs.transform(where, run, "s3://bucket/new/", name="little", wait=False)
    return {"requests": aws.requests}


def refused(aws: Aws, folder: Path) -> Any:
    """What is said without Docker, when a picture is refused by the container, and when AWS refuses the job."""
    words = json.dumps({"error": "unreadable_image", "message": "request body is not a picture"})
    refusal = {"__type": "ModelError", "OriginalStatusCode": 400, "OriginalMessage": words}
    limit = {"__type": "ResourceLimitExceeded", "message": "The account-level service limit is 0 Instances"}
    aws.reset(invoke=(424, refusal), train=(400, limit))
    endpoint = lesion_jobs.Endpoint("some", environment(aws))
    os.environ["PATH"] = ""  # no docker
    return [
        said(lambda: lesion_jobs.train(lesion_jobs.Environment("i", "local", folder), folder)),
        said(lambda: lesion_jobs.predict(endpoint, b"no picture")),
        said(lambda: lesion_jobs.train(environment(aws), "s3://b/d", hyperparameters={"pretrained": "false"})),
    ]


def files(aws: Aws, folder: Path) -> Any:
    """What goes to S3 and comes from it: a folder, a run's results, a batch's predictions."""
    aws.reset()
    where = environment(aws, kms_key="arn:aws:kms:eu-central-1:123456789012:key/k")
    (folder / "data" / "train_jpg").mkdir(parents=True)
    for name in ("train.csv", "train_jpg/a.jpg"):
        (folder / "data" / name).write_text("something")
    location = lesion_jobs.upload(where, folder / "data")
    uploaded = sorted(f"s3://bucket/{key}" for key in aws.bucket)

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("report.html", "metrics.json"):
            tar.addfile(tarfile.TarInfo(name))
    run = lesion_jobs.TrainingRun("run", where, "", "s3://bucket/lesion/run/output/output.tar.gz", None)
    aws.bucket["lesion/run/output/output.tar.gz"] = packed.getvalue()
    results = lesion_jobs.fetch_results(run, folder / "results")

    for name, prob in {"a.jpg": 0.1, "deeper/b.jpg": 0.9}.items():
        answer = {"predictions": [{"probability": prob, "label": "benign"}]}
        aws.bucket[f"lesion/batch/{name}.out"] = json.dumps(answer).encode()
    predictions = lesion_jobs.fetch_predictions(lesion_jobs.TransformRun("batch", where, "s3://bucket/lesion/batch"))
    return {
        "location": location,
        "uploaded": uploaded,
        "encrypted": [request["body"] for request in aws.requests],
        "results": sorted(path.name for path in results.iterdir()),
        "predictions": {name: prediction.probability for name, prediction in predictions.items()},
    }


def said(question: Any) -> str:
    try:
        question()
    except UserError as error:
        return str(error)
    return "nothing was refused"


def keys(aws: Aws, _folder: Path) -> Any:
    """Whether we and the SDK agree on which machines take a key for their volumes."""
    families = ["m5", "m5d", "c6i", "g4dn", "g5", "g6", "g6e", "gr6", "p3", "p3dn", "p4d", "p4de", "p5", "p5en", "t3"]
    types = [f"ml.{family}.xlarge" for family in families]
    ours = {t: lesion_jobs.Environment("i", t, "s3://b", "arn:r", kms_key="k").volume_key is not None for t in types}
    return {"ours": ours, "sdk": {t: instance_supports_kms(t) for t in types}}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    aws = Aws()
    found = {case.__name__: case(aws, folder) for case in (everything_set, evaluated, little_set, refused, files, keys)}
    (folder / "found.json").write_text(json.dumps(found))
