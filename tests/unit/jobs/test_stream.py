"""Stream: what becomes of each message of the queue, on moto's S3 and SQS; an endpoint that a function plays."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from wire import Wire
from wire import account as whole_account

from buckets import BUCKET, Account
from lesion.errors import UserError
from lesion_jobs import Endpoint, Environment
from lesion_jobs.stream import poll
from lesion_jobs.stream.handler import (
    MAX_BYTES,
    Ask,
    Refused,
    Stream,
    Unanswered,
    endpoint_asker,
    handle_message,
    pictures_of,
)

RESULTS = f"s3://{BUCKET}/results"
ANSWER = {"predictions": [{"probability": 0.25, "label": "benign"}]}
# A line of each kind that a key may hold: spaces, plus, other alphabets, what URLs and shells read as something else.
ODD_KEYS = ("a b+c.jpg", "Bräune/左.png", "%2Fa%20.jpg", "x//../y.jpg", "q?a=1&b=#2.jpg", "'\"<>\\.jpg", "no_ending")


@pytest.fixture
def account() -> Iterator[Account]:
    with mock_aws():
        account = Account(boto3.Session("made-up", "made-up", region_name="eu-central-1"))
        test = account.receive()  # S3 tries a new notification
        assert test is not None and pictures_of(test["body"]) == []
        account.sqs.purge_queue(QueueUrl=account.queue)
        yield account


@pytest.fixture
def asked() -> list[tuple[bytes, str]]:
    """What the endpoint was asked."""
    return []


@pytest.fixture
def stream(account, asked) -> Stream:
    def ask(body: bytes, content_type: str) -> bytes:
        asked.append((body, content_type))
        if body == b"no picture":
            raise Refused(400, "not an image that can be decoded")
        if body == b"overloaded":
            raise ConnectionError("503")
        return json.dumps(ANSWER).encode()

    return Stream(account.s3, ask, BUCKET, "results/")


def work(account: Account, stream: Stream) -> int:
    """Handles all messages until the queue is empty, as a poller does; how many were received."""
    num_received = 0
    while message := account.receive():
        num_received += 1
        if handle_message(stream, message["body"], message["messageId"]):
            account.sqs.delete_message(QueueUrl=account.queue, ReceiptHandle=message["receipt"]["ReceiptHandle"])
    return num_received


def test_each_picture_gets_its_result_whatever_its_key_is(account, stream):
    etags = {key: account.put(f"incoming/{key}", key.encode()) for key in ODD_KEYS}
    account.put("elsewhere/x.jpg", b"not for the queue")
    work(account, stream)
    found = account.results()
    assert set(found) == {f"results/{BUCKET}/incoming/{key}/{etag}.json" for key, etag in etags.items()}
    for key, etag in etags.items():
        told = found[f"results/{BUCKET}/incoming/{key}/{etag}.json"]
        assert told["picture"] == f"s3://{BUCKET}/incoming/{key}" and told["etag"] == etag
        assert told["answer"] == ANSWER
    assert account.num_messages(account.queue) == account.num_messages(account.dead_letters) == 0


def test_a_key_of_the_greatest_length_has_a_result_too(account, stream):
    account.put("incoming/" + "ä" * 500 + ".jpg", b"picture")
    work(account, stream)
    [(key, told)] = account.results().items()
    assert len(key.encode()) <= 1024 and "ä" * 500 in told["picture"]


def test_what_was_handled_twice_is_asked_and_stored_once(account, stream, asked):
    account.put("incoming/a.jpg", b"picture")
    message = account.receive()
    assert message is not None
    stream.handle(message["body"])
    before = account.results()
    stream.handle(message["body"])  # as after a death between storing and deleting
    assert account.results() == before and len(asked) == 1


def test_of_two_handlers_of_one_message_the_first_result_counts(account, stream):
    account.put("incoming/a.jpg", b"picture")
    message = account.receive()
    assert message is not None

    def slow(body: bytes, content_type: str) -> bytes:
        stream.handle(message["body"])  # meanwhile the other one is done
        return json.dumps({"predictions": "late"}).encode()

    Stream(account.s3, slow, BUCKET, "results/").handle(message["body"])
    [told] = account.results().values()
    assert told["answer"] == ANSWER


def test_a_refused_picture_is_asked_once_has_a_result_that_says_why_and_ends_in_the_dead_letter_queue(
    account, stream, asked
):
    account.put("incoming/bad.jpg", b"no picture")
    account.put("incoming/good.jpg", b"picture")
    num_received = work(account, stream)
    refused = [told["refused"] for told in account.results().values() if "refused" in told]
    assert refused == [{"status": 400, "message": "not an image that can be decoded"}]
    assert sum("answer" in told for told in account.results().values()) == 1
    assert len(asked) == 2 and num_received == 5 + 1  # maxReceiveCount of the template
    assert account.num_messages(account.queue) == 0 and account.num_messages(account.dead_letters) == 1


def test_a_picture_that_is_too_large_is_refused_unread(account, stream, asked):
    etag = account.put("incoming/large.tif", bytes(MAX_BYTES + 1))
    work(account, stream)
    told = account.results()[f"results/{BUCKET}/incoming/large.tif/{etag}.json"]
    assert told["refused"]["status"] == 413 and str(MAX_BYTES) in told["refused"]["message"] and asked == []
    assert account.num_messages(account.dead_letters) == 1


def test_what_the_endpoint_cannot_answer_now_is_tried_again_and_then_kept_in_the_dead_letter_queue(account, stream):
    account.put("incoming/a.jpg", b"overloaded")
    assert work(account, stream) == 5 and account.results() == {}
    assert account.num_messages(account.dead_letters) == 1


def test_a_picture_that_was_removed_or_replaced_meanwhile_is_not_asked_for(account, stream, asked):
    account.put("incoming/gone.jpg", b"picture")
    account.s3.delete_object(Bucket=BUCKET, Key="incoming/gone.jpg")
    account.put("incoming/new.jpg", b"first")
    account.put("incoming/new.jpg", b"second")  # whose message is the next
    work(account, stream)
    assert [body for body, _ in asked] == [b"second"] and len(account.results()) == 1
    assert account.num_messages(account.queue) == account.num_messages(account.dead_letters) == 0


def message_of(*pictures: dict[str, object], event: str = "ObjectCreated:Put") -> str:
    plain = {"key": "incoming/a.jpg", "size": 7, "eTag": "e"}
    records = [
        {"eventName": event, "s3": {"bucket": {"name": BUCKET}, "object": {**plain, **picture}}} for picture in pictures
    ]
    return json.dumps({"Records": records})


def test_each_version_of_a_picture_is_answered_for_itself(account, stream, asked):
    account.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    versions = [
        account.s3.put_object(Bucket=BUCKET, Key="incoming/a.jpg", Body=content)["VersionId"]
        for content in (b"first", b"second")
    ]
    stream.handle(message_of(*({"versionId": version} for version in versions)))  # moto's own messages have none
    assert [body for body, _ in asked] == [b"first", b"second"]
    assert set(account.results()) == {f"results/{BUCKET}/incoming/a.jpg/{version}.json" for version in versions}


def test_of_several_pictures_in_a_message_all_that_can_be_are_answered(account, stream):
    etags = {name: account.put(f"other/{name}.jpg", name.encode()) for name in ("no picture", "overloaded", "fine")}
    body = message_of(*({"key": f"other/{name.replace(' ', '+')}.jpg", "eTag": e} for name, e in etags.items()))
    with pytest.raises(Unanswered, match="refused: its result says why; ConnectionError"):
        stream.handle(body)
    assert len(account.results()) == 2


def test_a_request_in_json_brings_its_metadata(account, stream, asked):
    request = b'{"image": "aGk=", "json_data": {"sex": "male"}}'
    account.put("incoming/a.json", request)
    account.put("incoming/a.jpg", b"picture")
    work(account, stream)
    assert set(asked) == {(request, "application/json"), (b"picture", "application/x-image")}


def test_the_test_of_a_queue_and_a_folder_are_no_pictures():
    assert pictures_of(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET})) == []
    assert pictures_of(message_of({"key": "incoming/new+folder/", "size": 0})) == []


@pytest.mark.parametrize("body", ["", "hello", "[]", "7", "{}", '{"Records": [{}]}', '{"Records": 3}', "\x00"])
def test_a_message_of_somebody_else_stays_and_says_what_it_is_not(body):
    with pytest.raises(Unanswered, match="not S3's message"):
        pictures_of(body)


def test_a_message_of_a_removal_stays():
    with pytest.raises(Unanswered):
        pictures_of(message_of({}, event="ObjectRemoved:Delete"))


def test_no_log_line_holds_the_name_of_a_picture(account, stream, caplog):
    caplog.set_level("INFO")
    account.put("incoming/Jane_Doe.jpg", b"no picture")
    account.put("incoming/Jane_Roe.jpg", b"picture")
    work(account, stream)
    denied = Stream(account.s3, stream.ask, "no-such-bucket", "")
    assert not handle_message(denied, message_of({"key": "incoming/Jane.jpg"}), "m")
    assert "stays: refused" in caplog.text and "done" in caplog.text and "stays: HeadObject" in caplog.text
    assert "Jane" not in caplog.text


def asker(wire: Wire, *, code: str = "ModelError", status: int = 424, **more: Any) -> Ask:
    """Asks an endpoint that refuses so."""
    wire.refuse("sagemaker-runtime.InvokeEndpoint", code, "SageMaker's words", status=status, **more)
    return endpoint_asker(wire.session.client("sagemaker-runtime"), "lesion-x")


@pytest.mark.parametrize("status", [400, 413, 415])
def test_what_the_container_refuses_is_refused_with_its_words(status):
    with whole_account() as (wire, _):
        ask = asker(wire, OriginalStatusCode=status, OriginalMessage="words of the server")
        with pytest.raises(Refused) as refused:
            ask(b"picture", "application/x-image")
    assert (refused.value.status, refused.value.message) == (status, "words of the server")


@pytest.mark.parametrize(
    "error",
    [
        {"OriginalStatusCode": 500},
        {"OriginalStatusCode": 503},
        {"OriginalStatusCode": 404},
        {"code": "ValidationError", "status": 400},  # no such endpoint: not the picture's fault
        {"code": "ThrottlingException", "status": 400},
    ],
)
def test_what_is_not_the_pictures_fault_is_no_refusal(error, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with whole_account() as (wire, _):
        ask = asker(wire, **error)
        with pytest.raises(ClientError):
            ask(b"picture", "application/x-image")


def test_an_endpoint_is_asked_for_json():
    with whole_account() as (wire, _):
        ask = endpoint_asker(wire.session.client("sagemaker-runtime"), "lesion-x")
        assert json.loads(ask(b"picture", "application/x-image")) == ANSWER


def poller(account: Account, stream: Stream) -> Callable[..., int]:
    environment = Environment(
        image="lesion:1", instance_type="ml.m5.xlarge", output="s3://bucket/x", role="arn:x", session=account.session
    )

    def run(queue: str = account.queue, results: str = RESULTS) -> int:
        return poll(Endpoint("lesion-x", environment), queue, results, until_empty=True, ask=stream.ask)

    return run


def test_a_poller_empties_the_queue(account, stream):
    for number in range(3):
        account.put(f"incoming/{number}.jpg", b"%d" % number)
    account.sqs.send_message(QueueUrl=account.queue, MessageBody="hello")
    assert poller(account, stream)() == 3
    assert len(account.results()) == 3 and account.num_messages(account.dead_letters) == 1


def test_a_poller_says_what_it_cannot_work_with(account, stream):
    run = poller(account, stream)
    with pytest.raises(UserError, match="the queue cannot be read"):
        run(queue=account.queue + "-not-there")
    with pytest.raises(UserError, match="results go to S3"):
        run(results="/tmp/results")


LAMBDA = """
import json, sys
import handler
from moto import mock_aws
import boto3

