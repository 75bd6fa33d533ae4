"""Buckets: one with a queue of its new pictures, as the template sets them up, on moto."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from templates import resources

BUCKET = "pictures"


@dataclass
class Account:
    """The bucket, its queue and that one's dead-letter queue. A message is hidden for `hidden_s` after its receipt."""

    session: Any
    hidden_s: int = 0
    endpoint_url: str | None = None
    s3: Any = field(init=False)
    sqs: Any = field(init=False)
    queue: str = field(init=False)
    dead_letters: str = field(init=False)

    def __post_init__(self) -> None:
        self.s3, self.sqs = (self.session.client(name, endpoint_url=self.endpoint_url) for name in ("s3", "sqs"))
        region = {"LocationConstraint": self.session.region_name}
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
        template = resources("lesion.yaml")
        self.dead_letters = self.sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        redrive = {
            "deadLetterTargetArn": self.arn(self.dead_letters),
            "maxReceiveCount": template["Queue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"],
        }
        attributes = {"RedrivePolicy": json.dumps(redrive), "VisibilityTimeout": str(self.hidden_s)}
        self.queue = self.sqs.create_queue(QueueName="queue", Attributes=attributes)["QueueUrl"]
        told = template["Bucket"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"][0]
        rules = told["Filter"]["S3Key"]["Rules"]
        queue = {
            "QueueArn": self.arn(self.queue),
            "Events": [told["Event"]],
            "Filter": {"Key": {"FilterRules": rules}},
        }
        configuration = {"QueueConfigurations": [queue]}
        self.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)

    def arn(self, queue: str) -> str:
        return str(self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])

    def num_messages(self, queue: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)

    def put(self, key: str, content: bytes) -> str:
        """The ETag of the object, as messages have it."""
        return str(self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)["ETag"]).strip('"')

    def results(self) -> dict[str, Any]:
        """All results by their keys."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="results/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: json.loads(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys}

    def receive(self) -> dict[str, Any] | None:
        """The next message of the queue, as Lambda hands it over; None if it is empty."""
        told = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=1).get("Messages", [])
        return {"messageId": told[0]["MessageId"], "body": told[0]["Body"], "receipt": told[0]} if told else None
