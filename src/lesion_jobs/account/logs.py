"""Logs: the lines that a job's containers wrote, from CloudWatch, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lesion_jobs.account.aws import error_code, explained


class LogReader:
    """Reads the log streams of one job further with each call, whatever streams there are by then."""

    def __init__(self, client: Any, group: str, prefix: str) -> None:
        """`client` is boto3's of CloudWatch Logs; streams are those of the group whose names begin with `prefix`."""
        self.client, self.group, self.prefix = client, group, prefix
        self.tokens: dict[str, str] = {}  # stream → where to go on

    def new_lines(self) -> Iterator[str]:
        """The lines that came since the last call, each stream's in its order. None while there is no log yet.

        Raises UserError: of kind `permission` where reading is not allowed; others, of a lost network or too many
        requests, may be over at the next call, which goes on where this one ended.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for stream in self._streams():
                yield from self._lines_of(stream)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) == "ResourceNotFoundException":  # the group comes with the first line
                return
            raise explained(error, f"the log {self.group} cannot be read", do="Look at it in the console.") from error

    def _streams(self) -> list[str]:
        pages = self.client.get_paginator("describe_log_streams").paginate(
            logGroupName=self.group, **({"logStreamNamePrefix": self.prefix} if self.prefix else {})
        )
        return sorted(stream["logStreamName"] for page in pages for stream in page["logStreams"])

    def _lines_of(self, stream: str) -> Iterator[str]:
        while True:
            token = self.tokens.get(stream)
            answer = self.client.get_log_events(
                logGroupName=self.group,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            yield from (event["message"].rstrip("\n") for event in answer["events"])
            self.tokens[stream] = answer["nextForwardToken"]
            if answer["nextForwardToken"] == token:  # CloudWatch's way to say that there is no more
                return
