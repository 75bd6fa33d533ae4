"""build_and_push.sh with a real engine and a real registry on 127.0.0.1; only AWS's own service is a fake.

The registry is Debian's docker-registry, in a container made here. It asks for the password that the fake ECR gives.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from checkout import copy_project, revision
from fake_ecr import PASSWORD, FakeEcr, running
from processes import free_port

NAME = f"lesion-test-{os.getpid()}"
SCHEMA_2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKERFILE = f"""
FROM debian:bookworm-slim
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-registry apache2-utils >/dev/null
RUN htpasswd -Bbc /etc/docker/registry/passwords AWS {PASSWORD}
"""


@dataclass(frozen=True)
class Registry:
    address: str

    def get(self, path: str) -> requests.Response:
        accept = {"Accept": f"{SCHEMA_2}, {OCI}"}  # the registry sends what it has, and does not convert
        return requests.get(f"http://{self.address}/v2/{path}", auth=("AWS", PASSWORD), headers=accept, timeout=30)


@pytest.fixture(scope="module")
def docker(docker_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory):
    """Runs one docker command. Logins go into a folder of this test's own."""
    environment = {**os.environ, **docker_environment, "DOCKER_CONFIG": str(tmp_path_factory.mktemp("docker"))}

    def run(*arguments: str, text: str | None = None, timeout_s: int = 300) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *arguments],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    run.environment = environment
    return run


@pytest.fixture(scope="module")
def registry(docker) -> Iterator[Registry]:
    address = f"127.0.0.1:{free_port()}"
    docker("build", "--network", "host", "--tag", NAME, "-", text=DOCKERFILE)
    settings = {
        "REGISTRY_HTTP_ADDR": address,
        "REGISTRY_AUTH": "{htpasswd: {realm: lesion, path: /etc/docker/registry/passwords}}",
    }
    options = [f"--env={name}={value}" for name, value in settings.items()]
    command = ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
    try:
        docker("run", "--detach", "--name", NAME, "--network", "host", *options, NAME, *command)
        ready = Registry(address)
        wait_for(ready)
        yield ready
    finally:
        with suppress(AssertionError):  # it did not start
            docker("rm", "--force", "--volumes", NAME)
        docker("rmi", "--force", NAME)


def wait_for(registry: Registry) -> None:
    ends = time.monotonic() + 60
    while True:
        with suppress(requests.ConnectionError):
            if registry.get("").status_code == 200:
                return
        assert time.monotonic() < ends, "the registry did not come up"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("checkout") / "lesion")


@pytest.fixture(scope="module")
def push(checkout: Path, docker):
    """Runs the script for the small serving image."""

    def run(*options: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [checkout / "build_and_push.sh", "--target", "serve-cpu", *options, "--", "--network", "host"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the AWS CLI or boto3 of this environment
        return subprocess.run(
            command,
            env={**docker.environment, "PATH": path, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def tag(checkout: Path) -> str:
    version = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["version"]
    return f"{version}-{revision(checkout)[:7]}-serve-cpu"


@pytest.fixture(scope="module")
def pushed(push, registry: Registry, docker, tag: str) -> Iterator[str]:
    """The URI of an image that the script pushed to a registry that is not ECR."""
    docker("login", "--username", "AWS", "--password-stdin", registry.address, text=PASSWORD)
    uri = f"{registry.address}/lesion:{tag}"
    done = push("--registry", registry.address)
    try:
        assert done.returncode == 0, done.stderr[-4000:]
        assert done.stdout == f"{uri}\n"
        yield uri
    finally:
        docker("rmi", "--force", uri)


def test_the_registry_has_a_manifest_that_sagemaker_takes(pushed: str, registry: Registry, tag: str):
    assert registry.get("lesion/tags/list").json() == {"name": "lesion", "tags": [tag]}
    manifest = registry.get(f"lesion/manifests/{tag}")
    assert manifest.headers["Content-Type"] == SCHEMA_2 == manifest.json()["mediaType"]


def test_the_image_says_which_version_and_commit_it_is(pushed: str, registry: Registry, checkout: Path, tag: str):
    digest = registry.get(f"lesion/manifests/{tag}").json()["config"]["digest"]
    labels = registry.get(f"lesion/blobs/{digest}").json()["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == revision(checkout)
    assert labels["org.opencontainers.image.version"] == tag.partition("-")[0]


def test_the_list_of_what_the_image_holds_lies_beside_it(pushed: str, checkout: Path, tag: str):
    sbom = json.loads((checkout / "build" / f"sbom-{tag}.cdx.json").read_text())
    names = {component["name"].lower() for component in sbom["components"]}
    assert sbom["bomFormat"] == "CycloneDX" and {"flask", "numpy", "python3.11"} <= names


def test_what_was_pushed_is_not_pushed_again(pushed: str, push, registry: Registry):
    done = push("--registry", registry.address)
    assert (done.returncode, done.stdout) == (0, f"{pushed}\n")
    assert "already there" in done.stderr and "docker push" not in done.stderr


def test_the_password_of_ecr_opens_the_registry(push, registry: Registry, docker, tag: str, tmp_path: Path):
    logins = {"DOCKER_CONFIG": str(tmp_path)}  # none yet
    uri = f"{registry.address}/lesion/ecr:{tag}"
    with running(FakeEcr(registry=registry.address)) as ecr:
        environment = {**ecr.environment(tmp_path), **logins, "AWS_REGION": "eu-central-1"}
        done = push("lesion/ecr", environment=environment)
    try:
        assert (done.returncode, done.stdout) == (0, f"{uri}\n"), done.stderr[-4000:]
        assert [request["repositoryName"] for request in ecr.created] == ["lesion/ecr"]
        assert registry.get("lesion/ecr/tags/list").json()["tags"] == [tag]
    finally:
        docker("rmi", "--force", uri)


def test_the_image_pulls_back(pushed: str, docker):  # last, since layers that only it had are built again after it
    docker("rmi", pushed)
    docker("pull", pushed)
    assert re.match("sha256:", docker("image", "inspect", "--format", "{{.Id}}", pushed).stdout)
