"""Tuning: which searches are refused and why, what a tuning job costs, and which of its training jobs is the best."""

from __future__ import annotations

from typing import Any

import pytest
from requested import tuning
from wire import account

from lesion.errors import UserError
from lesion_jobs import Environment, TuningRun, best, tune
from lesion_jobs.requests.tuning import WarmStart

DATA = "s3://bucket/data"
PLAIN = {"pretrained": False}
GAN: dict[str, Any] = {
    "hyperparameters": {"algorithm": "anomaly", "scorer": "gan"},
    "objective": "validation:false_positive_rate",
}


@pytest.mark.parametrize(
    ("ranges", "settings", "said"),
    [
        ({"learning_rat": (0.1, 0.2)}, {}, "did you mean learning_rate"),
        ({"learning_rate": (0.1, 3)}, {}, "learning_rate=3"),
        ({"learning_rate": (0.2, 0.1)}, {}, "from 0.2 to 0.1 is no range"),
        ({"folds": None}, {}, "Lesion declares no range for folds"),
        ({"pretrained": [True, False]}, {}, "pretrained is both set and searched"),
        ({"algorithm": ["classify", "anomaly"]}, {}, "algorithm cannot be searched"),
        ({"optimizer": ["adamw", "sdg"]}, {}, "optimizer='sdg'"),
        ({}, {}, "ranges has 0 hyperparameters"),
        ({"epochs": None}, {"objective": "validation:auc"}, "Did you mean validation:"),
        ({"epochs": None}, {"objective": "epoch:roc_auc"}, "no metric to tune for"),
        ({"epochs": None}, {"parallel": 3, "max_jobs": 2}, "parallel=3 is more than max_jobs=2"),
        ({"epochs": None}, {"max_jobs": 751}, "max_jobs=751 is not from 1 to 750"),
        ({"epochs": None}, {"parallel": 101, "max_jobs": 200}, "parallel=101 is not from 1 to 100"),
        ({"epochs": None}, {"strategy": "Grid"}, "strategy='Grid' is not Bayesian or Random"),
        ({"epochs": None}, {"max_jobs": 2.5}, "max_jobs=2.5 is no whole number"),
        ({"pretrained": (0, 1)}, {}, "pretrained is both set and searched"),
        ({"epochs": []}, {}, "epochs has no value to be searched"),
        ({"export_graph": (0, 1)}, {}, "is no number, and has no range"),
        ({"image_size": (64, 256)}, GAN, "that are refused (hyperparameters refused: image_size=65"),
        ({"smoothing": (3, 9)}, GAN, "Give its values as a list: smoothing=[…]"),
        ({"inpainting": (0, 16)}, GAN, "inpainting from 0 to 16 has values that are refused"),
    ],
)
def test_a_search_that_could_only_fail_is_refused(ranges: Any, settings: dict[str, Any], said: str):
    with pytest.raises(UserError) as refused:
        tuning(ranges, **settings)
    assert said in str(refused.value)


def test_a_search_for_anomalies_needs_an_objective_since_no_auc_may_be_logged():
    """Without anomalous images there is no AUC, and SageMaker would fail the search after it was paid for."""
    anomalies: dict[str, Any] = {"hyperparameters": {"algorithm": "anomaly"}}
    with pytest.raises(UserError, match=r"anomaly has no objective .*validation:roc_auc.*docs/anomaly\.md"):
        tuning({"memory_patches": None}, **anomalies)
    chosen = tuning({"memory_patches": None}, objective="validation:false_positive_rate", **anomalies)
    objective = chosen["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert objective == {"Type": "Minimize", "MetricName": "validation:false_positive_rate"}
    plain = tuning()["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]
    assert plain == {"Type": "Maximize", "MetricName": "validation:roc_auc"}


def test_all_that_is_wrong_with_a_search_comes_at_once():
    with pytest.raises(UserError, match="3 things are wrong"):
        tuning({"epoch": None, "learning_rate": (0.2, 0.1)}, max_jobs=0)


def test_a_loss_is_minimised_and_a_whole_number_stays_one():
    config = tuning({"epochs": None, "metadata_dropout": (0, 0.5)}, objective="validation:log_loss")
    config = config["HyperParameterTuningJobConfig"]
    assert config["HyperParameterTuningJobObjective"]["Type"] == "Minimize"
    (epochs,), (dropout,) = (config["ParameterRanges"][f"{kind}ParameterRanges"] for kind in ("Integer", "Continuous"))
    assert (epochs["MinValue"], epochs["MaxValue"], dropout["MaxValue"]) == ("5", "40", "0.5")


@pytest.mark.parametrize("parents", [(), ("a", "b", "c", "d", "e", "f")])
def test_a_warm_start_has_one_to_five_parents(parents: tuple[str, ...]):
    with pytest.raises(UserError, match="1 to 5 earlier"):
        WarmStart(parents)


def test_a_warm_start_is_not_read_letter_by_letter():
    with pytest.raises(UserError, match=r"parents is the text 'early', not a list. Give parents=\['early'\]"):
        WarmStart("early")  # type: ignore[arg-type]


def test_a_tuning_job_is_priced_for_all_its_jobs_and_needs_the_quota_of_those_at_a_time(capsys):
    with account() as (_, environment):
        settings: dict[str, Any] = {"hyperparameters": PLAIN, "max_hours": 2, "wait": False}
        tuned = tune(environment, DATA, {"learning_rate": None}, max_jobs=30, parallel=20, **settings)
        assert len(tuned.name) <= 32  # SageMaker's limit
        # 1.50 USD an hour × 30 jobs × 2 h
        assert "at most 90.00 USD" in capsys.readouterr().out
        with pytest.raises(UserError, match="is 20, and 21 would be needed"):
            tune(environment, DATA, {"learning_rate": None}, max_jobs=30, parallel=21, **settings)
        with pytest.raises(UserError, match="43 characters where at most 32"):
            tune(environment, DATA, {"learning_rate": None}, name=43 * "x", **settings)


def test_the_best_job_is_the_tuners_and_its_model_lies_where_training_leaves_it():
    with account() as (wire, environment):
        tuned = TuningRun("tuned", environment)
        wire.answers["sagemaker.DescribeHyperParameterTuningJob"] = (
            200,
            {
                "HyperParameterTuningJobStatus": "Completed",
                "BestTrainingJob": {"TrainingJobName": "tuned-007-abc", "TrainingJobStatus": "Completed"},
            },
        )
        run = best(tuned.wait())
        assert (run.name, run.model) == ("tuned-007-abc", "s3://bucket/lesion/tuned-007-abc/output/model.tar.gz")
        counts = {"Completed": 0, "InProgress": 2}
        wire.answers["sagemaker.DescribeHyperParameterTuningJob"] = (200, {"TrainingJobStatusCounters": counts})
        with pytest.raises(UserError, match=r"has finished \(0 Completed, 2 InProgress\)"):
            best(tuned)


def test_local_mode_has_no_tuning(tmp_path):
    with pytest.raises(UserError, match="local mode has no tuning"):
        tune(Environment("i", "local", tmp_path), tmp_path, {"learning_rate": None})
