"""The check of a job that goes on after a kill: its outcome is taken over where data and settings are the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import Trained, run, small_frame, small_job

from factories import draw_picture, write_hyperparameters
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.train import train
from lesion.check import run as check_run
from lesion.errors import UserError
from lesion.sagemaker import read_job
from lesion.stop import Stop

MENDED = {"on_bad_image": "drop", "on_leak": "merge_groups", "metadata_columns": "sex"}


class KilledAtOnce(Stop):
    """Ends a job after its first step, before a state was saved."""

    def check(self) -> None:
        raise KeyboardInterrupt


def spoilt_job(root: Path, **changes: object) -> Path:
    """A job with a picture to drop, two groups to merge and a row to drop of the test set."""
    root = small_job(root, frame=small_frame(16), has_test=True, **{**MENDED, **changes})
    pictures = root / "input/data/training/train_jpg"
    (pictures / "IMG_000_0.jpg").write_bytes(b"no picture")
    (pictures / "IMG_002_0.jpg").write_bytes((pictures / "IMG_004_0.jpg").read_bytes())
    (root / "input/data/training/test_jpg/TEST_IMG_001_0.jpg").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The job that nobody killed."""
    return run(spoilt_job(tmp_path_factory.mktemp("whole")))


def kill(root: Path) -> None:
    """Starts the job and kills it after a step; its machine goes, and of its checkpoints the check alone stays."""
    job = replace(read_job(root), stop=KilledAtOnce())
    with pytest.raises(KeyboardInterrupt):
        train(job, ClassifyConfig.parse(job.hyperparameters))
    for folder in (root / "output", root / "cache"):
        shutil.rmtree(folder, ignore_errors=True)
    for state in (root / "checkpoints").glob("*.safetensors"):  # else a job with other settings is refused for these
        state.unlink()
    assert len(kept(root)) == 1


def kept(root: Path) -> list[Path]:
    return list((root / "checkpoints").glob("check.*"))


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = spoilt_job(tmp_path_factory.mktemp("killed"))
    kill(root)
    return root


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed_once, tmp_path / "job")
    return tmp_path / "job"


@pytest.fixture
def nothing_is_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for copies, shortcuts or columns that give the target away fails."""
    for name in ("find_duplicates", "shortcuts", "columns_that_give_away"):
        monkeypatch.setattr(check_run, name, None)


@pytest.mark.usefixtures("nothing_is_sought")
def test_what_was_found_out_is_not_sought_again_and_gives_the_same(killed, whole, said):
    again = run(killed)
    assert again.digests == whole.digests and again.oof.equals(whole.oof)
    assert "the check was done before this job was stopped" in said()
    assert "check warning: 1 pair of copies of the same image in different groups" in said()  # as the first time
    assert "cache=on" in said()  # the pictures are decoded, for the cache of the first run is gone
    known = json.loads((killed / "output/data/check.json").read_text())
    assert known["sets"]["training"]["num_rows"] == 31 and (killed / "output/data/check.html").stat().st_size > 1000
    assert len(json.loads((killed / "output/data/metrics.json").read_text())["shortcuts"]["roc_auc"]) == 4
    assert kept(killed) == []  # once the job is done


@pytest.mark.parametrize("changes", [{"on_leak": "drop"}, {"folds": 3}, {"seed": 1}])
def test_with_other_settings_the_check_is_made_again(killed, said, changes):
    hyperparameters = json.loads((killed / "input/config/hyperparameters.json").read_text())
    write_hyperparameters(killed, {**hyperparameters, **changes})
    run(killed)
    assert " copies=1 " in said() and "the check was done before" not in said()


@pytest.mark.parametrize("table", ["train.csv", "test.csv"])
def test_with_other_rows_the_check_is_made_again(killed, said, table):
    csv = killed / "input/data/training" / table
    csv.write_text("".join(csv.read_text().splitlines(keepends=True)[:-1]))
    run(killed)
    assert " copies=1 " in said() and "the check was done before" not in said()


@pytest.mark.parametrize("tear", [lambda content: content[:-100], lambda content: content.replace(b"P0", b"P1", 1)])
def test_an_outcome_that_is_torn_is_noticed(killed, whole, said, tear):
    [path] = kept(killed)
    path.write_bytes(tear(path.read_bytes()))
    assert run(killed).digests == whole.digests
    assert f"{path.name} is damaged, so the check runs again" in said() and " copies=1 " in said()


def test_a_picture_that_could_be_read_and_cannot_be_now_is_named(tmp_path, said):
    root = small_job(tmp_path)
    kill(root)
    (root / "input/data/training/train_jpg/IMG_003_0.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"1 of 12 training images cannot be read.*IMG_003_0"):
        run(root)
    assert "the check runs again, since an image that could be read then cannot be read now" in said()


@pytest.mark.parametrize("picture", ["train_jpg/IMG_000_0.jpg", "test_jpg/TEST_IMG_001_0.jpg"])
def test_a_picture_that_was_left_out_and_is_mended_is_taken(killed, said, picture):
    pictures = killed / "input/data/training"
    draw_picture(pictures / picture, is_positive=True, seed=99)
    run(killed)
    assert f"an image that could not be read then can be read now: {Path(picture).stem}" in said()
    known = json.loads((killed / "output/data/check.json").read_text())
    name = picture.partition("_")[0].replace("train", "training")
    assert known["sets"][name]["num_rows"] == {"training": 32, "test": 5}[name]


def test_without_a_cache_no_picture_is_read_before_training(tmp_path, said):
    root = small_job(tmp_path, cache="off")
    kill(root)
    (root / "input/data/training/train_jpg/IMG_003_0.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match="IMG_003_0"):
        run(root)
    assert "fold=0 rows=6" in said()  # training had begun
