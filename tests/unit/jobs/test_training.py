"""Training: what is refused before anything is sent, and where its files lie. Requests: test_requests.py."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from wire import account

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.errors import UserError
from lesion.sagemaker import ROOT, read_job
from lesion_jobs import Environment, train
from lesion_jobs.requests.training import TENSORBOARD_DIR, as_text
from lesion_jobs.runs.training import describe_run, fetch_results

SAGEMAKER = Environment("lesion:1", "ml.g4dn.xlarge", "s3://bucket/lesion/", "arn:aws:iam::123456789012:role/lesion")
DATA = "s3://bucket/data"


def test_the_client_loads_neither_torch_nor_the_sdk():
    heavy = "{'torch', 'pandas', 'sklearn', 'sagemaker', 'boto3'}"
    calls = "requested.made(); lesion_jobs.runs.training.channel_uris(requested.PLAIN, 's3://bucket/data')"
    script = f"import sys, lesion_jobs, requested; {calls}; print(sorted({heavy} & set(sys.modules)))"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True, cwd=here
    )
    assert done.stdout.strip() == "[]"


def test_without_boto3_it_is_said_how_to_get_it():
    call = "lesion_jobs.train(requested.PLAIN, 's3://bucket/data', hyperparameters={'pretrained': False})"
    script = f"import sys; sys.modules.update(boto3=None, botocore=None); import lesion_jobs, requested; {call}"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False, cwd=here
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "UserError" in last and "boto3 is not installed. pip install" in last


def test_a_misspelt_hyperparameter_is_refused_before_anything_starts():
    with pytest.raises(UserError, match=r"epoch=3 is not a hyperparameter \(did you mean epochs\?\)"):
        train(SAGEMAKER, DATA, hyperparameters={"epoch": 3})


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        ({"trainin": DATA}, "did you mean 'training'? (channels given: trainin). Rename"),
        ({"training": DATA, "pretraind": DATA}, "did you mean 'pretrained'?"),
        ({"training": DATA, "train": DATA}, "channels 'training' and 'train' are both training"),
        ({"test": DATA}, "channel 'training' is missing (channels present: test)"),
    ],
)
def test_channels_that_the_container_would_refuse_are_refused_before_they_are_paid_for(channels, said):
    with pytest.raises(UserError) as refused:
        train(SAGEMAKER, channels, hyperparameters={"pretrained": False})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_instances": 0}, "num_instances=0 is not from 1 on"),
        ({"num_instances": 1.5}, "num_instances=1.5 is no whole number"),
        ({"volume_gb": 0}, "volume_gb=0 is not from 1 to 16384"),
        ({"num_instances": 0, "volume_gb": True}, "2 things are wrong: .*volume_gb=True is no number"),
        ({"max_wait_hours": 3}, "max_wait_hours and use_spot=False do not go together"),
        ({"input_mode": "Pipe"}, "input_mode='Pipe' is not File or FastFile"),
        ({"use_spot": "no"}, "use_spot='no' is not True or False"),
        ({"max_hours": "5"}, "max_hours='5' is no number"),
    ],
)
def test_machines_and_waits_that_there_cannot_be_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        train(SAGEMAKER, DATA, hyperparameters={"pretrained": False}, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"folds": 20, "repeats": 6},
        {"split": "leave_one_group_out", "repeats": 2},
        {"group_column": "target"},
        {"on_missing_group": "own"},
        {"folds": 1},
    ],
)
def test_folds_and_groups_are_refused_in_the_words_of_the_container(settings):
    with pytest.raises(UserError) as there:
        ClassifyConfig.parse(settings)
    with pytest.raises(UserError) as here:
        train(SAGEMAKER, DATA, hyperparameters={**settings, "pretrained": False})
    assert str(here.value) == str(there.value)


def test_an_isolated_job_that_would_download_its_starting_weights_is_refused():
    with pytest.raises(UserError, match=r"isolated container reaches no network.*`pretrained` channel"):
        train(SAGEMAKER, DATA)  # pretrained=true is the default


def test_an_isolated_job_that_needs_no_starting_weights_starts():
    anomalies = {"algorithm": "anomaly"}
    with account() as (wire, environment):
        with pytest.raises(UserError, match="isolated container reaches no network"):
            train(environment, DATA, hyperparameters=anomalies, wait=False)
        train(environment, DATA, hyperparameters=anomalies | {"scorer": "gan"}, wait=False)
        assert wire.body("sagemaker.CreateTrainingJob")["HyperParameters"]["scorer"] == "gan"


def test_local_mode_takes_no_checkpoints(tmp_path: Path):
    with pytest.raises(UserError, match="keeps no checkpoints"):
        train(Environment("i", "local", tmp_path), tmp_path, checkpoints="s3://bucket/old")


def test_files_lie_in_local_mode_where_sagemaker_would_put_them(tmp_path: Path):
    here = describe_run(Environment("i", "local", tmp_path), "name")
    there = describe_run(SAGEMAKER, "name")
    assert there.model == "s3://bucket/lesion/name/output/model.tar.gz"
    assert here.model.removeprefix(f"file://{tmp_path}") == there.model.removeprefix("s3://bucket/lesion")


def test_checkpoints_of_an_earlier_run_are_taken_up():
    old = describe_run(SAGEMAKER, "old").checkpoints
    assert old == "s3://bucket/lesion/old/checkpoints"
    assert describe_run(SAGEMAKER, "new", old).checkpoints == old


def test_results_of_local_mode_come_without_what_is_for_tensorboard(tmp_path: Path):
    """Local mode packs all of /opt/ml/output, each fold's event file under the same name."""
    run = describe_run(Environment("i", "local", tmp_path), "name")
    archive = Path(run.results.removeprefix("file://"))
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("data/oof.csv", "tensorboard/fold_0/events.out.tfevents.1.algo-1"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    assert [path.name for path in fetch_results(run, tmp_path / "here").iterdir()] == ["oof.csv"]


def test_event_files_are_written_where_sagemaker_is_told_to_look(tmp_path: Path):
    assert read_job(tmp_path).tensorboard_dir.relative_to(tmp_path) == Path(TENSORBOARD_DIR).relative_to(ROOT)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pretrained", False),
        ("model_args", {"pad_type": "same"}),
        ("metadata_columns", []),
        ("image_mean", None),
        ("learning_rate", 1e-5),
        ("folds", 5),
        ("class_weight", "balanced"),
    ],
)
def test_a_value_reaches_the_container_as_what_it_is(name: str, value: object):
    parsed = getattr(ClassifyConfig.parse({name: as_text(value)}), name)
    assert parsed == (tuple(value) if isinstance(value, list) else value)


def test_without_the_sdk_it_is_said_how_to_get_it(tmp_path: Path):
    """The SDK is not among the packages of development: it has environments of its own, in tests/container."""
    with pytest.raises(UserError, match=r"SDK, which is not installed.*lesion\[jobs,local\]"):
        train(Environment("i", "local", tmp_path), tmp_path, hyperparameters={"pretrained": False})
