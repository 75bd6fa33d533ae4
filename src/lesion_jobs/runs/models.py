"""Models: what can be served: a training run, the location of a model.tar.gz, or a version in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion.errors import UserError
from lesion_jobs.account.aws import open_client, plain_errors
from lesion_jobs.account.storage import ARCHIVE, readable_uri
from lesion_jobs.argument_types import check_fields
from lesion_jobs.environment import Environment
from lesion_jobs.runs.training import TrainingRun


@dataclass(frozen=True)
class ModelVersion:
    """A version of a model in the registry. `deploy` and `transform` take it once it is approved."""

    arn: str
    environment: Environment

    def __post_init__(self) -> None:
        check_fields(self)

    def describe(self) -> Mapping[str, Any]:
        """SageMaker's own description, with approval, metrics and card. Raises UserError for a version that is gone."""
        with plain_errors(f"model version {self.arn} is not known", do="Is it of this account and region?"):
            client = open_client(self.environment)
            answer: Mapping[str, Any] = client.describe_model_package(ModelPackageName=self.arn)
        return answer


Model = TrainingRun | ModelVersion | str | Path


def model_uri_of(environment: Environment, model: Model) -> str:
    """Where the model.tar.gz of a run lies, that which is named by its location, or the ARN of an approved version.

    Raises UserError for what is no .tar.gz in S3, and for a version that is not approved or that local mode cannot
    fetch.
    """
    if not isinstance(model, ModelVersion):
        uri = readable_uri(model.model if isinstance(model, TrainingRun) else model, environment, what="the model")
        if uri.startswith("s3://") and not uri.endswith(ARCHIVE):
            do = f"Give the archive itself: s3://…/model{ARCHIVE}."
            raise UserError(f"the model is no {ARCHIVE}", where=uri, do=do, kind="location")
        return uri
    if environment.is_local:
        raise UserError("local mode has no registry", where=model.arn, do="Give the run itself.", kind="environment")
    status = model.describe()["ModelApprovalStatus"]
    if status != "Approved":
        raise UserError(
            f"the model version is not approved: it is {status}",
            where=model.arn,
            do="Approve it in the registry, or register it with approval='Approved'.",
            kind="environment",
        )
    return model.arn
