"""The CloudFormation template: what AWS's own linter, a linter of policies, and its reader hold against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # environments
from environments import PROJECT, environment

TEMPLATE = PROJECT / "src" / "lesion_jobs" / "cloudformation" / "lesion.yaml"
LIMIT_S = 300


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of cfn-lint and checkov, in an environment of their own."""
    return environment("cloudformation").parent


def run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=LIMIT_S, check=False)


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: !Ref X is {"Ref": "X"}, !GetAtt X.Y is {"GetAtt": "X.Y"}."""


def tagged(loader: Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    reads = {yaml.ScalarNode: loader.construct_scalar, yaml.SequenceNode: loader.construct_sequence}
    return {tag: reads[type(node)](node)}


Loader.add_multi_constructor("!", tagged)


@pytest.fixture(scope="module")
def resources() -> Any:
    return yaml.load(TEMPLATE.read_text(), Loader)["Resources"]


def test_cfn_lint_finds_neither_error_nor_warning(tools):
    found = run(tools / "cfn-lint", TEMPLATE)
    assert found.returncode == 0, found.stdout + found.stderr


def test_checkov_finds_no_weak_policy_and_nothing_open(tools):
    """What is left out is written in the template, with the reason."""
    found = run(
        *(tools / "checkov", "--skip-download", "--framework", "cloudformation", "--file", TEMPLATE),
        *("--compact", "--output", "json"),
    )
    summary = json.loads(found.stdout)
    assert summary["results"]["failed_checks"] == [], found.stdout
    assert [check["check_id"] for check in summary["results"]["skipped_checks"]] == ["CKV_AWS_18"]
    assert summary["summary"]["passed"] > 50 and summary["summary"]["parsing_errors"] == 0


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
