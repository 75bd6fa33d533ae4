"""Job: the handle of anything that runs on SageMaker or in local mode: wait for it, describe it, read its log."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.kinds import JobKind
from lesion_jobs.account.logs import LogReader
from lesion_jobs.account.send import client_of
from lesion_jobs.argument_types import check_fields, typed
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_within

BUSY = {
    *("InProgress", "Stopping", "Deleting"),
    *("Creating", "Updating", "SystemUpdating", "RollingBack"),  # of an endpoint
}
SUCCEEDED = {"Completed", "InService"}
SAME_ACCOUNT = "Is it of this account and region?"
GOES_ON = f"{SAME_ACCOUNT} If the network failed it goes on: .wait() again."
STOPPED = "Stopped"  # by its time limit or by hand: a stopped training leaves the artifact of its finished folds


@dataclass(frozen=True)
class Job:
    """A job by its name, and where it runs. A handle made by hand, of the same name, does the same."""

    name: str
    environment: Environment
    kind: ClassVar[JobKind]

    def __post_init__(self) -> None:
        check_fields(self)

    def describe(self) -> Mapping[str, Any]:
        """SageMaker's own description. Local mode knows only the jobs of this process. Raises UserError for none."""
        return self._describe(client_of(self.environment))

    @typed
    def wait(self, *, print_logs: bool = True, poll_s: float = 10) -> Self:
        """Returns the handle once the job is done; prints its log as it comes.

        Raises UserError with SageMaker's reason if it failed. A job that was stopped is told and no error.
        """
        check_within("poll_s", poll_s, 0)
        client = client_of(self.environment)
        reader = self._reader() if print_logs and not self.environment.is_local else None
        while True:
            answer = self._describe(client, do=GOES_ON)
            status = answer[f"{self.kind.noun}Status"]
            if reader is not None and not self._print_log(reader):
                reader = None
            if status not in BUSY:
                break
            time.sleep(poll_s)
        if status == STOPPED:
            why = answer.get("SecondaryStatus") or answer.get("FailureReason") or "no reason is known"
            _say(f"{self.kind.title} {self.name} was stopped: {why}")
        elif status not in SUCCEEDED:
            why = answer.get("FailureReason", f"its status is {status}")
            raise UserError(
                f"{self.kind.title} {self.name} failed: {why}", do="Its logs say more: .logs().", kind="job_failed"
            )
        return self

    def logs(self) -> Iterator[str]:
        """The lines that its containers have written up to now. Raises UserError where they cannot be read."""
        if self.environment.is_local:
            raise UserError(
                f"local mode keeps no log of {self.name}", do="It was printed while the job ran.", kind="environment"
            )
        return self._reader().new_lines()

    def _describe(self, client: Any, *, do: str = SAME_ACCOUNT) -> Mapping[str, Any]:
        from botocore import xform_name

        describe = getattr(client, xform_name(f"Describe{self.kind.noun}"))
        with plain_errors(f"{self.kind.title} {self.name} cannot be described", do=do):
            answer: Mapping[str, Any] = describe(**{f"{self.kind.noun}Name": self.name})
        return answer

    def _reader(self) -> LogReader:
        group = self.kind.log_group.format(name=self.name)
        prefix = self.kind.log_prefix.format(name=self.name)
        return LogReader(open_client(self.environment, "logs"), group, prefix)

    def _print_log(self, reader: LogReader) -> bool:
        """Prints what is new. False if the log may not be read. That, and what may be over at the next poll, is said,
        and no reason not to wait."""
        try:
            for line in reader.new_lines():
                _say(line)
        except UserError as error:
            _say(f"no log: {error}")
            return error.kind != "permission"
        return True


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
