"""Pipeline: its definition word for word, what is refused before it is sent, and how an execution ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from requested import IMAGE, PLAIN, WHOLE, golden
from wire import account

from lesion.algorithms.classify.metric_lines import METRIC_LINES
from lesion.errors import UserError
from lesion_jobs import Environment, Execution, Pipeline, fetch_evaluation, pipeline
from lesion_jobs.pipelines.definition import all_steps, definition_faults
from lesion_jobs.pipelines.expressions import find, get, join, json_get, resolve
from lesion_jobs.requests.validate import find_faults

CHAMPION = "s3://bucket/run/output/model.tar.gz"
SETTINGS: dict[str, Any] = {"pretrained": False, "folds": 5, "target_column": ["dx"]}
EXECUTION = "arn:aws:sagemaker:eu-central-1:123456789012:pipeline/lesion-skin/execution/abc123"


def made(environment: Environment = PLAIN, data: Any = "s3://bucket/data", **changes: Any) -> Pipeline:
    plain = {"test": "s3://bucket/new", "bar": 0.85, "name": "lesion-skin", "hyperparameters": SETTINGS}
    return pipeline(environment, data, **plain | changes)


def steps_of(made: Pipeline) -> dict[str, Any]:
    return {step["Name"]: step for step in all_steps(made.definition()["Steps"])}


def test_the_definition_is_the_golden_one_and_every_step_a_valid_request():
    changes: dict[str, Any] = {"champion": CHAMPION, "shards": {"size": 384}, "use_spot": True, "group": "skin"}
    definition = made(WHOLE, {"training": "s3://bucket/data", "pretrained": "s3://bucket/w"}, **changes).definition()
    assert definition_faults(definition) == []
    (train,) = [step for step in definition["Steps"] if step["Name"] == "Train"]
    metrics = train["Arguments"]["AlgorithmSpecification"].pop("MetricDefinitions")
    assert {metric["Name"] for metric in metrics} == {metric.name for metric in METRIC_LINES.values()}
    assert definition == golden("PipelineDefinition")


def test_without_a_champion_and_shards_their_steps_are_left_out_and_nothing_refers_to_them():
    plain = made(cache_days=None)
    steps = steps_of(plain)
    assert [*steps] == ["Check", "Train", "Evaluate", "Decide", "Register", "Refuse"]
    assert definition_faults(plain.definition()) == [] and not any("CacheConfig" in step for step in steps.values())
    text = json.dumps(plain.definition())
    assert not any(word in text for word in ("hampion", "Prepare", "not_inferior", "Checkpoint"))
    assert plain.definition() == made(cache_days=None).definition()  # no time and no random name in it
    assert steps["Evaluate"]["Arguments"]["AppSpecification"]["ContainerEntrypoint"][:2] == ["lesion", "evaluate"]


def test_a_champion_is_judged_before_the_training_is_paid_for():
    steps = steps_of(made(champion=CHAMPION, margin=0.05))
    assert [*steps][:4] == ["Check", "EvaluateChampion", "Train", "Evaluate"]
    assert steps["Train"]["DependsOn"] == ["EvaluateChampion"] and steps["EvaluateChampion"]["DependsOn"] == ["Check"]
    assert steps["Evaluate"]["Arguments"]["AppSpecification"]["ContainerArguments"] == [
        *("--champion", "/opt/ml/processing/champion", "--margin", "0.05")
    ]


def test_the_check_has_the_channels_and_settings_of_the_training():
    check = steps_of(made())["Check"]["Arguments"]
    assert check["AppSpecification"]["ContainerArguments"] == [
        *("--set", "pretrained=false", "--set", "folds=5", "--set", 'target_column=["dx"]')
    ]
    read = {item["S3Input"]["LocalPath"]: item["S3Input"]["S3Uri"] for item in check["ProcessingInputs"]}
    assert read == {
        "/opt/ml/processing/job/input/data/training": get("Parameters.Data"),
        "/opt/ml/processing/job/input/data/test": get("Parameters.Test"),
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a bar under chance": ({"bar": 0.4}, "bar=0.4 is not from 0.5 to 1"),
    "a bar over all": ({"bar": 85}, "bar=85 is not from 0.5 to 1"),
    "a margin": ({"margin": 2}, "margin=2 is not from 0 to 0.5"),
    "a cache of no days": ({"cache_days": 0}, "cache_days=0 is not from 1 to 365"),
    "a name too long": ({"name": "x" * 257}, "257 characters where at most 256"),
    "a name with a blank": ({"name": "my pipeline"}, "PipelineName is 'my pipeline', which is not of the form"),
    "a group that is no name": ({"group": "a b"}, "ModelPackageGroupName is 'a b'"),
    "anomaly detection": ({"hyperparameters": {"algorithm": "anomaly", "pretrained": False}}, "judges no further"),
    "a hyperparameter": ({"hyperparameters": {"pretrained": False, "epoch": 3}}, "epoch"),
    "weights that nobody brings": ({"hyperparameters": {}}, "pretrained=true downloads"),
    "a folder of this machine": ({"data": "."}, "lies on this machine"),
    "a test set of this machine": ({"test": "."}, "the test set lies on this machine"),
    "the training set as test set": ({"test": "s3://bucket/data/"}, "shares files with what the model learns from"),
    "a test set inside": ({"test": "s3://bucket/data/test"}, "shares files with what the model learns from"),
    "a test set around": ({"test": "s3://bucket/"}, "shares files with what the model learns from"),
    "a test set whose keys begin so": ({"test": "s3://bucket/data_test"}, "end both addresses with a slash"),
    "the validation set as test set": (
        {"data": {"training": "s3://bucket/data", "validation": "s3://bucket/new/v"}},
        "what the model learns from: s3://bucket/new/v (s3://bucket/new)",
    ),
    "a champion of this machine": ({"champion": "model.tar.gz"}, "the model lies on this machine"),
    "a test channel": ({"data": {"training": "s3://b/d", "test": "s3://b/t"}}, "the test set as `test=`"),
    "no training channel": (
        {"data": {"pretrained": "s3://b/d"}},
        "channel 'training' is missing (channels present: pretrained)",
    ),
    "an option of shards": ({"shards": {"output": "x"}}, "output cannot be set for a job"),
    "too many hours": ({"max_hours": 1000}, "at most 672 hours"),
    "a role that is none": ({"role": "lesion"}, "RoleArn"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_fail_is_refused_in_words(kind: str):
    changes, said = REFUSED[kind]
    with pytest.raises(UserError) as refusal:
        made(**changes)
    assert said in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(UserError) as refusal:
        made(bar=0.4, name="my pipeline", test=".")
    assert len(refusal.value.each) == 3


def test_local_mode_has_no_pipelines_to_keep_and_sagemaker_none_to_run_here(tmp_path: Path):
    for folder in ("data", "data_test"):
        (tmp_path / folder).mkdir()
    local = made(Environment("lesion", "local", tmp_path), tmp_path / "data", test=tmp_path / "data_test")
    with pytest.raises(UserError, match=r"local mode starts no pipelines. Call run_locally"):
        local.start()
    with pytest.raises(UserError, match=r"ml.m5.xlarge is not this machine"):
        made().run_locally()


def test_expressions_come_to_what_earlier_steps_left():
    scope = {
        "Parameters": {"Bar": 0.8},
        "Steps": {
            "E": {
                "PropertyFiles": {"verdict": {"low": 0.7}},
                "ProcessingOutputConfig": {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/o"}}]},
            }
        },
    }
    value = {
        "uri": join("/", get("Steps.E.ProcessingOutputConfig.Outputs['o'].S3Output.S3Uri"), "x", 3),
        "deep": [{"low": json_get("E", "verdict", "low")}, get("Parameters.Bar"), True],
    }
    found = resolve(value, lambda path: find(path, scope))
    assert found == {"uri": "s3://b/o/x/3", "deep": [{"low": 0.7}, 0.8, True]}


def step(name: str, status: str = "Succeeded", **more: Any) -> dict[str, Any]:
    return {"StepName": name, "StepStatus": status, **more}


REGISTERED = {"RegisterModel": {"Arn": "arn:aws:sagemaker:eu-central-1:123456789012:model-package/skin/1"}}
TRAINED = {"TrainingJob": {"Arn": "arn:aws:sagemaker:eu-central-1:123456789012:training-job/pipelines-abc-Train-x"}}
EVALUATED = {"ProcessingJob": {"Arn": "arn:aws:sagemaker:eu-central-1:123456789012:processing-job/pipelines-abc-Ev"}}


def test_an_execution_is_checked_priced_saved_started_and_waited_for(capsys):
    with account() as (wire, environment):
        done = [
            step("Check", CacheHitResult={}),
            step("Train", Metadata=TRAINED),
            step("Register", Metadata=REGISTERED),
        ]
        wire.answers["sagemaker.ListPipelineExecutionSteps"] = (200, {"PipelineExecutionSteps": done})
        kept = made(environment, champion=CHAMPION)
        execution = kept.start(bar=0.9)
        created = wire.body("sagemaker.CreatePipeline")
        assert json.loads(created["PipelineDefinition"]) == kept.definition()
        assert find_faults("CreatePipeline", created) == []
        assert wire.operations.index("s3.ListObjectsV2") < wire.operations.index("sagemaker.CreatePipeline")
        started = wire.body("sagemaker.StartPipelineExecution")
        assert started["PipelineParameters"] == [{"Name": "Bar", "Value": "0.9"}]
        assert execution.model_version().arn.endswith("model-package/skin/1")
        run = execution.job("Train")
        assert run.name == "pipelines-abc-Train-x"
        assert run.model == "s3://bucket/lesion/lesion-skin/pipelines-abc-Train-x/output/model.tar.gz"
        kept.start(wait=False)
        assert (
            wire.operations.count("sagemaker.CreatePipeline") == wire.operations.count("sagemaker.UpdatePipeline") == 1
        )
    printed = capsys.readouterr().out
    assert "step Check: Succeeded, as before" in printed
    assert "Train: cost: at most 36.00 USD" in printed and "3 processing jobs: cost: at most 108.00 USD" in printed


def test_nothing_is_saved_where_something_is_missing():
    with account() as (wire, environment):
        with pytest.raises(UserError) as refusal:
            made(environment, "s3://bucket/other", champion="s3://bucket/no_model.tar.gz").start()
        assert "Data is not there" in str(refusal.value) and "Champion is not there" in str(refusal.value)
        with pytest.raises(UserError, match="has no parameter Champion"):
            made(environment).start(champion=CHAMPION)
        with pytest.raises(UserError, match=r"bar=0\.1 is not from 0\.5 to 1"):
            made(environment).start(bar=0.1)
        with pytest.raises(UserError, match=r"2 things .*the test set shares files with .*: s3://bucket/new/2 \("):
            made(environment).start(bar=0.1, data="s3://bucket/new/2")
        with pytest.raises(UserError, match=r"2 things .*the data set lies on this machine.*the test set lies on"):
            made(environment).start(data="/home/me/data", test="")
        with_validation = {"training": "s3://bucket/data", "validation": "s3://bucket/held"}
        with pytest.raises(UserError, match=r"the test set shares files with .*: s3://bucket/held \("):
            made(environment, with_validation).start(test="s3://bucket/held")
        assert not [sent for sent in wire.operations if sent.startswith("sagemaker.")]


ENDS: dict[str, tuple[str, list[dict[str, Any]], str | None]] = {
    "a step fails": (
        "Failed",
        [step("Check"), step("Train", "Failed", FailureReason="AlgorithmError: out of memory", Metadata=TRAINED)],
        r"lesion-skin failed in step Train: AlgorithmError: out of memory.*job\(\"Train\"\)\.logs\(\)",
    ),
    "the model is refused": (
        "Failed",
        [
            step("Evaluate"),
            step("Refuse", "Failed", Metadata={"Fail": {"ErrorMessage": "The bar is 0.9. ROC AUC 0.8"}}),
        ],
        "lesion-skin refuses the model: The bar is 0.9. ROC AUC 0.8",
    ),
    "it never began": ("Failed", [], "lesion-skin failed: the role may not"),
    "it is stopped": ("Stopped", [step("Check", "Stopped")], None),
}


@pytest.mark.parametrize("kind", ENDS)
def test_an_execution_says_how_it_ended(kind: str, capsys):
    status, steps, said = ENDS[kind]
    with account() as (wire, environment):
        told = iter([{"PipelineExecutionStatus": "Executing"}, *2 * [{"PipelineExecutionStatus": status}]])

        def next_answer() -> None:
            answer = {**next(told), "FailureReason": "the role may not"}
            wire.answers["sagemaker.DescribePipelineExecution"] = (200, answer)

        wire.before["DescribePipelineExecution"] = next_answer
        wire.answers["sagemaker.ListPipelineExecutionSteps"] = (200, {"PipelineExecutionSteps": steps})
        execution = Execution(EXECUTION, environment)
        if said is None:
            assert execution.wait(poll_s=0) is execution
            assert "lesion-skin was stopped" in capsys.readouterr().out
        else:
            with pytest.raises(UserError, match=said):
                execution.wait(poll_s=0)


def test_the_evaluation_of_an_execution_is_fetched_and_a_step_that_has_not_begun_is_named(tmp_path: Path):
    with account() as (wire, environment):
        steps = [step("Evaluate", Metadata=EVALUATED), step("Decide", Metadata={"Condition": {"Outcome": "False"}})]
        wire.answers["sagemaker.ListPipelineExecutionSteps"] = (200, {"PipelineExecutionSteps": steps})
        written = {"OutputName": "written", "S3Output": {"S3Uri": "s3://bucket/judged", "LocalPath": "/o"}}
        described = {"ProcessingOutputConfig": {"Outputs": [written]}, "ProcessingJobStatus": "Completed"}
        wire.answers["sagemaker.DescribeProcessingJob"] = (200, described)
        wire.session.client("s3").put_object(Bucket="bucket", Key="judged/verdict.json", Body=b"{}")
        execution = Execution(EXECUTION, environment)
        assert [path.name for path in fetch_evaluation(execution.evaluation(), tmp_path).iterdir()] == ["verdict.json"]
        with pytest.raises(UserError, match="step Register has not begun; these have: Evaluate, Decide"):
            execution.model_version()
        with pytest.raises(UserError, match="step Decide has no job"):
            execution.job("Decide")


def test_a_champion_may_be_a_version_of_the_registry():
    with account() as (wire, environment):
        arn = "arn:aws:sagemaker:eu-central-1:123456789012:model-package/skin/1"
        container = {"Image": IMAGE, "ModelDataUrl": CHAMPION}
        version = {"ModelApprovalStatus": "Approved", "InferenceSpecification": {"Containers": [container]}}
        wire.answers["sagemaker.DescribeModelPackage"] = (200, version)
        from lesion_jobs import ModelVersion

        parameters = made(environment, champion=ModelVersion(arn, environment)).definition()["Parameters"]
        assert {"Name": "Champion", "Type": "String", "DefaultValue": CHAMPION} in parameters
