"""Stream: from pictures in a bucket to answers in a bucket, by moto's S3 and SQS and the real server."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer
from pollers import REGION, STEPS, work

from buckets import BUCKET, Account
from processes import Server, wait_until
from warm import LIMIT_S

RESULTS = f"s3://{BUCKET}/results"
HIDDEN_S = 1


@pytest.fixture
def account(monkeypatch) -> Iterator[Account]:
    """The bucket and its queues, on a server that other processes reach too. The bucket keeps versions."""
    aws = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    try:
        account = Account(boto3.Session("made-up", "made-up", region_name=REGION), hidden_s=HIDDEN_S)
        account.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield account
    finally:
        requests.post(f"http://{host}:{port}/moto-api/reset", timeout=60)  # a second server would have the same account
        aws.stop()


def finish(account: Account, server: Server) -> None:
    """Polls until nothing is left, in flight or hidden."""

    def is_empty() -> bool:
        work(server.url(""), account.queue, RESULTS)
        return account.num_messages(account.queue) == 0

    wait_until(is_empty, "the queue was not emptied", lambda: str(account.results()))


def test_a_poller_that_is_killed_at_any_step_loses_no_picture_and_answers_none_twice(account, server, trained_root):
    pictures = sorted((trained_root / "input/data/training/train_jpg").iterdir())[: len(STEPS)]
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["boto3", "requests", "lesion_jobs"])
    finish(account, server)  # S3's test of the queue
    for step, picture in zip(STEPS, pictures, strict=True):
        account.put(f"incoming/Patient {step}/{picture.name}", picture.read_bytes())
        told = {"killed_before": step}
        process = forks.Process(target=work, args=(server.url(""), account.queue, RESULTS), kwargs=told)
        process.start()
        process.join(LIMIT_S)
        assert process.exitcode == -signal.SIGKILL, f"before: {step}"
        is_stored = any(picture.name in key for key in account.results())
        assert is_stored == (step in STEPS[-2:])
        finish(account, server)
    results = account.results()
    assert len(results) == len(STEPS) and account.num_messages(account.dead_letters) == 0
    versions = account.s3.list_object_versions(Bucket=BUCKET, Prefix="results/")["Versions"]
    assert len(versions) == len(STEPS)  # none was written a second time
    by_name = {Path(told["picture"]).name: told["answer"] for told in results.values()}
    assert by_name == {picture.name: server.ask(picture.read_bytes()).json() for picture in pictures}


def test_what_is_no_picture_is_refused_by_the_server_and_ends_in_the_dead_letter_queue(account, server):
    account.put("incoming/a.jpg", b"no picture")
    finish(account, server)
    [told] = account.results().values()
    assert told["refused"]["status"] == 400 and json.loads(told["refused"]["message"])["error"] == "unreadable_image"
    assert account.num_messages(account.dead_letters) == 1
