"""Wire: a boto3 session that reaches no account: each request is kept, and answered from a table or by moto.

boto3, its validators and its parsers are real. moto holds a whole account in memory where it knows a service; what it
does not know (prices, quotas, an endpoint's answers) the table answers.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from moto import mock_aws
from moto.sagemaker.models import sagemaker_backends
from requested import ROLE
from urllib3 import HTTPResponse

from lesion_jobs import Environment

REGION, ACCOUNT = "eu-central-1", "123456789012"
QUOTAS = ("training job", "spot training job", "processing job", "transform job", "endpoint")
MANIFEST = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
OFFER = {"terms": {"OnDemand": {"T": {"priceDimensions": {"D": {"unit": "Hrs", "pricePerUnit": {"USD": "1.5"}}}}}}}

# Operations of SageMaker that moto has not, and what it would answer.
PLAYED: dict[str, dict[str, Any]] = {
    "UpdateEndpoint": {"EndpointArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/x"},
    "CreateMonitoringSchedule": {"MonitoringScheduleArn": "arn"},
    "DeleteMonitoringSchedule": {},
    "ListPipelineExecutionSteps": {"PipelineExecutionSteps": []},
}

Answer = tuple[int, Any]  # HTTP status, body


class OneSession(boto3.Session):
    """The session of all tests, which makes each client once: most of a test's time went into making clients.

    Clients take a session's handlers over when they are made: these ask `wire`, the one of the present test.
    """

    wire: Wire

    def __init__(self) -> None:
        super().__init__("made-up", "made-up", region_name=REGION)
        self.clients: dict[str, Any] = {}
        self.events.register_first("before-send", self._before_send)
        self.events.register("before-call", self._before_call)

    def client(self, service: str, *arguments: Any, **settings: Any) -> Any:
        if service not in self.clients:
            self.clients[service] = super().client(service, *arguments, **settings)
        return self.clients[service]

    def _before_send(self, **event: Any) -> AWSResponse | None:
        return self.wire.answer(**event)

    def _before_call(self, **event: Any) -> tuple[Any, Any] | None:
        return self.wire.play(**event)


one_session = cache(OneSession)


class Wire:
    """Keeps each request as (operation, body), and answers those of the table; the others go on to moto."""

    def __init__(self, machine: str) -> None:
        quotas = [{"QuotaName": f"{machine} for {name} usage", "Value": 20.0} for name in QUOTAS]
        self.answers: dict[str, Answer] = {
            "pricing.GetProducts": (200, {"FormatVersion": "aws_v1", "PriceList": [json.dumps(OFFER)]}),
            "service-quotas.ListServiceQuotas": (200, {"Quotas": quotas}),
            "sagemaker-runtime.InvokeEndpoint": (200, {"predictions": [{"probability": 0.25, "label": "benign"}]}),
        }
        self.headers: dict[str, dict[str, str]] = {}  # operation → headers of its answer
        self.sent: list[tuple[str, Any]] = []
        self.rolls_back = False  # whether endpoints go back to what they served when they are updated
        self.before: dict[str, Callable[[], object]] = {}  # operation → what happens before it is sent
        self.session = one_session()
        self.session.wire = self

    def refuse(self, operation: str, code: str, message: str, *, status: int = 400, **more: Any) -> None:
        """From now on the operation, such as sagemaker.CreateModel, is refused so."""
        xml = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        is_xml = operation.startswith(("sts.", "iam."))
        self.answers[operation] = (status, xml if is_xml else {"__type": code, "message": message, **more})

    def body(self, operation: str) -> Any:
        """The body of the one request of this operation that was sent."""
        (only,) = [body for sent, body in self.sent if sent == operation]
        return only

    def play(self, model: Any, params: Any, **_: Any) -> tuple[Any, Any] | None:
        """Answers what moto lacks of SageMaker: UpdateEndpoint changes its endpoint, as one that succeeds at once."""
        if model.name in self.before:
            self.before[model.name]()
        if model.name not in PLAYED:
            return None
        body = json.loads(params["body"])
        self.sent.append((f"sagemaker.{model.name}", body))
        if model.name == "UpdateEndpoint" and not self.rolls_back:
            backend = sagemaker_backends[ACCOUNT][REGION]
            endpoint = backend.endpoints[body["EndpointName"]]
            config = backend.endpoint_configs[body["EndpointConfigName"]]
            endpoint.endpoint_config_name = body["EndpointConfigName"]
            endpoint.production_variants = endpoint._process_production_variants(config.production_variants)
        _, answer = self.answers.get(f"sagemaker.{model.name}", (200, PLAYED[model.name]))
        return SimpleNamespace(status_code=200), answer

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _ in self.sent]

    def answer(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.removeprefix("before-send.")
        content = request.body if isinstance(request.body, bytes) else b""
        self.sent.append((operation, json.loads(content) if content[:1] == b"{" else len(content)))
        if operation not in self.answers:
            return None
        status, answer = self.answers[operation]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        raw = HTTPResponse(io.BytesIO(text.encode()), preload_content=False)
        headers = {"content-type": "application/json", **self.headers.get(operation, {})}
        return AWSResponse(request.url, status, headers, raw)


@contextmanager
def account(machine: str = "ml.m5.xlarge", **settings: Any) -> Iterator[tuple[Wire, Environment]]:
    """An account with a bucket that holds a data set and a model, the role, and the image; and how to reach it."""
    with mock_aws():
        wire = Wire(machine)
        s3, iam, ecr = (wire.session.client(name) for name in ("s3", "iam", "ecr"))
        s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        for key in ("data/train.csv", "new/a.jpg", "run/output/model.tar.gz"):
            s3.put_object(Bucket="bucket", Key=key, Body=b"something")
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "sagemaker.amazonaws.com"}}
        iam.create_role(RoleName="lesion", AssumeRolePolicyDocument=json.dumps({"Statement": trust}))
        ecr.create_repository(repositoryName="lesion")
        ecr.put_image(repositoryName="lesion", imageTag="0.1.0", imageManifest=json.dumps(MANIFEST))
        wire.sent.clear()
        plain: dict[str, Any] = {
            "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lesion:0.1.0",
            "instance_type": machine,
            "output": "s3://bucket/lesion",
            "role": ROLE,
            "session": wire.session,
        }
        yield wire, Environment(**(plain | settings))
