"""Training: `lesion train` as SageMaker starts it, and what a job must leave, say and refuse (contract, 1 to 4)."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, small_frame, small_job

from lesion.errors import UserError
from processes import LESION, LIMIT_S, children, cold_lesion, train, wait_for_text

REPOSITORY = Path(__file__).parents[2]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below `folder`, with its size and time."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def failure(root: Path) -> str:
    return (root / "output" / "failure").read_text(encoding="utf-8")


def refused(root: Path, match: str) -> str:
    """The message with which a job in this process is refused."""
    with pytest.raises(UserError, match=match) as caught:
        run(root)
    assert not list((root / "model").glob("*"))
    return str(caught.value)


# A whole job, as a process


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Trained, subprocess.CompletedProcess[str], dict, dict]:
    """A job on a channel without write permission, ended; and the channel before and after."""
    root = small_job(tmp_path_factory.mktemp("finished"), has_test=True, epochs=2, seed=7)
    (root / "output").mkdir()
    (root / "output" / "failure").write_text("of the job before")
    channel = root / "input"
    for path in [channel, *channel.rglob("*")]:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    before = snapshot(channel)
    ended = cold_lesion("train", "--root", root)
    after = snapshot(channel)
    for path in [channel, *channel.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    return Trained(root), ended, before, after


def test_a_finished_job_leaves_artifact_and_results_and_ends_with_0(finished):
    trained, ended, _, _ = finished
    assert ended.returncode == 0, ended.stderr
    model = {path.name for path in (trained.root / "model").iterdir()}
    assert model == {"manifest.json", "fold_0.safetensors", "fold_1.safetensors"}
    output = {path.name for path in (trained.root / "output/data").iterdir()}
    assert output >= {"oof.csv", "metrics.json", "history.csv", "report.html", "report.json", "submission.csv"}
    assert not (trained.root / "output/failure").exists()


def test_out_of_fold_rows_are_the_csvs_rows_in_their_order_each_patient_in_one_fold(finished):
    trained = finished[0]
    table = pd.read_csv(trained.channel / "train.csv")
    assert list(trained.oof.columns) == [
        *("image_name", "group", "fold", "target", "probability", "logit"),
        *("judged_probability", "judged_raw_probability", "judged_positive"),
    ]
    for column, of_csv in (("image_name", "image_name"), ("group", "patient_id"), ("target", "target")):
        assert trained.oof[column].tolist() == table[of_csv].tolist()
    assert trained.oof["probability"].between(0, 1).all()
    assert trained.oof.groupby("group")["fold"].nunique().eq(1).all()
    assert sorted(trained.oof["fold"].unique()) == [0, 1]


def test_the_results_agree_with_one_another(finished):
    from sklearn.metrics import brier_score_loss

    trained = finished[0]
    overall = json.loads((trained.root / "output/data/metrics.json").read_text())["overall"]
    for column, metrics in (("judged_probability", overall), ("judged_raw_probability", overall["uncalibrated"])):
        expected = brier_score_loss(trained.oof["target"], trained.oof[column])
        assert metrics["metrics"]["brier"] == pytest.approx(expected)
        assert "roc_auc" not in metrics["metrics"] and metrics["notes"]["roc_auc"].startswith("too few positives (6)")
    assert (
        overall["num_rows"] == 12 and overall["num_groups"] == 6 and overall["classes"] == {"benign": 6, "malignant": 6}
    )
    assert trained.history.groupby("fold")["epoch"].apply(list).tolist() == [[0, 1], [0, 1]]
    submission = pd.read_csv(trained.root / "output/data/submission.csv")
    assert submission["image_name"].tolist() == pd.read_csv(trained.channel / "test.csv")["image_name"].tolist()
    assert list(submission.columns) == ["image_name", "target"] and submission["target"].between(0, 1).all()
    page = (trained.root / "output/data/report.html").read_text()
    assert f"{expected:.3f}" in page and "too few positives (6)" in page


def test_the_resolved_config_stands_on_one_line_and_in_the_manifest(finished):
    trained, ended, _, _ = finished
    [line] = [line for line in ended.stdout.splitlines() if " config {" in line]
    config = json.loads(line[line.index("{") :])
    assert config == trained.manifest["config"]
    assert config["seed"] == 7 and config["epochs"] == 2 and config["lr_factor"] == 0.4


def test_every_published_regex_finds_plain_numbers_and_the_jobs_own_only_once(finished, command):
    definitions = json.loads(command("describe", "metrics").stdout)
    assert 0 < len(definitions) <= 40
    for definition in definitions:
        assert len(definition["Name"]) <= 255 and len(definition["Regex"]) <= 500
        values = [float(value) for value in re.findall(definition["Regex"], finished[1].stdout)]
        assert np.isfinite(values).all(), definition["Name"]
        expected = {"epoch": 4, "fold": 2, "validation": 1, "test": 0}[definition["Name"].partition(":")[0]]
        assert len(values) == expected, definition["Name"]


def test_the_metric_line_is_the_number_in_the_results_or_of_the_rows_where_they_are_too_few_for_a_result(finished):
    from sklearn.metrics import roc_auc_score

    trained, ended, _, _ = finished
    [loss] = re.findall(r"\bmetric validation:log_loss=(-?[0-9.]+)", ended.stdout)
    assert float(loss) == pytest.approx(trained.manifest["metrics"]["overall"]["metrics"]["log_loss"], abs=1e-6)
    [area] = re.findall(r"\bmetric validation:roc_auc=(-?[0-9.]+)", ended.stdout)  # a tuner needs a number
    expected = roc_auc_score(trained.oof["target"], trained.oof["judged_raw_probability"])
    assert float(area) == pytest.approx(expected, abs=1e-6)


def test_the_log_has_no_colours_no_progress_bar_and_no_warnings(finished):
    _, ended, _, _ = finished
    for text in (ended.stdout, ended.stderr):
        assert "\x1b" not in text and "\r" not in text
        assert "Warning" not in text
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S")
    assert all(stamp.match(line) for line in ended.stdout.splitlines())


def test_nothing_is_written_beside_the_data(finished):
    _, _, before, after = finished
    assert before == after


def test_a_finished_job_is_the_same_in_this_process(finished, tmp_path):
    again = run(small_job(tmp_path, has_test=True, epochs=2, seed=7, num_workers=2))
    assert again.digests == finished[0].digests


# Refusals


def test_the_containers_train_names_every_wrong_hyperparameter_and_the_nearest_right_one(tmp_path):
    root = small_job(tmp_path, learning_rat="0.1", mini_batch_size=8, folds=1, note="x" * 2500)
    path = f"{REPOSITORY / 'container'}:{Path(LESION[0]).parent}:{os.environ['PATH']}"
    started = time.monotonic()
    ended = subprocess.run(
        ["train", "--root", str(root)],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert time.monotonic() - started < 60
    reason = failure(root)
    assert len(reason) <= 1024 and "Traceback" not in reason
    for words in ("learning_rat='0.1'", "did you mean learning_rate?", "mini_batch_size='8'", "batch_size_train"):
        assert words in reason
    assert "folds='1'" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not list((root / "model").glob("*"))


def test_no_config_files_at_all_run_with_defaults_up_to_the_weights_that_cannot_be_had(tmp_path):
    root = small_job(tmp_path, frame=small_frame(12))
    (root / "input/config/hyperparameters.json").unlink()
    (root / "input/config").rmdir()
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    ended = cold_lesion("train", "--root", root, environment=environment)
    assert ended.returncode == 2, ended.stderr
    reason = failure(root)
    assert reason.startswith("the pretrained weights of 'efficientnet_b2' could not be downloaded")
    assert "`pretrained` channel" in reason and "pretrained=false" in reason
    assert reason in ended.stderr and "Traceback" not in ended.stdout + ended.stderr


def test_a_missing_training_channel_is_refused_with_those_that_are_there(tmp_path):
    root = small_job(tmp_path)
    (root / "input/data/training").rename(root / "input/data/pictures")
    assert "channels present: pictures" in refused(root, "channel 'training' is missing")


def test_train_is_another_word_for_training(tmp_path, baseline):
    root = small_job(tmp_path)
    (root / "input/data/training").rename(root / "input/data/train")
    assert run(root).digests == baseline.digests


@pytest.mark.parametrize("is_declared", [False, True])
def test_an_empty_training_channel_is_refused_by_name(tmp_path, is_declared):
    (tmp_path / "input/data/training").mkdir(parents=True)
    (tmp_path / "input/config").mkdir()
    if is_declared:
        declared = {"training": {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}}
        (tmp_path / "input/config/inputdataconfig.json").write_text(json.dumps(declared))
    refused(tmp_path, "channel 'training' is empty")


def test_a_channel_without_a_table_is_refused_with_what_it_holds(tmp_path):
    root = small_job(tmp_path)
    (root / "input/data/training/train.csv").rename(root / "input/data/training/labels.dat")
    assert "labels.dat" in refused(root, "no train set found")


# The validation channel


def split_off_validation(root: Path, patients: list[str]) -> None:
    """Moves the rows of some patients into a validation channel; their pictures are linked, not moved."""
    training, validation = root / "input/data/training", root / "input/data/validation"
    frame = pd.read_csv(training / "train.csv")
    is_held = frame["patient_id"].isin(patients)
    validation.mkdir()
    (validation / "train_jpg").symlink_to(training / "train_jpg")
    frame[is_held].to_csv(validation / "train.csv", index=False)
    frame[~is_held].to_csv(training / "train.csv", index=False)


def test_a_validation_channel_turns_cross_validation_off(tmp_path):
    root = small_job(tmp_path, folds=3)
    split_off_validation(root, ["P001", "P004"])
    trained = run(root)
    assert len(trained.digests) == 1
    assert trained.oof["group"].tolist() == ["P001", "P001", "P004", "P004"]
    assert trained.oof["fold"].eq(0).all()
    assert trained.manifest["metrics"]["overall"]["num_rows"] == 4


def test_a_patient_in_training_and_validation_is_refused_by_name(tmp_path):
    root = small_job(tmp_path)
    split_off_validation(root, ["P001", "P004"])
    csv_path = root / "input/data/training/train.csv"
    frame = pd.read_csv(csv_path)
    frame.loc[frame["patient_id"] == "P002", "patient_id"] = "P004"
    frame.to_csv(csv_path, index=False)
    assert "P004" in refused(root, "1 group in training and validation")


# Unreadable pictures


@pytest.fixture
def job_with_a_broken_picture(tmp_path) -> Path:
    root = small_job(tmp_path)
    picture = root / "input/data/training/train_jpg/IMG_003_1.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    return root


def test_an_unreadable_picture_is_named_before_anything_is_trained(job_with_a_broken_picture):
    message = refused(job_with_a_broken_picture, "1 of 12 training images cannot be read")
    assert "IMG_003_1.jpg" in message and "on_bad_image=drop" in message


def test_an_unreadable_picture_can_be_left_out(job_with_a_broken_picture, tmp_path_factory):
    root = small_job(tmp_path_factory.mktemp("dropped"), on_bad_image="drop")
    picture = root / "input/data/training/train_jpg/IMG_003_1.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    trained = run(root)
    assert trained.oof["image_name"].tolist() == [n for n in small_frame()["image_name"] if n != "IMG_003_1"]
    without = small_job(tmp_path_factory.mktemp("without"), frame=small_frame().query("image_name != 'IMG_003_1'"))
    written_by_row = [path.name for path in sorted((without / "input/data/training/train_jpg").iterdir())]
    for name in written_by_row:  # the same pictures, whatever their row
        (without / "input/data/training/train_jpg" / name).write_bytes((picture.parent / name).read_bytes())
    assert run(without).digests == trained.digests


# Ends that were not planned


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["the child killed", "the job stopped"])
def test_a_job_that_ends_by_a_signal_says_so(tmp_path, number):
    root = small_job(tmp_path, epochs=2000, patience=2000)
    log, parent = root / "log", train(root)
    try:
        wait_for_text(log, "epoch=0")
        [child] = children(parent.pid)
        if number == signal.SIGKILL:
            os.kill(child, signal.SIGKILL)  # as the kernel does for want of memory
            assert parent.wait(20) not in {0, 2}
            said = failure(root)
            # Whichever of an epoch's two halves the signal meets.
            steps = {"training": "train", "predicting the held-out rows of": "predict"}
            words = [f"while {do} fold 0, most likely out of memory: lower batch_size_{of}" for do, of in steps.items()]
            assert any(f"killed by SIGKILL {said_of}" in said for said_of in words), said
        else:
            parent.send_signal(signal.SIGTERM)
            assert parent.wait(20) == 143
            assert not (root / "output/failure").exists()
        assert not Path(f"/proc/{child}").exists()
        assert "Traceback" not in log.read_text()
    finally:
        for pid in (*children(parent.pid), parent.pid) if parent.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