with mock_aws():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="pictures", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    etag = s3.put_object(Bucket="pictures", Key="incoming/a.jpg", Body=b"x" * 9)["ETag"].strip('"')
    picture = {"key": "incoming/a.jpg", "size": handler.MAX_BYTES + 1, "eTag": etag}
    record = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "pictures"}, "object": picture}}
    event = {"Records": [
        {"messageId": "too-large", "body": json.dumps({"Records": [record]})},
        {"messageId": "a-test", "body": json.dumps({"Event": "s3:TestEvent"})},
        {"messageId": "nobody's", "body": "hello"},
    ]}
    print(json.dumps(handler.handle(event, None)))
    print(s3.list_objects_v2(Bucket="pictures", Prefix="results/")["Contents"][0]["Key"])
assert not [name for name in sys.modules if name.startswith("lesion")]
"""


def test_lambda_runs_the_handler_from_what_cloudformation_packages(account, tmp_path):
    """`aws cloudformation package` uploads the folder that the template names; the handler runs without Lesion."""
    from awscli.customizations.cloudformation.artifact_exporter import Template
    from awscli.customizations.s3uploader import S3Uploader

    from templates import FOLDER

    uploader = S3Uploader(account.s3, BUCKET, "code", None, False)
    exported = Template(str(FOLDER / "stream.yaml"), str(FOLDER), uploader).export()
    code = exported["Resources"]["Handler"]["Properties"]["Code"]
    content = account.s3.get_object(Bucket=code["S3Bucket"], Key=code["S3Key"])["Body"].read()
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        packed.extractall(tmp_path)
    variables = {"LESION_ENDPOINT": "lesion-x", "LESION_RESULTS": RESULTS, "AWS_DEFAULT_REGION": "eu-central-1"}
    keys = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LAMBDA],
        cwd=tmp_path, env={**inherited, **variables, **keys}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told, key = done.stdout.splitlines()
    assert json.loads(told) == {"batchItemFailures": [{"itemIdentifier": "too-large"}, {"itemIdentifier": "nobody's"}]}
    assert key.startswith(f"results/{BUCKET}/incoming/a.jpg/")
