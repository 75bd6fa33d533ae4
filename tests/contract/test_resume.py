"""Resume: a job that is killed or stopped goes on where it was, and ends with the weights of one that was not.

Warm processes meet a real SIGKILL and a real SIGTERM; what is made of the states that were left is seen in this one.
What a signal meets by chance `StopAfter` and `run_a_step` choose.
"""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, run_a_step, small_job
from kills import train_until

from disks import SmallDisk
from factories import write_hyperparameters
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.train import train
from lesion.engine.checkpoint import State
from lesion.errors import PlatformError, UserError
from lesion.launch import INTERRUPTED
from lesion.sagemaker import read_job
from lesion.stop import Stop
from processes import finish, states, stop

SETTINGS = {"epochs": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The job that nobody stopped."""
    return run(small_job(tmp_path_factory.mktemp("whole"), **SETTINGS))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the same job, killed in the middle of its second fold. To be copied, not to be written to.

    An epoch takes milliseconds: on a busy machine a kill may come an epoch too late, and is tried again.
    """
    for _ in range(9):
        root = small_job(tmp_path_factory.mktemp("stopped"), **SETTINGS)
        assert stop(root, "fold=1 epoch=1", signal.SIGKILL, has_states=("fold_1.step", 2)) == 137
        if states(root)[-1].name.startswith("fold_1.step.000001"):  # of three epochs the second is done
            return root
    pytest.fail("nine kills came too late")


@pytest.fixture
def half_done(stopped: Path, tmp_path: Path) -> Path:
    shutil.copytree(stopped, tmp_path / "job")
    return tmp_path / "job"


def assert_equal(resumed: Trained, whole: Trained) -> None:
    assert resumed.digests == whole.digests
    assert resumed.oof.equals(whole.oof)
    pd.testing.assert_frame_equal(resumed.learned, whole.learned, check_exact=True)


class StopAfter(Stop):
    """A job that is asked to stop while a given step is under way, as a signal does by chance."""

    def __init__(self, num_steps: int) -> None:
        super().__init__()
        self._num_left = num_steps

    @property
    def is_requested(self) -> bool:  # is asked once after each step, and once after each epoch
        self._num_left -= 1
        return self._num_left < 0


@pytest.fixture(scope="module")
def whole_of_two_steps(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("whole_of_two_steps"), **SETTINGS, batch_size_train=4))


@pytest.mark.parametrize("num_steps", [0, 1, 3, 4, 6, 9, 10])
def test_a_job_that_is_stopped_within_a_step_goes_on_with_the_next(tmp_path, whole_of_two_steps, num_steps):
    """Two steps an epoch, and a third count for its end."""
    root = small_job(tmp_path, **SETTINGS, batch_size_train=4)
    job = replace(read_job(root), stop=StopAfter(num_steps))
    with pytest.raises(KeyboardInterrupt):
        train(job, ClassifyConfig.parse(job.hyperparameters))
    newest = State.from_bytes(states(root)[-1].read_bytes())
    assert newest.values["num_steps"] == 1 + num_steps % 3
    assert_equal(run(root), whole_of_two_steps)


def test_what_was_trained_before_a_kill_is_not_trained_again(half_done, whole):
    said = finish(half_done)
    assert "fold=0 is finished: its result is loaded from the checkpoint" in said
    assert "fold=1 resumes in epoch=2 after step=0" in said
    assert "fold=0 epoch=" not in said and "fold=1 epoch=1 " not in said
    assert_equal(Trained(half_done), whole)


