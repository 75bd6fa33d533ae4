"""Environment: refused at once where jobs could only fail later; the same layout of files in S3 and in local mode."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lesion.errors import UserError
from lesion_jobs.account.storage import readable_uri, share_files, upload
from lesion_jobs.environment import Environment, new_name, uri_of

ROLE = "arn:aws:iam::123456789012:role/lesion"
SAGEMAKER = Environment("lesion:1", "ml.g4dn.xlarge", "s3://bucket/lesion", ROLE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"instance_type": "g4dn.xlarge"}, "'g4dn.xlarge' is neither ml.FAMILY.SIZE nor local"),
        ({"role": "lesion"}, "role is not the ARN"),
        ({"output": "build/jobs"}, "'build/jobs' is not s3://"),
        ({"output": "s3://"}, "'s3://' names no bucket"),
        ({"output": "s3:///x"}, "names no bucket"),
        ({"output": "s3://B_ad/x"}, "'s3://B_ad/x' names no bucket"),
        ({"subnets": ("subnet-1",)}, "subnets and security_group_ids go together"),
        ({"image": ""}, "image is empty"),
        (
            {"tags": {"AWS:team": "skin", "lesion:previous": "x"}},
            "may not begin with aws: or lesion:, as AWS:team, lesion",
        ),
    ],
)
def test_a_place_where_no_job_can_run_is_refused(change: dict[str, Any], said: str):
    plain: dict[str, Any] = {"image": "i", "instance_type": "ml.m5.xlarge", "output": "s3://bucket/x", "role": ROLE}
    Environment(**plain)
    with pytest.raises(UserError, match=re.escape(said)):
        Environment(**plain | change)


def test_local_mode_needs_no_role_and_no_bucket(tmp_path: Path):
    assert Environment("lesion:1", "local", tmp_path / "jobs").output_uri == f"file://{tmp_path}/jobs"


def test_a_path_with_a_blank_stays_as_it_is_since_the_sdk_does_not_decode_uris(tmp_path: Path):
    assert uri_of(tmp_path / "my jobs") == f"file://{tmp_path}/my jobs"
    assert uri_of("s3://bucket/my jobs") == "s3://bucket/my jobs"


def test_a_folder_of_this_machine_is_no_channel_for_sagemaker(tmp_path: Path):
    with pytest.raises(UserError, match=r"lies on this machine.*upload\(environment, FOLDER\)"):
        readable_uri(tmp_path, SAGEMAKER, what="channel 'training'")


def test_a_folder_that_is_not_there_is_told_before_a_container_starts(tmp_path: Path):
    environment = Environment("lesion:1", "local", tmp_path)
    with pytest.raises(UserError, match="is not there"):
        upload(environment, tmp_path / "nowhere")
    assert upload(environment, tmp_path) == f"file://{tmp_path}"


@pytest.mark.parametrize(
    ("instance_type", "has_gpu"),
    [
        ("ml.m5.xlarge", False),
        ("ml.c6g.large", False),
        ("ml.inf2.xlarge", False),
        ("ml.g5.2xlarge", True),
        ("ml.gr6.4xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("local", False),
        ("local_gpu", True),
    ],
)
def test_machines_with_nvidias_gpus_are_told_from_others(instance_type: str, has_gpu: bool):
    assert Environment("i", instance_type, "s3://bucket/x", ROLE).has_gpu == has_gpu


def test_names_differ_and_are_legal_for_every_resource():
    names = {new_name("transform") for _ in range(50)}
    assert len(names) > 45  # four hexadecimal digits beside the second
    assert all(re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", name) for name in names)  # api: TrainingJobName


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("s3://b/data", "s3://b/data/", True),
        ("s3://b/data/", "s3://b/data_new", False),
        ("s3://b/data", "s3://b/data_new", True),  # S3 goes by the beginning of keys, not by folders
        ("s3://b", "s3://b/data", True),
        ("s3://b", "s3://b2/data", False),
        ("file:///data", "file:///data_new", False),
        ("file:///data", "file:///data/new", True),
        ("file:///data", "s3://data", False),
    ],
)
def test_two_addresses_share_files_as_s3_and_folders_hand_them_out(one: str, other: str, is_shared: bool):
    assert share_files(one, other) == share_files(other, one) == is_shared
