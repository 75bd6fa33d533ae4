"""Nothing leaves: no command tells anyone of itself, or leaves anything in a home folder that may not be there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from factories import write_job
from processes import LESION, LIMIT_S, Server

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


def run(environment: Mapping[str, str], *arguments: object) -> str:
    command = [*LESION, *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
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


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_speaks_to_nobody_and_leaves_the_home_empty(environment, trained_root, tmp_path, name):
    run(environment, *COMMANDS[name](trained_root, tmp_path))
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()
    assert not list((tmp_path / "home").rglob("*"))


def test_training_speaks_to_nobody_and_needs_no_home(environment, tmp_path):
    job = write_job(tmp_path / "job", has_test=False, epochs=1)
    run({**environment, "HOME": "/proc/1/nowhere"}, "train", "--root", job)
    assert (job / "model" / "graph.xml").exists()  # OpenVINO was there
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()


def test_a_server_speaks_to_nobody(environment, trained_root, tmp_path):
    server = Server.start(trained_root, tmp_path / "log", environment={**dict.fromkeys(SWITCHES, ""), **environment})
    server.wait_until_ready()
    picture = next((trained_root / "input/data/training/test_jpg").glob("*.jpg"))
    assert server.ask(picture.read_bytes()).status_code == 200
    assert server.stop() == 0
    assert not (tmp_path / "spoken").exists(), (tmp_path / "spoken").read_text()
    assert not list((tmp_path / "home").rglob("*"))


@pytest.mark.parametrize("home", [None, "/proc/1/nowhere"])
def test_a_home_that_is_not_there_is_not_needed(environment, trained_root, tmp_path, home):
    environment.pop("HOME")
    if home is not None:
        environment["HOME"] = home
    for name in ("predict", "export"):
        said = run(environment, *COMMANDS[name](trained_root, tmp_path))
        assert "Traceback" not in said
    server = Server.start(trained_root, tmp_path / "log", environment={"HOME": home or ""})
    server.wait_until_ready()
    assert server.stop() == 0