def test_a_stopped_job_leaves_the_folds_that_it_finished_and_ends_as_one_that_was_not(tmp_path, whole):
    """It is stopped twice, at first by Ctrl-C before a step was made. SageMaker uploads model/ of a stopped job too."""
    root = small_job(tmp_path, **SETTINGS)
    assert stop(root, "fold=0 rows", signal.SIGINT) == 130
    assert not (root / "model" / "manifest.json").exists()
    assert stop(root, "fold=1 epoch=1", signal.SIGTERM) == 143
    assert not (root / "output" / "failure").exists()
    manifest = Trained(root).manifest
    assert [fold["fold"] for fold in manifest["payload"]["folds"]] == [0]
    assert manifest["config"]["folds"] == 2
    finish(root)
    assert_equal(Trained(root), whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_the_step_that_it_finds(tmp_path, number):
    """It comes while the state of the first epoch's end is written, long before the interval is over."""
    root = small_job(tmp_path, **SETTINGS)
    assert train_until(root, number, "/checkpoints/fold_0.step.000000", 1) == INTERRUPTED
    assert states(root)[-1].name.startswith("fold_0.step.000001")


def test_a_torn_state_is_noticed_and_the_one_before_is_taken(half_done, whole, said):
    newest = states(half_done)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_equal(run(half_done), whole)
    assert f"checkpoint={newest.name} is damaged" in said() and "fold=1 resumes in epoch=1 after step=0" in said()


def test_a_state_with_another_bit_is_torn_too(half_done, whole, said):
    newest = states(half_done)[-1]
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    assert_equal(run(half_done), whole)
    assert "is damaged" in said()


def test_half_a_file_that_a_kill_left_is_taken_away(half_done, whole):
    part = Path(f"{states(half_done)[-1]}.sagemaker-ignore")
    part.write_bytes(b"half")
    assert_equal(run(half_done), whole)
    assert not part.exists()


def test_marks_of_the_copier_and_strangers_are_left_alone(half_done, whole):
    folder = half_done / "checkpoints"
    uploading = Path(f"{states(half_done)[0]}.sagemaker-uploading")
    strangers = [uploading, Path(f"{states(half_done)[-1]}.sagemaker-uploaded"), folder / "notes.safetensors"]
    for stranger in strangers:
        stranger.write_text("")
    assert_equal(run(half_done), whole)
    assert sorted(folder.iterdir()) == sorted(strangers)


def test_the_pictures_that_a_killed_job_had_decoded_are_removed(half_done):
    assert len(list((half_done / "cache").iterdir())) == 1
    run(half_done)
    assert list((half_done / "cache").iterdir()) == []


def test_a_finished_job_leaves_no_states(whole):
    assert states(whole.root) == []


def test_the_folder_of_states_is_bounded(half_done):
    """One of each finished fold, the last two of the fold in work."""
    assert [path.name.split(".0")[0] for path in states(half_done)] == ["fold_0", "fold_1.step", "fold_1.step"]


def test_states_of_other_settings_are_refused_by_name(half_done):
    hyperparameters = json.loads((half_done / "input" / "config" / "hyperparameters.json").read_text())
    write_hyperparameters(half_done, {**hyperparameters, "epochs": 9, "num_workers": 1, "cache": "off"})
    with pytest.raises(UserError) as refused:
        run(half_done)
    said = str(refused.value)
    assert "epochs was 3 and is 9" in said and "Empty that folder" in said
    assert "num_workers" not in said and "cache" not in said


def test_states_of_other_data_are_refused(half_done):
    csv = half_done / "input" / "data" / "training" / "train.csv"
    lines = csv.read_text().splitlines(keepends=True)
    csv.write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="data was"):
        run(half_done)


def test_other_images_of_the_same_names_are_a_cause_that_the_refusal_names(half_done):
    """A fold that was finished before they were replaced cannot predict as it did."""
    for path in (half_done / "input/data/training/train_jpg").iterdir():
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    with pytest.raises(PlatformError, match=r"fold_0\.safetensors predicted") as error:
        run(half_done)
    assert "images were replaced under the same names since" in str(error.value)
    assert "empty its checkpoints/" in str(error.value)


def test_states_lie_where_the_platform_says(tmp_path):
    root = small_job(tmp_path / "job", checkpoint_interval_s=0)
    folder = tmp_path / "elsewhere"
    (root / "input" / "config" / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(folder)}))
    run_a_step(root)
    assert list(folder.glob("fold_0.step.*.safetensors")) and not (root / "checkpoints").exists()


def test_another_setting_is_refused_before_the_data_is_checked(half_done, monkeypatch):
    monkeypatch.setattr("lesion.engine.run.check_once", None)
    values = json.loads((half_done / "input/config/hyperparameters.json").read_text())
    write_hyperparameters(half_done, {**values, "weight_decay": 0.1, "batch_size_train": "auto"})
    with pytest.raises(UserError, match=r"another job: weight_decay was 0.0 and is 0.1 \("):
        run(half_done)


