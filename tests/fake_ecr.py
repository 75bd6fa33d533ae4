"""Fake ECR: as much of Amazon's registry service as a push asks for, on 127.0.0.1, for the real AWS CLI and boto3.

The answers and the names of the errors are those of botocore's model of the service.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

PASSWORD = "s3cret"  # of the user AWS
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


class Refused(Exception):
    """An error of the service, by its name."""


@dataclass
class FakeEcr:
    """What the service holds and was asked. `registry` is the host that it sends clients to."""

    registry: str = REGISTRY
    tags: dict[str, set[str]] = field(default_factory=dict)  # by repository
    created: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""  # the error that every call is answered with
    endpoint: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """Variables that send AWS's clients here, and nowhere else."""
        return {
            "AWS_ENDPOINT_URL_ECR": self.endpoint,
            "AWS_ACCESS_KEY_ID": "fake",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(home / "aws_config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws_credentials"),
            "AWS_MAX_ATTEMPTS": "1",
        }

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if self.refusal:
            raise Refused(self.refusal)
        if operation == "GetAuthorizationToken":
            token = base64.b64encode(f"AWS:{PASSWORD}".encode()).decode()
            return {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": f"https://{self.registry}"}]}
        if operation == "DescribeImages":
            if request["repositoryName"] not in self.tags:
                raise Refused("RepositoryNotFoundException")
            if request["imageIds"][0]["imageTag"] not in self.tags[request["repositoryName"]]:
                raise Refused("ImageNotFoundException")
            return {"imageDetails": [{"imageDigest": "sha256:0"}]}
        if operation == "CreateRepository":
            self.created.append(request)
            return {"repository": {"repositoryArn": f"arn:aws:ecr:::repository/{request['repositoryName']}"}}
        raise Refused(f"the fake does not know {operation}")


@contextmanager
def running(ecr: FakeEcr) -> Iterator[FakeEcr]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].split(".")[1]
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status, answer = 200, ecr.answer(operation, request)
            except Refused as refused:
                status, answer = 400, {"__type": str(refused), "message": "refused"}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ecr.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})  # else each end takes half a second
    thread.start()
    try:
        yield ecr
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
