"""local_test's scripts with the real image: train, serve, ask, and whose the files are."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from checkout import PROJECT
from processes import free_port, wait_for_text

LIMIT_S = 300
NAME = f"lesion-test-local-{os.getpid()}"
USER = 1000 if os.getuid() == 0 else os.getuid()  # somebody who is not root, as on a laptop


@pytest.fixture
def local_test(docker_environment: Mapping[str, str]) -> Iterator[Path]:
    """The folder, owned by USER, at a path with a blank that USER may walk to."""
    with tempfile.TemporaryDirectory(prefix="lesion-", dir="/var/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "a checkout" / "local_test"
        ignored = shutil.ignore_patterns("model", "output", "checkpoints")
        shutil.copytree(PROJECT / "local_test", folder, ignore=ignored)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, USER, -1)
        yield folder


@pytest.fixture
def settings(docker_environment: Mapping[str, str], tmp_path: Path) -> dict[str, object]:
    """How a script is started: by USER, who may talk to the engine since the engine's group is theirs."""
    environment = {**os.environ, **docker_environment, "PORT": str(free_port()), "DOCKER_CONFIG": "/nonexistent"}
    socket = Path(environment["DOCKER_HOST"].removeprefix("unix://"))
    as_user = {"user": USER, "group": socket.stat().st_gid, "extra_groups": []} if os.getuid() == 0 else {}
    return {"env": environment, "cwd": "/", **as_user}


def run(settings: dict[str, object], *command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=LIMIT_S, check=False, **settings
    )


def test_a_model_is_trained_served_and_asked_in_containers(local_test: Path, settings, image: str, tmp_path: Path):
    trained = run(settings, local_test / "train_local.sh", image)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert (local_test / "test_dir" / "output" / "data" / "submission.csv").is_file()
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [local_test / "serve_local.sh", image, "--name", NAME], stdout=output, stderr=output, **settings
        )
    try:
        wait_for_text(log, "ready")
        picture = next((local_test / "test_dir").rglob("test_jpg/*.jpg"))
        answer = run(settings, local_test / "predict.sh", picture)
        assert answer.returncode == 0 and '"probability"' in answer.stdout, answer.stderr
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
        assert run(settings, "docker", "ps", "--all", "--quiet", "--filter", f"name={NAME}").stdout == ""
    finally:
        with suppress(ProcessLookupError):
            server.kill()
        server.wait(10)
        run(settings, "docker", "rm", "--force", NAME)


def test_what_root_left_goes_without_sudo_and_new_files_are_the_users(local_test: Path, settings, image: str):
    root = local_test / "test_dir"
    mount = f"type=bind,source={root},target=/opt/ml"
    litter = "mkdir -p /opt/ml/model /opt/ml/output/data /opt/ml/checkpoints && "
    litter += "touch /opt/ml/model/old /opt/ml/output/data/old /opt/ml/checkpoints/old"
    littered = run(settings, "docker", "run", "--rm", "--mount", mount, "--entrypoint", "sh", image, "-c", litter)
    assert littered.returncode == 0, littered.stderr
    trained = run(settings, local_test / "train_local.sh", image, "--user", f"{USER}:{USER}")
    assert trained.returncode == 0, trained.stdout + trained.stderr
    made = [path for name in ("model", "output") for path in (root / name).rglob("*")]
    assert (root / "model" / "manifest.json") in made and {path.stat().st_uid for path in made} == {USER}
    assert not list(root.rglob("old"))


def test_an_image_that_is_not_there_is_named(local_test: Path, settings):
    done = run(settings, local_test / "train_local.sh", "lesion:nobody-built-this")
    assert done.returncode == 2 and "Docker has no image 'lesion:nobody-built-this'. Build it: docker" in done.stderr