def test_states_of_another_job_are_set_aside_where_that_is_asked_for(half_done, whole, said):
    hyperparameters = json.loads((half_done / "input" / "config" / "hyperparameters.json").read_text())
    names = [path.name for path in states(half_done)]
    changes = {"weight_decay": 0.1, "on_foreign_checkpoint": "set_aside"}
    write_hyperparameters(half_done, {**hyperparameters, **changes})
    run(half_done)
    assert "another job: weight_decay was 0.0 and is 0.1; moving 3 files to" in said()
    assert "resumes in epoch" not in said() and "is finished" not in said()
    assert sorted(path.name for path in (half_done / "checkpoints" / "set_aside").iterdir()) == names
    assert Trained(half_done).digests != whole.digests


@pytest.mark.parametrize(("interval_s", "num_steps"), [(0, [1]), (300, [])])
def test_the_interval_says_how_often_a_state_is_kept_within_an_epoch(tmp_path, interval_s, num_steps):
    root = small_job(tmp_path, batch_size_train=4, checkpoint_interval_s=interval_s)
    run_a_step(root)
    assert [State.from_bytes(path.read_bytes()).values["num_steps"] for path in states(root)] == num_steps


def test_what_never_changes_the_result_may_change_between_two_runs(half_done, whole, said):
    hyperparameters = json.loads((half_done / "input" / "config" / "hyperparameters.json").read_text())
    changes = {"num_workers": 1, "checkpoint_interval_s": 0, "on_foreign_checkpoint": "set_aside"}
    write_hyperparameters(half_done, {**hyperparameters, **changes})
    assert_equal(run(half_done), whole)
    assert "fold=1 resumes in epoch=2 after step=0" in said()


def test_a_batch_size_that_is_found_out_is_that_of_the_checkpoints(half_done, whole, said):
    """A GPU that others use too has another amount of free memory each time; here 8 were trained with, and 64 are what
    a CPU begins with."""
    hyperparameters = json.loads((half_done / "input" / "config" / "hyperparameters.json").read_text())
    write_hyperparameters(half_done, {**hyperparameters, "batch_size_train": "auto"})
    assert_equal(run(half_done), whole)
    assert "batch_size_train=8, as in the checkpoints" in said() and "fold=1 resumes in epoch=2" in said()


def test_a_full_disk_ends_the_job_in_words_and_with_room_again_it_goes_on(tmp_path, whole, stopped, said):
    """There is room for two states and a half: the second epoch's end is kept, the third's is not."""
    size = states(stopped)[-1].stat().st_size
    root = small_job(tmp_path / "job", **SETTINGS)
    with SmallDisk(tmp_path / "disk", str(int(2.5 * size))) as disk:
        (root / "input" / "config" / "checkpointconfig.json").write_text(json.dumps({"LocalPath": str(disk.path)}))
        with pytest.raises(PlatformError, match="checkpoint could not be written: No space left on device") as error:
            run(root)
        assert "Free disk space" in str(error.value)
        kept = sorted(path.name.split(".")[0] for path in disk.path.iterdir())  # and no half a file
        assert kept == ["check", "fold_0", "fold_0"]
        disk.remount(f"size={10 * size}")
        assert_equal(run(root), whole)
    assert "fold=0 resumes in epoch=2 after step=0" in said()


def test_a_finished_fold_is_kept_and_predicted_again_when_only_prediction_changes(half_done, whole, said, tmp_path):
    hyperparameters = json.loads((half_done / "input" / "config" / "hyperparameters.json").read_text())
    write_hyperparameters(half_done, {**hyperparameters, "tta": 4, "slide_score": "mean"})
    resumed = run(half_done)
    assert "fold=0 is predicted again, with tta=4" in said() and "fold=0 epoch=" not in said()
    assert resumed.digests == whole.digests
    other = run(small_job(tmp_path / "other", **SETTINGS, tta=4))
    assert resumed.oof.equals(other.oof)
    assert not resumed.oof["probability"].equals(whole.oof["probability"])
