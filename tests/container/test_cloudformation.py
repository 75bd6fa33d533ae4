"""The CloudFormation template: what AWS's own linter, a linter of policies, and its reader hold against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # environments
from environments import environment

import templates

# Checks of checkov that a template leaves out, with its reason.
LEFT_OUT = {
    "lesion.yaml": ["CKV_AWS_18"],
    "stream.yaml": ["CKV_AWS_115", "CKV_AWS_116", "CKV_AWS_117", "CKV_AWS_158"],
}
LIMIT_S = 300


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of cfn-lint and checkov, in an environment of their own."""
    return environment("cloudformation").parent


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.fixture(scope="module")
def resources() -> Any:
    return templates.resources("lesion.yaml")


@pytest.mark.parametrize("name", LEFT_OUT)
def test_cfn_lint_finds_neither_error_nor_warning(tools, name):
    found = run(tools / "cfn-lint", templates.FOLDER / name)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", LEFT_OUT)
def test_checkov_finds_no_weak_policy_and_nothing_open(tools, name):
    """What is left out is written in the template, with the reason."""
    found = run(
        *(tools / "checkov", "--skip-download", "--framework", "cloudformation", "--file", templates.FOLDER / name),
        *("--compact", "--output", "json"),
    )
    summary = json.loads(found.stdout)
    assert summary["results"]["failed_checks"] == [], found.stdout
    assert sorted(check["check_id"] for check in summary["results"]["skipped_checks"]) == LEFT_OUT[name]
    assert (
        summary["summary"]["passed"] > {"lesion.yaml": 50, "stream.yaml": 10}[name]
        and summary["summary"]["parsing_errors"] == 0
    )


def test_what_checkov_does_not_ask_buckets_and_queues_speak_tls_alone_and_only_the_three_roles_are_passed(resources):
    policies = [of["Properties"]["PolicyDocument"]["Statement"] for of in resources.values() if "Policy" in of["Type"]]
    tls = [
        statement
        for statements in policies
        for statement in statements
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert sum(len(statement["Resource"]) for statement in tls) == 6  # two buckets with their objects, two queues
    passed = [s for statements in policies for s in statements if s["Action"] == "iam:PassRole"]
    roles = ("JobRole", "EndpointRole", "PipelineRole")
    assert [s["Resource"] for s in passed] == [[{"GetAtt": f"{role}.Arn"} for role in roles]]
    for role in roles:
        trusted = resources[role]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert [s["Principal"] for s in trusted] == [{"Service": "sagemaker.amazonaws.com"}]
        assert all("aws:SourceAccount" in s["Condition"]["StringEquals"] for s in trusted)


def test_the_drift_alarm_watches_the_metric_that_drift_publishes(resources):
    from datetime import UTC, datetime

    from lesion.drift.platform_files import metric_rows

    alarm = resources["Drift"]["Properties"]
    time = datetime(2026, 11, 30, tzinfo=UTC)
    [row] = metric_rows([], [], time=time, dimensions={"Endpoint": "e", "MonitoringSchedule": "m"})
    assert alarm["MetricName"] == row["MetricName"]
    assert [each["Name"] for each in alarm["Dimensions"]] == [each["Name"] for each in row["Dimensions"]]


def test_the_handler_may_read_incoming_images_write_results_and_nothing_else():
    stream = templates.resources("stream.yaml")
    [policy] = stream["HandlerRole"]["Properties"]["Policies"]
    allowed = {one["Sid"]: one for one in policy["PolicyDocument"]["Statement"]}
    assert all("*" not in json.dumps(one["Action"]) for one in allowed.values())
    places = {sid: allowed[sid]["Resource"]["Fn::Sub"][0] for sid in ("Images", "Results", "WhatIsNotThere")}
    assert places["Images"].endswith("/incoming/*") and places["Results"].endswith("/results/*")
    writes = [sid for sid, one in allowed.items() if "Put" in json.dumps(one["Action"])]
    assert writes == ["Results", "Log"]
    results = stream["Handler"]["Properties"]["Environment"]["Variables"]["LESION_RESULTS"]["Fn::Sub"][0]
    assert results.endswith("/results") and "incoming" not in results  # else each result would be a message


def test_a_message_is_hidden_for_six_times_as_long_as_the_handler_may_take_and_answered_ones_are_not_asked_again():
    queue, stream = templates.resources("lesion.yaml")["Queue"]["Properties"], templates.resources("stream.yaml")
    assert queue["VisibilityTimeout"] == 6 * stream["Handler"]["Properties"]["Timeout"]
    assert stream["Messages"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
