"""Account: what is wrong with it is said in a sentence, all at once, before anything that is billed is asked for."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from wire import ACCOUNT, REGION, Wire, account

from lesion.errors import UserError
from lesion_jobs import Capture, Environment, deploy, train
from lesion_jobs.account.send import send

SETTINGS: dict[str, Any] = {"hyperparameters": {"pretrained": False}, "wait": False}
DATA = "s3://bucket/data"


def refusal(wire: Wire, environment: Environment, data: str = DATA, **settings: Any) -> str:
    """What `train` says. Nothing may have been created."""
    with pytest.raises(UserError) as refused:
        train(environment, data, **SETTINGS | settings)
    assert not [operation for operation in wire.operations if "Create" in operation]
    return str(refused.value)


def test_nothing_is_wrong_with_the_account_that_these_tests_break():
    with account() as (wire, environment):
        train(environment, DATA, **SETTINGS)
        assert wire.operations[-1] == "sagemaker.CreateTrainingJob"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"role": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "the role is not there"),
        (
            {"role": "arn:aws:iam::999999999999:role/lesion"},
            f"of account 999999999999, and you are in account {ACCOUNT}",
        ),
        ({"image": "lesion:0.1.0"}, "the image is not in ECR"),
        ({"image": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/lesion:0.1.0"}, "the image is in us-east-1"),
        ({"image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lesion:0.2.0"}, "no such tag in ECR"),
        ({"image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lesoin:0.1.0"}, "no such repository in ECR"),
    ],
)
def test_a_wrong_role_or_image_is_refused(settings: dict[str, Any], said: str):
    with account(**settings) as (wire, environment):
        assert said in refusal(wire, environment)


TRUSTS: dict[str, tuple[Any, bool]] = {
    "another service": ({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
    "another action": ({"Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:TagSession"}, False),
    "an account": ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}, False),
    "several": (
        {"Principal": {"Service": ["ec2.amazonaws.com", "sagemaker.amazonaws.com"]}, "Action": ["sts:AssumeRole"]},
        True,
    ),
}


@pytest.mark.parametrize("kind", TRUSTS)
def test_a_role_that_sagemaker_may_not_assume_is_refused(kind: str):
    statement, is_good = TRUSTS[kind]
    with account() as (wire, environment):
        policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
        wire.session.client("iam").update_assume_role_policy(RoleName="lesion", PolicyDocument=policy)
        if is_good:
            train(environment, DATA, **SETTINGS)
        else:
            assert "SageMaker may not assume the role" in refusal(wire, environment)


def test_a_quota_of_0_is_said_and_one_of_spot_machines_is_another():
    with account() as (wire, environment):
        quotas = wire.answers["service-quotas.ListServiceQuotas"][1]["Quotas"]
        quotas[1]["Value"] = 0.0
        train(environment, DATA, **SETTINGS)
        wire.sent.clear()
        said = refusal(wire, environment, use_spot=True)
        assert "'ml.m5.xlarge for spot training job usage' is 0, and 1 would be needed. Ask for more in Service" in said
        assert "is 20, and 21 would be needed" in refusal(wire, environment, num_instances=21)


def test_an_output_bucket_that_is_not_there_is_said():
    with account(output="s3://none-such/x") as (wire, environment):
        assert "the output: there is no bucket 'none-such'" in refusal(wire, environment)


def test_buckets_of_checkpoints_and_captures_are_asked_for_too():
    with account() as (wire, environment):
        assert "the checkpoints: there is no bucket 'none-such'" in refusal(
            wire, environment, checkpoints="s3://none-such/c"
        )
        with pytest.raises(UserError, match="the capture: there is no bucket 'none-such'"):
            deploy(environment, "s3://bucket/run/output/model.tar.gz", capture=Capture(output="s3://none-such/c"))
        assert "sagemaker.CreateModel" not in wire.operations


def test_an_output_bucket_that_may_not_be_looked_at_is_noted(capsys):
    with account() as (wire, environment):
        wire.answers["s3.HeadBucket"] = (403, "")
        train(environment, DATA, **SETTINGS)
    assert "not checked: the bucket of the output (the permission s3:ListBucket is missing)" in capsys.readouterr().out


def test_a_model_is_an_archive_and_its_very_object_must_be_there():
    with account() as (wire, environment):
        wire.session.client("s3").put_object(Bucket="bucket", Key="m/model.tar.gz.old", Body=b"x")
        wire.sent.clear()
        for model, said in {
            "s3://bucket/run/output/": "the model is no .tar.gz",
            "s3://bucket/run/output/model.tar": "the model is no .tar.gz",
            "s3://bucket/m/model.tar.gz": "the model is not there: no object has this name",
        }.items():
            with pytest.raises(UserError, match=said):
                deploy(environment, model, wait=False)
        assert not [operation for operation in wire.operations if "Create" in operation]


def test_data_that_is_not_there_is_said():
    with account() as (wire, environment):
        assert "channel 'training' is not there" in refusal(wire, environment, "s3://bucket/dada")
        assert "there is no bucket 'buckte'" in refusal(wire, environment, "s3://buckte/data")
        assert "channel 'training': S3 could have no such bucket" in refusal(wire, environment, "s3://B_ad/data")


def test_all_that_is_wrong_comes_at_once():
    with account(role=f"arn:aws:iam::{ACCOUNT}:role/nobody", image="lesion:0.1.0") as (wire, environment):
        said = refusal(wire, environment, "s3://bucket/dada", num_instances=21)
        assert said.startswith("4 things are wrong")


def test_what_may_not_be_asked_is_noted_and_the_job_starts(capsys):
    with account() as (wire, environment):
        denied = "User: u is not authorized to perform: {} on resource: * because no policy allows it"
        wire.refuse("ecr.DescribeImages", "AccessDeniedException", denied.format("ecr:DescribeImages"))
        wire.refuse("service-quotas.ListServiceQuotas", "ServiceUnknown", "sorry")
        train(environment, DATA, **SETTINGS)
        printed = capsys.readouterr().out
        assert "not checked: the image (the permission ecr:DescribeImages is missing)" in printed
        assert re.search(r"not checked: the quota \(.*sorry", printed)


REFUSALS = {
    "a permission": (
        "AccessDeniedException",
        "User: arn:aws:iam::1:user/u is not authorized to perform: sagemaker:CreateTrainingJob on resource: x",
        "the permission sagemaker:CreateTrainingJob is missing",
        "permission",
    ),
    "a quota": ("ResourceLimitExceeded", "The service limit is 0 Instances", "Ask for more in Service Quotas", "quota"),
    "a role": ("ValidationException", "Could not assume role arn:aws:iam::1:role/r.", "trust policy", "role"),
    "credentials": ("ExpiredTokenException", "The security token is expired", "Log in", "credentials"),
    "something else": ("ValidationException", "No S3 objects found", "No S3 objects found", "job_failed"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_aws_refuses_is_said_with_what_to_do(kind: str):
    code, message, said, error_kind = REFUSALS[kind]
    with account() as (wire, environment):
        wire.refuse("sagemaker.CreateTrainingJob", code, message)
        with pytest.raises(UserError, match=r"^training job name failed: ") as refused:
            train(environment, DATA, name="name", **SETTINGS)
    assert said in str(refused.value) and message in str(refused.value) and refused.value.kind == error_kind


def test_credentials_that_aws_does_not_take_are_told_before_anything_else():
    with account() as (wire, environment):
        wire.refuse("sts.GetCallerIdentity", "InvalidClientTokenId", "The security token is invalid")
        assert "Log in" in refusal(wire, environment)


def test_without_credentials_or_region_it_is_said_how_to_give_them():
    somewhere = Environment("i", "ml.m5.xlarge", "s3://bucket/x", f"arn:aws:iam::{ACCOUNT}:role/lesion")
    with pytest.raises(UserError, match="no AWS region is known"):
        train(somewhere, DATA, **SETTINGS)
    with pytest.raises(UserError, match="no AWS credentials were found"):
        train(
            Environment(somewhere.image, "ml.m5.xlarge", "s3://bucket", somewhere.role, region=REGION), DATA, **SETTINGS
        )


def test_nothing_leaves_before_all_requests_of_a_call_are_valid():
    good = ("StopTrainingJob", {"TrainingJobName": "job"})
    with account() as (wire, environment):
        with pytest.raises(UserError, match="64 characters"):
            send(environment, [good, ("StopTrainingJob", {"TrainingJobName": "x" * 64})], what="not stopped")
        assert wire.operations == []


def test_a_name_that_is_too_long_is_refused_without_asking_aws_anything():
    with account() as (wire, environment):
        assert "64 characters where at most 63" in refusal(wire, environment, name="x" * 64)
        assert wire.operations == []
