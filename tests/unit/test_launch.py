"""Launch: children that end in every way, and whose end is the job's."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lesion import launch
from lesion.launch import INTERRUPTED, PEER_LOST, Ending, num_gpus, run_children


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """The parent is a process of its own; here its handlers are taken back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def shell(line: str) -> list[str]:
    return ["bash", "-c", line]


@pytest.mark.parametrize(
    ("lines", "status", "process"),
    [
        (["exit 0"], 0, 0),
        (["exit 0", "exit 2"], 2, 1),
        ([f"exit {PEER_LOST}", "sleep 0.5; exit 3"], 3, 1),  # whoever has the cause, though it comes second
        ([f"exit {PEER_LOST}", "sleep 0.3; kill -KILL $$"], -9, 1),
        ([f"exit {PEER_LOST}", "exit 0"], PEER_LOST, 0),  # the cause is on another host
        (["sleep 0.5; exit 3", "exit 2"], 2, 1),
    ],
)
def test_the_first_that_fails_of_itself_decides(lines, status, process):
    assert run_children([shell(line) for line in lines], os.environ) == Ending(status, process, len(lines))


def test_one_that_fails_ends_those_that_hang(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_S", 0.3)
    assert run_children([shell("exec sleep 1000"), shell("exit 2")], os.environ) == Ending(2, 1, 2)


def test_where_nothing_has_begun_the_others_end_at_once(tmp_path):
    """Within GRACE_S the other one would come to write its file."""
    slow, failing = shell(f"sleep 5; touch {tmp_path / 'late'}"), shell("exit 2")
    assert run_children([slow, failing], os.environ, has_begun=lambda: False) == Ending(2, 1, 2)
    assert not (tmp_path / "late").exists()


def test_the_one_with_the_cause_is_waited_for_though_nothing_has_begun():
    lines = [f"exit {PEER_LOST}", "sleep 0.5; exit 3"]
    assert run_children([shell(line) for line in lines], os.environ, has_begun=lambda: False) == Ending(3, 1, 2)


def test_a_wish_to_stop_reaches_all(tmp_path):
    def stop_when_both_are_there() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    script = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit({INTERRUPTED}))\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(1000)"
    )
    threading.Thread(target=stop_when_both_are_there).start()
    ending = run_children([[sys.executable, "-c", script, str(tmp_path / name)] for name in "ab"], os.environ)
    assert ending.status == 143 and ending.was_stopped and ending.describe_death("lower it") is None


def test_a_second_ctrl_c_kills_what_does_not_end_and_is_no_failure(monkeypatch, tmp_path):
    """Two that come at once are one: the child notes each signal, and would not end."""
    monkeypatch.setattr(launch, "SAME_WISH_S", 0.3)
    noted = tmp_path / "noted"
    script = (
        "import signal, sys, time\n"
        "def note(*_):\n    print('stop', file=open(sys.argv[1], 'a'), flush=True)\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "open(sys.argv[1], 'w').close()\n"
        "while True: time.sleep(1)"
    )

    def wait_until(is_so: Callable[[], bool]) -> None:
        while not is_so():
            time.sleep(0.01)

    def press() -> None:
        wait_until(noted.exists)
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: "stop" in noted.read_text())
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(launch.SAME_WISH_S + 0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    ending = run_children([[sys.executable, "-c", script, str(noted)]], os.environ)
    assert ending.status == 130 and ending.was_stopped and ending.describe_death("lower it") is None
    assert noted.read_text().startswith("stop")


def test_a_death_is_told_with_what_to_do():
    assert Ending(-9, 0, 1).describe_death("lower image_size") == (
        "the training process was killed by SIGKILL, most likely out of memory: lower image_size"
    )
    assert Ending(-9, 1, 2).describe_death("lower image_size") == (
        "process 1 of 2 was killed by SIGKILL, most likely out of memory: lower processes, or lower image_size"
    )
    assert Ending(-11, 0, 1).describe_death("lower image_size") == (
        "the training process was killed by SIGSEGV, a crash in native code: see the end of the log"
    )
    assert Ending(2, 0, 1).describe_death("lower image_size") is None


@pytest.mark.parametrize(
    ("visible", "number"), [("", 0), ("-1", 0), ("0", 1), ("0,1, 3", 3), ("0,-1,2", 1), ("GPU-8932f937", 1)]
)
def test_gpus_are_those_that_cuda_is_told_to_see(monkeypatch, visible, number):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert num_gpus() == number


def test_gpus_are_those_that_the_driver_lists(monkeypatch, tmp_path: Path):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho 'GPU 0: NVIDIA A10G (UUID: GPU-1)'\n"
        "echo '  MIG 1g.10gb Device 0: (UUID: MIG-1)'\necho 'GPU 1: NVIDIA A10G (UUID: GPU-2)'\n"
    )
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert num_gpus() == 2


def test_children_that_the_first_one_asks_for_are_started_and_waited_for(tmp_path):
    said, ran = tmp_path / "said", tmp_path / "ran"

    def later() -> list[list[str]] | None:
        return [shell(f"touch {ran}; exit 3")] if said.exists() else None

    first = shell(f"sleep 0.2; touch {said}; while [ ! -e {ran} ]; do sleep 0.05; done")
    assert run_children([first], os.environ, later=later) == Ending(3, 1, 2)
    assert run_children([shell("exit 4")], os.environ, later=lambda: None) == Ending(4, 0, 1)  # it never said
