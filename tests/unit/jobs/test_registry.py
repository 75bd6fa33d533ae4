"""Registry: a version holds the model, the image's digest, metrics that can be searched, and the card."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any

import pytest
from requested import PLAIN, golden
from wire import Wire, account

from lesion.errors import UserError
from lesion_jobs import Environment, EvaluationRun, ModelVersion, TrainingRun, deploy, register
from lesion_jobs.requests.registry import group_request, package_request
from lesion_jobs.requests.validate import find_faults
from lesion_jobs.runs.training import describe_run

OVERALL = {"num_rows": 18, "metrics": {"roc_auc": 0.9254, "brier": 0.1}, "interval_95": {"roc_auc": [0.91, 0.94]}}
METRICS = {"overall": OVERALL}
CARD = {"model_overview": {"model_name": "m"}, "intended_uses": {"risk_rating": "Unknown"}}


def finished_run(wire: Wire, environment: Environment, files: Mapping[str, Any]) -> TrainingRun:
    """A run whose results lie in the bucket."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            text = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    wire.session.client("s3").put_object(Bucket="bucket", Key="lesion/run/output/output.tar.gz", Body=packed.getvalue())
    return describe_run(environment, "run")


def test_a_version_is_what_the_golden_file_says_and_valid():
    request = package_request(
        PLAIN,
        "skin",
        "s3://bucket/lesion/run/output/model.tar.gz",
        metrics={"training": METRICS},
        statistics_uri="s3://bucket/lesion/run/registered/metrics.json",
        card=CARD,
        approval="PendingManualApproval",
        description="training job run",
        image_digest="sha256:" + 64 * "0",
    )
    assert request == golden("CreateModelPackage")
    assert find_faults("CreateModelPackage", request) == []
    assert find_faults("CreateModelPackageGroup", group_request(PLAIN, "skin")) == []


def version_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The request of a version with these metrics of training."""
    uris = {"statistics_uri": "s3://bucket/metrics.json", "approval": "Approved", "description": "d"}
    return package_request(PLAIN, "skin", "s3://bucket/model.tar.gz", metrics={"training": metrics}, **uris)


def test_a_version_holds_as_many_metrics_as_the_platform_takes():
    """An anomaly job has 17 with intervals, which are 52 properties."""
    names = [f"metric_{number}" for number in range(17)]
    overall = {"num_rows": 9, "metrics": dict.fromkeys(names, 0.5), "interval_95": dict.fromkeys(names, (0.4, 0.6))}
    request = version_of({"overall": overall})
    assert len(request["CustomerMetadataProperties"]) == 50 and find_faults("CreateModelPackage", request) == []
    assert request["CustomerMetadataProperties"]["training:metric_0:upper"] == "0.6"


def test_metrics_of_another_form_are_refused_in_words():
    with pytest.raises(UserError, match="no overall metrics"):
        version_of({"overall": {"roc_auc": {"value": 0.9}}})


def test_a_run_becomes_the_next_version_of_its_group_and_is_served_once_approved():
    with account() as (wire, environment):
        run = finished_run(wire, environment, {"metrics.json": METRICS, "sagemaker_model_card.json": CARD})
        first, second = register(run, "skin"), register(run, "skin", approval="Approved")
        assert (first.arn[-2:], second.arn[-2:]) == ("/1", "/2")
        told = second.describe()
        assert told["ModelApprovalStatus"] == "Approved"
        assert told["CustomerMetadataProperties"]["training:roc_auc:lower"] == "0.91"
        kept = wire.session.client("s3").get_object(Bucket="bucket", Key="lesion/run/registered/metrics.json")
        assert json.loads(kept["Body"].read()) == METRICS
        with pytest.raises(UserError, match="it is PendingManualApproval"):
            deploy(environment, first)
        wire.sent.clear()
        deploy(environment, second, wait=False)
        assert wire.body("sagemaker.CreateModel")["PrimaryContainer"] == {"ModelPackageName": second.arn}
        with pytest.raises(UserError, match="is not known"):
            deploy(environment, ModelVersion(second.arn[:-1] + "9", environment))


def test_an_evaluation_on_another_set_stands_beside_training():
    with account() as (wire, environment):
        run = finished_run(wire, environment, {"metrics.json": METRICS, "sagemaker_model_card.json": CARD})
        elsewhere = {"overall": {"num_rows": 9, "metrics": {"roc_auc": 0.8}}}
        wire.session.client("s3").put_object(
            Bucket="bucket", Key="lesion/judged/metrics.json", Body=json.dumps(elsewhere).encode()
        )
        evaluation = EvaluationRun("judged", environment, "s3://bucket/lesion/judged")
        told = register(run, "skin", evaluation=evaluation).describe()
        properties = told["CustomerMetadataProperties"]
        assert (properties["training:roc_auc"], properties["evaluation:roc_auc"]) == ("0.9254", "0.8")
        statistics = told["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
        assert statistics == "s3://bucket/lesion/judged/metrics.json"


def test_a_run_without_results_is_not_registered_and_no_group_is_made():
    with account() as (wire, environment):
        with pytest.raises(UserError, match="there is nothing in S3"):
            register(describe_run(environment, "nothing"), "skin")
        run = finished_run(wire, environment, {"failure": "out of memory"})
        elsewhere = EvaluationRun("judged", environment, "s3://bucket/lesion/judged")
        with pytest.raises(UserError) as refused:
            register(run, "my group", evaluation=elsewhere)
        said = [one.what for one in refused.value.each]
        assert said[:3] == [
            "the results have no metrics.json",
            "the results have no sagemaker_model_card.json",
            "there is nothing in S3",
        ]
        assert len(said) == 5 and all("'my group'" in one for one in said[3:])  # of the group and of its version
        assert wire.session.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
