"""local_test's scripts without Docker: train, serve, ask, stop; and a clear word for each thing that is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from jobs import small_frame

from checkout import PROJECT, only
from factories import write_channel
from processes import LIMIT_S, free_port, wait_for_text

TOOLS = ("bash", "curl", "dirname", "env", "mkdir", "rm", "sed")
LESION = {"lesion": f'#!/bin/sh\nexec "{sys.executable}" -m lesion.cli "$@"\n'}
CHANNEL = Path("test_dir", "input", "data", "training")
Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[[str, str], subprocess.Popen]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """local_test as it is committed, in a checkout with a blank in its path and no .venv."""
    folder = tmp_path / "a checkout" / "local_test"
    shutil.copytree(
        PROJECT / "local_test", folder, ignore=shutil.ignore_patterns("model", "output", "checkpoints", "__pycache__")
    )
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PATH": only(tmp_path / "bin", tools=TOOLS, programs=LESION), "PORT": str(free_port())}


@pytest.fixture
def run(folder: Path, environment: dict[str, str]) -> Run:
    def run(script: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / script, *map(str, arguments)],
            env={**environment, **variables},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    return run


@pytest.fixture
def start(folder: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a script, and returns it when its log holds a word. It is gone after the test."""
    started: list[subprocess.Popen] = []

    def start(script: str, ready: str) -> subprocess.Popen:
        log = tmp_path / f"{script}.log"
        with log.open("w") as output:
            started.append(subprocess.Popen([folder / script], env=environment, cwd="/", stdout=output, stderr=output))
        wait_for_text(log, ready)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(10)


def test_a_model_is_trained_served_and_asked(folder: Path, run: Run, start: Start):
    for name in ("model", "output"):
        (folder / "test_dir" / name).mkdir()
        (folder / "test_dir" / name / "old").touch()
    trained = run("train_local.sh")
    assert trained.returncode == 0, trained.stderr
    assert not list((folder / "test_dir").rglob("old"))
    asked = set(pd.read_csv(folder / CHANNEL / "test.csv")["image_name"])
    assert asked == set(pd.read_csv(folder / "test_dir" / "output" / "data" / "submission.csv")["image_name"])

    server = start("serve_local.sh", "ready")
    answer = run("predict.sh", next((folder / CHANNEL / "test_jpg").iterdir()))
    assert answer.returncode == 0 and 0 < json.loads(answer.stdout)["predictions"][0]["probability"] < 1
    refused = run("predict.sh", folder / CHANNEL / "test.csv", "text/plain")
    assert refused.returncode != 0 and json.loads(refused.stdout)["error"] == "content_type"
    second = run("serve_local.sh")
    assert second.returncode == 2 and "is in use. Stop what listens there, or choose another" in second.stderr
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0


def test_the_demo_takes_a_table_without_patients(tmp_path: Path):
    frame = small_frame().drop(columns="patient_id")
    write_channel(tmp_path / "own", frame)
    demo = [sys.executable, PROJECT / "local_test" / "demo.py", "--data", tmp_path / "own", "--root", tmp_path / "job"]
    done = subprocess.run(demo, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert '"probability"' in done.stdout and f"{len(frame)} images\n" in done.stdout


def test_a_stop_reaches_training(start: Start):
    training = start("train_local.sh", "device=")
    training.send_signal(signal.SIGTERM)
    assert training.wait(60) == 128 + signal.SIGTERM


def test_the_pictures_are_few_and_small():
    sizes = [path.stat().st_size for path in (PROJECT / "local_test" / CHANNEL).rglob("*.jpg")]
    assert 12 <= len(sizes) <= 24 and sum(sizes) < 50_000


def test_the_command_of_the_checkout_goes_before_that_of_the_path(folder: Path, run: Run):
    command = folder.parent / ".venv" / "bin" / "lesion"
    command.parent.mkdir(parents=True)
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    assert run("train_local.sh").stdout == f"train --root {folder / 'test_dir'}\n"


@pytest.mark.parametrize("script", ["train_local.sh", "serve_local.sh", "predict.sh"])
def test_help_is_printed(script: str, run: Run):
    done = run(script, "--help")
    assert done.returncode == 0 and f"  {script} " in done.stdout


def test_an_absent_command_is_told(run: Run, folder: Path, tmp_path: Path):
    done = run("train_local.sh", PATH=only(tmp_path / "bare", tools=TOOLS))
    assert done.returncode == 2 and f"Run 'make demo' or 'pip install .' in {folder.parent}" in done.stderr


@pytest.mark.parametrize("script", ["train_local.sh", "serve_local.sh"])
def test_absent_docker_is_told(script: str, run: Run, folder: Path):
    make_model(folder)
    done = run(script, "lesion")
    assert done.returncode == 2 and "there is no docker command. Install Docker, or give no image" in done.stderr


def test_a_docker_that_does_not_answer_is_told(run: Run, tmp_path: Path):
    docker = {"docker": "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n"}
    done = run("train_local.sh", "lesion", PATH=only(tmp_path / "down", tools=TOOLS, programs=docker))
    assert done.returncode == 2 and "It says: Cannot connect to the Docker daemon" in done.stderr


def test_serving_before_training_is_told(run: Run):
    done = run("serve_local.sh")
    assert done.returncode == 2 and "there is no model in" in done.stderr and "train_local.sh first" in done.stderr


def test_a_port_in_use_is_told(run: Run, folder: Path):
    make_model(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("serve_local.sh", PORT=port)
    assert done.returncode == 2 and f"port {port} is in use" in done.stderr


def test_asking_nobody_is_told(run: Run, folder: Path):
    done = run("predict.sh", folder / "predict.sh")
    assert done.returncode == 2 and "no server answers on port" in done.stderr and "serve_local.sh" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["train_local.sh", "--gpus"], {}, "unknown option '--gpus'"),
        (["predict.sh"], {}, "PAYLOAD [CONTENT_TYPE]"),
        (["predict.sh", "/nowhere.jpg"], {}, "there is no file '/nowhere.jpg' that can be read"),
        (["predict.sh", "/etc/hostname"], {"PORT": "http"}, "PORT is not a number: 'http'"),
    ],
)
def test_a_wrong_word_is_told(arguments: list[str], variables: dict[str, str], words: str, run: Run):
    done = run(*arguments, **variables)
    assert done.returncode == 2 and words in done.stderr


def make_model(folder: Path) -> None:
    (folder / "test_dir" / "model").mkdir()
    (folder / "test_dir" / "model" / "manifest.json").touch()
