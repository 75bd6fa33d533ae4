"""Launch: a light parent that starts the training process, hands signals on, and knows how it ended.

The parent is what SageMaker starts as process 1. It imports nothing heavy, so it is ready for SIGTERM at once, and it
is still there to say why when the child is killed for memory.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType

INTERRUPTED = 130  # how a child says that it ended because it was told to


def run_child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs `command` to its end, handing SIGTERM and SIGINT on. Its exit status, negative for a death by signal."""
    stop_signal: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, _frame: FrameType | None) -> None:
        stop_signal.append(number)
        if child is not None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)  # before the child starts: a signal to process 1 without a handler is lost
    child = subprocess.Popen(command, env=environment)
    if stop_signal:  # it came between the two lines above
        child.send_signal(stop_signal[0])
    status = child.wait()
    # An end by the signal that we handed on is a stop that was asked for, and no failure: the shell's word for it.
    return 128 + stop_signal[0] if stop_signal and (status < 0 or status == INTERRUPTED) else status


def was_stopped(status: int) -> bool:
    """Whether a status of `run_child` says that somebody asked the job to stop."""
    return status in {128 + signal.SIGTERM, 128 + signal.SIGINT}


def describe_death(status: int) -> str | None:
    """What a negative exit status says, for the failure file; None for an ordinary one."""
    if status >= 0:
        return None
    name = signal.Signals(-status).name
    cause = "most likely for want of memory: lower batch_size_train or image_size, or choose a larger instance"
    return f"the training process was killed by {name}, " + (
        cause if name == "SIGKILL" else "a crash in native code: see the end of the log"
    )
