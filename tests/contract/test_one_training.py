"""One training at a time below a root: a second one is refused, and a killed one is in nobody's way."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jobs import small_job

from processes import lesion

HOLDS = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print(flush=True)
time.sleep(600)
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """A job that is refused as soon as it is read, so that nothing is trained here."""
    return small_job(tmp_path / "job", no_such_setting=1)


def test_a_second_training_is_refused_and_leaves_the_files_of_the_first(root):
    (root / "output").mkdir()
    (root / "output" / "failure").write_text("of the first")
    number = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        ended = lesion("train", "--root", root)
    finally:
        os.close(number)
    assert ended.returncode == 2 and f"another training runs here ({root})" in ended.stderr
    assert (root / "output" / "failure").read_text() == "of the first"


def test_a_training_that_was_killed_locks_nobody_out(root):
    with subprocess.Popen([sys.executable, "-c", HOLDS, root], stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        first.send_signal(signal.SIGKILL)
    ended = lesion("train", "--root", root)
    assert "no_such_setting" in ended.stderr and "another training" not in ended.stderr


def test_an_unknown_command_is_told_those_that_are_for_people():
    said = lesion("foo").stderr
    assert "'train'" in said and "train-process" not in said
