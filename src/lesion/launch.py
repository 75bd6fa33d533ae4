"""Launch: a light parent process that starts the training processes, forwards signals, and reports how they ended.

The parent is what SageMaker starts as process 1. It imports nothing heavy, so it is ready for SIGTERM at once, and it
is still there to say why when a child is killed for memory.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lesion.files import refused

INTERRUPTED = 130  # exit code of a child that was asked to stop
PEER_LOST = 4  # and of one that lost another process, which has the cause
GRACE_S = 30  # how long the others may take to end after one has failed
LOOK_EVERY_S = 0.05  # for what the first child says about further ones
SAME_WISH_S = 0.5  # two SIGINTs that come closer are one: `timeout -s INT` signals its command, and then its group

Command = Sequence[str]


@dataclass(frozen=True)
class Ending:
    """How the children ended: the status of the one that decided (negative: killed by that signal), and its number."""

    status: int
    process: int
    num_processes: int

    @property
    def was_stopped(self) -> bool:
        """Whether the job was stopped from outside."""
        return self.status in {128 + signal.SIGTERM, 128 + signal.SIGINT}

    def describe_death(self, remedy: str, *, step: str = "") -> str | None:
        """The failure message for a death by signal; None for an ordinary exit.

        `step` is what the process was doing, and `remedy` what its user can set when the memory is too small for that.
        """
        if self.status >= 0:
            return None
        name = signal.Signals(-self.status).name
        several = self.num_processes > 1
        cause = f"most likely out of memory: {'lower processes, or ' if several else ''}{remedy}"
        who = f"process {self.process} of {self.num_processes}" if several else "the training process"
        while_doing = f" while {step}" if step else ""
        return f"{who} was killed by {name}{while_doing}, " + (
            cause if name == "SIGKILL" else "a crash in native code: see the end of the log"
        )


def run_children(
    commands: Sequence[Command],
    environment: Mapping[str, str],
    *,
    later: Callable[[], Sequence[Command] | None] | None = None,
    has_begun: Callable[[], bool] = lambda: True,
) -> Ending:
    """Runs all commands to their ends. If one fails, the others end after `GRACE_S`; at once where nothing `has_begun`
    that they could save.

    SIGTERM and SIGINT become a SIGTERM to all, by which they save what they have, or die where they do not know it yet.
    After that a SIGINT, the second Ctrl-C of somebody who does not want to wait, kills them.

    `later` is asked while the first ones run, until it gives the commands of further children and no longer None. The
    first that failed decides, unless it only reports that another failed. Raises PlatformError if a process cannot be
    started.
    """
    stop_signal: list[int] = []
    children: list[subprocess.Popen[bytes]] = []
    told: list[subprocess.Popen[bytes]] = []

    stopped_at = float("inf")

    def hand_on(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped_at
        is_second = number == signal.SIGINT and time.monotonic() - stopped_at > SAME_WISH_S
        stopped_at = min(stopped_at, time.monotonic())
        stop_signal.append(number)
        for child in children:
            told.append(child)
            child.send_signal(signal.SIGKILL if is_second else signal.SIGTERM)

    for wish in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wish, hand_on)  # before a child starts: a signal to process 1 without a handler is lost

    def start(commands: Sequence[Command]) -> None:
        for command in commands:
            try:
                children.append(subprocess.Popen(command, env=environment))
            except OSError as error:
                for child in children:
                    child.kill()
                raise refused(error, command[0], "a training process cannot be started") from error
        for child in children:
            if stop_signal and child not in told:  # it came while they were started
                child.send_signal(signal.SIGTERM)

    start(commands)
    order = _wait(children, stop_signal, start, later, has_begun)
    statuses = [child.wait() for child in children]
    failed = [number for number in order if statuses[number] not in {0, PEER_LOST}]
    number = (failed or [number for number in order if statuses[number]] or order)[0]
    status = statuses[number]
    # A death by the signal that we forwarded is a requested stop, not a failure: 128 + signal, as in a shell.
    is_stop = stop_signal and (status < 0 or status == INTERRUPTED)
    return Ending(128 + stop_signal[0] if is_stop else status, number, len(children))


def num_gpus() -> int:
    """How many GPUs the children will see, found out without torch."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in visible.split(",")]
        # As CUDA reads it: what comes behind a name that is none is not seen.
        return next((number for number, name in enumerate(names) if name in {"", "-1"}), len(names))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
        return sum(line.startswith("GPU ") for line in listed.splitlines())
    except (OSError, subprocess.SubprocessError):
        return sum(1 for _ in Path("/proc/driver/nvidia/gpus").glob("*"))


def _wait(
    children: Sequence[subprocess.Popen[bytes]],
    stop_signal: Sequence[int],
    start: Callable[[Sequence[Command]], None],
    later: Callable[[], Sequence[Command] | None] | None,
    has_begun: Callable[[], bool],
) -> list[int]:
    """Waits for all, starts those that come `later`, and kills those left `GRACE_S` after a failure, or at once.
    Returns those that ended alone, in order."""
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()

    def announce(number: int) -> None:
        children[number].wait()
        ended.put(number)

    num_watched = 0
    order: list[int] = []
    too_late = float("inf")
    while len(order) < len(children):
        if later is not None and (commands := later()) is not None:
            start(commands)
            later = None
        for number in range(num_watched, len(children)):
            threading.Thread(target=announce, args=(number,), daemon=True).start()
        num_watched = len(children)
        left_s = min(too_late - time.monotonic(), float("inf") if later is None else LOOK_EVERY_S)
        try:
            order.append(ended.get(timeout=None if left_s == float("inf") else max(left_s, 0)))
        except queue.Empty:
            if time.monotonic() < too_late:
                continue
            for child in children:
                child.kill()
            break
        if (status := children[order[-1]].returncode) and not stop_signal:  # else the platform's limit holds
            is_waited_for = status == PEER_LOST or has_begun()  # the one with the cause may still be ending
            too_late = min(too_late, time.monotonic() + (GRACE_S if is_waited_for else 0))
    return order
