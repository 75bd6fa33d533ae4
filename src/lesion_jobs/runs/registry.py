"""Registry: a trained model as a version in SageMaker's model registry, with its metrics, card and image."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from lesion.errors import UserError, collecting, raise_all
from lesion_jobs.account.aws import error_code, explained, open_client, open_session, plain_errors
from lesion_jobs.account.preflight import image_digest
from lesion_jobs.account.send import send
from lesion_jobs.account.storage import encryption, split_uri
from lesion_jobs.argument_types import typed
from lesion_jobs.environment import Environment
from lesion_jobs.requests.registry import Approval, group_request, package_request
from lesion_jobs.requests.validate import check_requests
from lesion_jobs.runs.evaluation import EvaluationRun, fetch_evaluation
from lesion_jobs.runs.models import ModelVersion
from lesion_jobs.runs.training import TrainingRun, fetch_results


@typed
def register(
    run: TrainingRun,
    group: str,
    *,
    evaluation: EvaluationRun | None = None,
    approval: Approval = "PendingManualApproval",
    description: str = "",
) -> ModelVersion:
    """Put a finished run's model into the registry, as the next version of `group`, which is made if it is not there.

    It gets the metrics with their intervals, searchable as `training:roc_auc` and its like, and those of an
    `evaluation` on another set beside them; the model card; and the digest of the image, so that a tag that moves
    changes nothing. Nothing here is billed. Raises one UserError with all that is wrong: results that are not there
    yet, a group's name that is none.
    """
    environment = run.environment
    if environment.is_local:
        raise UserError("local mode has no registry", do="Take an instance type of SageMaker.", kind="environment")
    problems: list[UserError] = []
    metrics: dict[str, Any] = {}
    card, statistics = None, f"{environment.output_uri}/{run.name}/registered/metrics.json"
    with tempfile.TemporaryDirectory() as scratch:
        with collecting(problems):
            results = fetch_results(run, Path(scratch) / "training")
            with collecting(problems):
                metrics["training"] = _read(results / "metrics.json")
            with collecting(problems):
                card = _read(results / "sagemaker_model_card.json")
        if evaluation is not None:
            statistics = f"{evaluation.output}/metrics.json"
            with collecting(problems):
                judged = fetch_evaluation(evaluation, Path(scratch) / "evaluation")
                metrics["evaluation"] = _read(judged / "metrics.json")
    digest = image_digest(open_session(environment), environment.image)
    if digest is None:
        print(f"not pinned: the digest of {environment.image} is not known, so the version follows its tag")  # noqa: T201
    with collecting(problems):
        request = package_request(
            environment,
            group,
            run.model,
            metrics=metrics,
            statistics_uri=statistics,
            card=card,
            approval=approval,
            description=description or f"training job {run.name}",
            image_digest=digest,
        )
        check_requests(
            [("CreateModelPackageGroup", group_request(environment, group)), ("CreateModelPackage", request)]
        )
    raise_all(problems)
    if evaluation is None:
        _put_json(environment, statistics, metrics["training"])
    make_group(environment, group)
    (answer,) = send(environment, [("CreateModelPackage", request)], what=f"{run.name} was not registered")
    return ModelVersion(answer["ModelPackageArn"], environment)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"the results have no {path.name}", where=path.parent.name, do="Has the job finished?", kind="location"
        ) from error


def _put_json(environment: Environment, uri: str, content: Any) -> None:
    bucket, key = split_uri(uri)
    with plain_errors(f"{uri} was not written", do="Look at the bucket's permissions."):
        open_client(environment, "s3").put_object(
            Bucket=bucket,
            Key=key,
            Body=json.dumps(content).encode(),
            ContentType="application/json",
            **encryption(environment),
        )


def make_group(environment: Environment, group: str) -> None:
    """Makes the group, unless it is there."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = open_client(environment)
    try:
        client.describe_model_package_group(ModelPackageGroupName=group)
    except (ClientError, BotoCoreError) as error:
        if error_code(error) not in {"ValidationException", "ResourceNotFound"}:  # SageMaker's word for "not there"
            raise explained(error, f"the group {group} is not known", do="Correct the name.") from error
        what = f"the group {group} was not made"
        send(environment, [("CreateModelPackageGroup", group_request(environment, group))], what=what)
