"""Pollers: a process that polls a queue of pictures, and is killed at one chosen step of its work."""

from __future__ import annotations

import os
import signal
from typing import Any

import boto3
import requests

from lesion_jobs import Endpoint, Environment
from lesion_jobs.stream import poll
from lesion_jobs.stream.handler import REFUSALS, Refused

REGION = "eu-central-1"
# Before what it can be killed: between two of them nothing changes that others see.
STEPS = ("receive", "look for a result", "read", "ask", "store", "delete", "receive the next")


def work(server: str, queue: str, results: str, *, killed_before: str | None = None) -> int:
    """Polls until the queue is empty, and lets a server of Lesion answer. SIGKILL comes before that one of STEPS."""
    steps = iter(STEPS)

    def reach(**_: Any) -> None:
        if next(steps, None) == killed_before is not None:
            os.kill(os.getpid(), signal.SIGKILL)

    def ask(body: bytes, content_type: str) -> bytes:
        reach()
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        answer = requests.post(f"{server}/invocations", data=body, headers=headers, timeout=60)
        if answer.status_code in REFUSALS:
            raise Refused(answer.status_code, answer.text)
        answer.raise_for_status()
        return answer.content

    session = boto3.Session("made-up", "made-up", region_name=REGION)
    session.events.register("before-send", reach)
    environment = Environment(
        image="lesion:1", instance_type="ml.m5.xlarge", output=results, role="arn:made-up", session=session
    )
    return poll(Endpoint("lesion-test", environment), queue, results, until_empty=True, ask=ask)
