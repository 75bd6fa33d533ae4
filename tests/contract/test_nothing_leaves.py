"""Nothing leaves: no command tells anyone of itself, or leaves anything in a home folder that may not be there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from jobs import small_job

from processes import LIMIT_S, Server

# Read by Python itself as it starts, also in processes that a command starts: notes whoever is looked up or spoken to.
WATCH = """
import os, sys

def note(event, arguments):
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}:
        if not any(name in repr(arguments) for name in ("127.0.0.1", "'0.0.0.0'", "'localhost'", "AF_UNIX")):
            with open(os.environ["WATCH_LOG"], "a") as log:
                log.write(f"{event} {arguments!r}\\n")

sys.addaudithook(note)
"""


# Several commands in one process, which imports torch once.
SEVERAL = """
import json, sys
from lesion import cli

for arguments in json.loads(sys.argv[1]):
    try:
        cli.main(arguments)
    except SystemExit as ended:
        if ended.code:
            raise
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user's, without CI, with an empty home, and with a watch on every socket."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    ours = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    path = os.pathsep.join(filter(None, [str(tmp_path / "watch"), os.environ.get("PYTHONPATH")]))
    return {**ours, "HOME": str(tmp_path / "home"), "PYTHONPATH": path, "WATCH_LOG": str(tmp_path / "spoken")}


# What this very test process may have set, and a user's shell has not.
SWITCHES = {
    *("CI", "TF_BUILD", "JENKINS_URL", "NO_ALBUMENTATIONS_UPDATE", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"),
    *("RAY_USAGE_STATS_ENABLED", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HF_HOME"),
}


def run(environment: Mapping[str, str], *commands: Sequence[object]) -> str:
    arguments = json.dumps([[str(argument) for argument in command] for command in commands])
    ended = subprocess.run(
        [sys.executable, "-c", SEVERAL, arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


COMMANDS: dict[str, Callable[[Path, Path], list[object]]] = {
    "predict": lambda root, out: [
        *("predict", root / "input/data/training/test_jpg", "--model", root / "model", "--output", out / "o.csv")
    ],
    "export": lambda root, out: ["export", "onnx", "--model", root / "model", "--output", out / "o.onnx"],
    "check": lambda root, out: ["check", root, "--output", out / "check"],
    "describe": lambda _root, _out: ["describe", "hyperparameters"],
    "sample-data": lambda _root, out: ["sample-data", out / "drawn", "--num-images", "30"],
}


@pytest.fixture(params=["empty", "not set", "not there"])
def homed(request: pytest.FixtureRequest, environment: dict[str, str]) -> dict[str, str]:
    """The environment with a home as containers have them."""
    if request.param == "not set":
        environment.pop("HOME")
    if request.param == "not there":
        environment["HOME"] = "/proc/1/nowhere"
    return environment


def test_commands_speak_to_nobody_and_leave_the_home_empty(homed, trained_root, tmp_path):
    is_home = Path(homed.get("HOME", "/nowhere")).is_dir()
    names = COMMANDS if is_home else ("predict", "export")  # by OpenVINO, and by torch
    said = run(homed, *(COMMANDS[name](trained_root, tmp_path) for name in names))
    assert "Traceback" not in said
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()
    assert not list((tmp_path / "home").rglob("*"))


def test_training_speaks_to_nobody_and_needs_no_home(environment, tmp_path):
    job = small_job(tmp_path / "job", num_workers=1, export_graph=True)
    run({**environment, "HOME": "/proc/1/nowhere"}, ["train", "--root", job])
    assert (job / "model" / "graph.xml").exists()  # OpenVINO was there
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()


def test_a_server_speaks_to_nobody_and_leaves_the_home_empty(homed, trained_root, tmp_path):
    server = Server.start(
        trained_root, tmp_path / "log", environment={**dict.fromkeys((*SWITCHES, "HOME"), ""), **homed}
    )
    server.wait_until_ready()
    picture = next((trained_root / "input/data/training/test_jpg").glob("*.jpg"))
    assert server.ask(picture.read_bytes()).status_code == 200
    assert server.stop() == 0
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()
    assert not list((tmp_path / "home").rglob("*"))
