"""Polling: what Lambda does with the handler, on any machine: a laptop, a container, a server of a hospital."""

from __future__ import annotations

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.send import runtime_of
from lesion_jobs.argument_types import typed
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.stream.handler import Ask, Stream, endpoint_asker, handle_message, split_results

WAIT_S = 20  # the longest that SQS waits for a message
LOOK_S = 1  # the shortest in which it looks on all of its servers
DO = "Look at the queue's address, its region, and the permissions for queue and bucket."


@typed
def poll(endpoint: Endpoint, queue_url: str, results: str, *, until_empty: bool = False, ask: Ask | None = None) -> int:
    """Handle the queue's messages one after the other, until there are none if `until_empty`. Returns how many were
    done.

    The results go to `results` (s3://BUCKET/PREFIX). What is not done stays in the queue. It may be killed at any
    instant, and any number may run. `ask` answers instead of the endpoint: another server. Raises UserError where the
    queue cannot be read.
    """
    if not results.startswith("s3://"):
        raise UserError("results go to S3", where=results, do="Give s3://BUCKET/PREFIX.", kind="location")
    environment = endpoint.environment
    s3, sqs = open_client(environment, "s3"), open_client(environment, "sqs")
    stream = Stream(s3, ask or endpoint_asker(runtime_of(environment), endpoint.name), *split_results(results))
    num_done = 0
    with plain_errors("the queue cannot be read", do=DO):
        while True:
            # One at a time: the time in which no other handler gets it runs from here.
            wait_s = LOOK_S if until_empty else WAIT_S
            told = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1, WaitTimeSeconds=wait_s)
            messages = told.get("Messages", [])
            if until_empty and not messages:
                return num_done
            for message in messages:
                if handle_message(stream, message["Body"], message["MessageId"]):
                    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                    num_done += 1
