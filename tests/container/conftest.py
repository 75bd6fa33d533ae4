"""Fixtures of the container tests: a Docker engine, and the image that the Dockerfile makes, built once a session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # containers, environments
from containers import Docker

from machine import alone, lacks

PROJECT = Path(__file__).parents[2]
STARTER = PROJECT.parent / "shared" / "tools" / "docker-engine.sh"  # starts an engine on a machine that has none
IMAGE, SERVE_CPU = "lesion:test", "lesion:test-serve-cpu"


@pytest.fixture(scope="session")
def docker_environment() -> dict[str, str]:
    """The variables by which `docker` finds an engine. Skips where there is none; in CI that is a failure."""
    environment = dict(os.environ)
    if not answers(environment) and STARTER.is_file():
        with alone("engine"):  # of several workers the first starts it
            started = subprocess.run(["bash", STARTER], capture_output=True, text=True, timeout=600, check=False)
        if started.returncode == 0:
            environment["DOCKER_HOST"] = started.stdout.strip().rpartition("DOCKER_HOST=")[2]
    if not answers(environment):
        lacks("no Docker engine answers: start one, or set DOCKER_HOST")
    return {"DOCKER_HOST": environment["DOCKER_HOST"]} if "DOCKER_HOST" in environment else {}


@pytest.fixture(scope="session")
def docker(docker_environment: Mapping[str, str]) -> Docker:
    return Docker(docker_environment)


@pytest.fixture(scope="session")
def image(docker: Docker) -> str:
    """The image to train and serve, from the Dockerfile as it is."""
    return docker.build(IMAGE, PROJECT)


@pytest.fixture(scope="session")
def serve_cpu_image(docker: Docker, image: str) -> str:
    """The small serving image: a part of the same build."""
    return docker.build(SERVE_CPU, PROJECT, "--target", "serve-cpu")


def answers(environment: Mapping[str, str]) -> bool:
    try:
        asked = subprocess.run(["docker", "info"], env=environment, capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        return False
    return asked.returncode == 0
