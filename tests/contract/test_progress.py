"""Progress: a person at a terminal sees a bar with the time left; in the container nobody does, terminal or not."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from jobs import small_job

CONTAINER_TRAIN = Path(__file__).parents[2] / "container" / "train"


def in_a_terminal(*command: str) -> str:
    """What a command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    return written.decode()


@pytest.mark.parametrize("command, has_bar", [("lesion train", True), (str(CONTAINER_TRAIN), False)])
def test_only_a_person_sees_a_progress_bar(command: str, has_bar: bool, tmp_path: Path):
    written = in_a_terminal(*command.split(), "--root", str(small_job(tmp_path)))
    assert ("image/s" in written and "<" in written) == has_bar
    assert has_bar or ("\x1b" not in written and "it/s" not in written)
    assert "metric validation:roc_auc=" in written
