"""Pipeline: the handle of a definition: puts it on SageMaker, starts it there, or runs it on this machine."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.aws import error_code, explained, open_client
from lesion_jobs.account.estimate import estimate
from lesion_jobs.account.kinds import PROCESSING, TRAINING
from lesion_jobs.account.preflight import check_account
from lesion_jobs.account.send import send
from lesion_jobs.account.storage import readable_uri, share_files
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment
from lesion_jobs.numbers import check_within
from lesion_jobs.pipelines.definition import Json, all_steps
from lesion_jobs.pipelines.execution import Execution
from lesion_jobs.pipelines.local import LocalExecution, run_here
from lesion_jobs.requests.validate import Requests
from lesion_jobs.runs.models import Model, ModelVersion, model_uri_of
from lesion_jobs.runs.registry import make_group


@dataclass(frozen=True)
class Pipeline:
    """A pipeline by its name, not yet anywhere. `environment.output` is its own prefix."""

    name: str
    environment: Environment
    content: Json
    group: str
    role: str
    num_instances: int = 1
    max_hours: float = 24

    def definition(self) -> Json:
        """Its JSON, to be kept under version control. It holds no time and no random name."""
        return copy.deepcopy(self.content)

    def requests(self, operation: str) -> Requests:
        """CreatePipeline's or UpdatePipeline's request."""
        text = json.dumps(self.content)
        request: dict[str, Any] = {"PipelineName": self.name, "PipelineDefinition": text, "RoleArn": self.role}
        if operation == "CreatePipeline":
            request |= {"ClientRequestToken": uuid.uuid4().hex}
            request |= {"Tags": self.environment.tag_list} if self.environment.tag_list else {}
        return [(operation, request)]

    def upsert(self) -> None:
        """Puts the pipeline, and the group of the registry, on SageMaker, over an earlier one of the same name.

        Costs nothing. Raises UserError in local mode, and for what AWS refuses.
        """
        _refuse_local(self.environment, "keeps no pipelines", do="Call run_locally().")
        operation = "UpdatePipeline" if self._is_there() else "CreatePipeline"
        make_group(self.environment, self.group)
        send(self.environment, self.requests(operation), what=f"pipeline {self.name} was not saved")

    @typed
    def start(
        self,
        *,
        data: str | None = None,
        test: str | None = None,
        bar: float | None = None,
        champion: Model | None = None,
        wait: bool = True,
    ) -> Execution:
        """Saves the pipeline, then starts it; what is given here replaces what it was made with, for this execution.

        Returns once the model is registered. Raises UserError before anything is paid for as the other verbs do, and
        with step and reason if it fails or the model is refused. `wait=False` returns at once.
        """
        _refuse_local(self.environment, "starts no pipelines", do="Call run_locally().")
        problems: list[UserError] = []
        given: dict[str, Any] = {"Data": data, "Test": test, "Bar": bar, "Champion": champion}
        given = {name: value for name, value in given.items() if value is not None}
        values = {one["Name"]: one["DefaultValue"] for one in self.content["Parameters"]}
        if unknown := sorted(set(given) - set(values)):
            what = f"pipeline {self.name} has no parameter {', '.join(unknown)}"
            problems.append(UserError(what, do="Make it with a champion.", kind="environment"))
        if champion is not None:
            with collecting(problems):
                given["Champion"] = champion_uri(self.environment, champion)
        values |= given
        with collecting(problems):
            check_within("bar", values["Bar"], 0.5, 1)
        uris: dict[str, str] = {}
        for place, what in {"Data": "the data set", "Test": "the test set"}.items():
            with collecting(problems):
                uris[place] = readable_uri(values[place], self.environment, what=what)
        with collecting(problems):
            if len(uris) == 2:
                refuse_known_test({**self._channels(), "training": uris["Data"]}, uris["Test"])
        raise_all(problems)
        notes = self._check_account({name: uri for name, uri in values.items() if name != "Bar"})
        self.upsert()
        self._announce(notes)
        request = {
            "PipelineName": self.name,
            "PipelineParameters": [{"Name": name, "Value": str(value)} for name, value in given.items()],
            "ClientRequestToken": uuid.uuid4().hex,
        }
        what = f"pipeline {self.name} was not started"
        (answer,) = send(self.environment, [("StartPipelineExecution", request)], what=what)
        execution = Execution(answer["PipelineExecutionArn"], self.environment)
        return execution.wait() if wait else execution

    def run_locally(self) -> LocalExecution:
        """Runs the same definition on this machine to its end, step by step, without the registry and without a cache.

        Raises UserError with step and reason if one fails or the model is refused, and outside of local mode.
        """
        if not self.environment.is_local:
            do = "Make the pipeline with an Environment of instance_type 'local' or 'local_gpu'."
            raise UserError(f"{self.environment.instance_type} is not this machine", do=do, kind="environment")
        return run_here(self.name, self.environment, self.content)

    def _channels(self) -> dict[str, str]:
        """The channels of the training whose addresses no execution changes."""
        (train,) = (step for step in self.content["Steps"] if step["Type"] == "Training")
        inputs = {
            one["ChannelName"]: one["DataSource"]["S3DataSource"] for one in train["Arguments"]["InputDataConfig"]
        }
        return {name: source["S3Uri"] for name, source in inputs.items() if isinstance(source["S3Uri"], str)}

    def _is_there(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            open_client(self.environment).describe_pipeline(PipelineName=self.name)
        except (ClientError, BotoCoreError) as error:
            if error_code(error) in {"ResourceNotFound", "ValidationException"}:  # SageMaker's words for "not there"
                return False
            raise explained(error, f"the pipeline {self.name} is not known", do="Correct the name.") from error
        return True

    def _check_account(self, reads: Mapping[str, str]) -> list[str]:
        """Role, image, both quotas, and what is to be read. Returns notes of what could not be asked."""
        problems: list[UserError] = []
        notes: list[str] = []
        with collecting(problems):
            notes += check_account(self.environment, TRAINING, num_instances=self.num_instances, reads=reads)
        with collecting(problems):
            notes += check_account(replace(self.environment, role=self.role), PROCESSING)
        raise_all(problems)
        return list(dict.fromkeys(notes))

    def _announce(self, notes: list[str]) -> None:
        steps = [step["Type"] for step in all_steps(self.content["Steps"])]
        training = estimate(self.environment, "train", hours=self.max_hours, num_instances=self.num_instances)
        processing = estimate(self.environment, "evaluate", hours=self.max_hours, num_jobs=steps.count("Processing"))
        lines = [f"Train: {training.sentence}", f"{steps.count('Processing')} processing jobs: {processing.sentence}"]
        print(f"pipeline {self.name}", *lines, *notes, sep="\n", flush=True)  # noqa: T201


def champion_uri(environment: Environment, champion: Model) -> str:
    """Where the model.tar.gz of the champion lies. Raises UserError for a version that is not approved, or gone."""
    uri = model_uri_of(environment, champion)
    if not isinstance(champion, ModelVersion):
        return uri
    return str(champion.describe()["InferenceSpecification"]["Containers"][0]["ModelDataUrl"])


def refuse_known_test(channels: Mapping[str, str], test: str) -> None:
    """Raises UserError for a test set of which the training reads files: the bar would be met by what was learned."""
    known = [name for name, uri in channels.items() if name != "pretrained" and share_files(uri, test)]
    if known:
        raise UserError(
            f"the test set shares files with what the model learns from: {', '.join(channels[name] for name in known)}",
            where=test,
            do="Give a test set of other patients, below an address of its own; end both addresses with a slash.",
            kind="location",
        )


def _refuse_local(environment: Environment, why: str, *, do: str) -> None:
    if environment.is_local:
        raise UserError(f"local mode {why}", do=do, kind="environment")
