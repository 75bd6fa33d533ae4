"""Containers: `docker` for tests, and a container that a test started and will not leave behind."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from machine import alone
from processes import wait_until

LIMIT_S = 300


@dataclass(frozen=True)
class Docker:
    """The engine's command line. Calls end with an AssertionError unless they may fail."""

    environment: Mapping[str, str]

    def __call__(self, *arguments: object, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["docker", *map(str, arguments)],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert may_fail or done.returncode == 0, done.stdout
        return done

    def build(self, tag: str, folder: Path, *options: str) -> str:
        """An image of the folder's Dockerfile, and its tag. Of several that build at once the first does the work."""
        with alone("build"):
            built = subprocess.run(
                ["docker", "build", "--network", "host", "--tag", tag, *options, "."],
                cwd=folder,
                env={**os.environ, **self.environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=1800,
                check=False,
            )
        assert built.returncode == 0, built.stdout[-5000:]
        return tag

    def run(self, image: str, *words: object, options: tuple[object, ...] = (), may_fail: bool = False) -> str:
        """What a container prints that runs to its end."""
        with self.start(image, *words, options=options) as container:
            status = container.wait()
            assert may_fail or status == 0, container.log
            return container.log

    def python(self, image: str, code: str, *options: object, may_fail: bool = False) -> str:
        """What a Python program prints in the image."""
        options = ("--network", "none", "--entrypoint", "python3", *options)
        return self.run(image, "-c", code, options=options, may_fail=may_fail)

    @contextmanager
    def start(self, image: str, *words: object, options: tuple[object, ...] = ()) -> Iterator[Container]:
        name = f"lesion-test-{uuid.uuid4().hex[:12]}"
        self("run", "--detach", "--name", name, *options, image, *words)
        try:
            yield Container(self, name)
        finally:
            self("rm", "--force", "--volumes", name, may_fail=True)

    @contextmanager
    def network(self) -> Iterator[str]:
        """A network of containers that reaches nothing else."""
        name = f"lesion-test-{uuid.uuid4().hex[:12]}"
        self("network", "create", "--internal", name)
        try:
            yield name
        finally:
            self("network", "rm", name)


@dataclass(frozen=True)
class Container:
    docker: Docker
    name: str

    @property
    def log(self) -> str:
        return self.docker("logs", self.name).stdout

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return int(self.docker("wait", self.name).stdout)

    def wait_for_text(self, text: str) -> None:
        wait_until(lambda: text in self.log, f"'{text}' did not come", lambda: self.log)

    def changed_files(self) -> list[str]:
        """What was added or changed in the container's own file system."""
        return [line[2:] for line in self.docker("diff", self.name).stdout.splitlines()]

    def url(self, port: int) -> str:
        """Where on this machine a published port of the container is."""
        return "http://" + self.docker("port", self.name, port).stdout.splitlines()[0]

    def wait_until_ready(self, url: str) -> None:
        wait_until(lambda: _ping(url) == 200, "the server did not become ready", lambda: self.log)


def mount(root: Path) -> tuple[str, str]:
    return ("--volume", f"{root}:/opt/ml")


def _ping(url: str) -> int | None:
    try:
        return requests.get(f"{url}/ping", timeout=2).status_code
    except requests.RequestException:
        return None
