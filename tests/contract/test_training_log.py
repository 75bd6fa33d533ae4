"""Training log: what TensorBoard's own reader and the log say of a job, also of one that was killed and went on."""

from __future__ import annotations

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, small_frame, small_job
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lesion.evaluation.metrics import METRICS
from processes import finish, stop

SETTINGS = {"epochs": 3}
NUMBERS = {"lr", "train_loss", "images_per_s", "wait_share", *METRICS}


def runs(root: Path) -> dict[str, EventAccumulator]:
    folders = sorted((root / "output" / "tensorboard").iterdir())
    return {folder.name: EventAccumulator(str(folder)).Reload() for folder in folders}


def points(events: EventAccumulator, of: str) -> pd.DataFrame:
    """A column a number, a row a step; each step must be there once."""
    names = [tag for tag in events.Tags()["scalars"] if tag.startswith(f"{of}/")]
    columns = {name.partition("/")[2]: {e.step: e.value for e in events.Scalars(name)} for name in names}
    assert all(len(events.Scalars(name)) == len(columns[name.partition("/")[2]]) for name in names)
    return pd.DataFrame(columns)


def curve(events: EventAccumulator, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at 127 even thresholds."""
    [event] = events.Tensors(f"precision and recall/{name}")
    values = np.array(event.tensor_proto.float_val).reshape(6, 127)
    return values[4], values[5]


def assert_is_history(events: EventAccumulator, history: pd.DataFrame) -> None:
    seen = points(events, "epoch")
    assert seen.index.tolist() == history["epoch"].tolist() and set(seen.columns) == NUMBERS
    for name in NUMBERS:
        np.testing.assert_allclose(seen[name], history[name], rtol=1e-6)  # points are float32


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("watched"), **SETTINGS))


def test_every_fold_is_a_run_with_the_numbers_of_the_history(watched):
    seen = runs(watched.root)
    assert list(seen) == ["fold_0", "fold_1", "out_of_fold"]
    for fold in (0, 1):
        assert_is_history(seen[f"fold_{fold}"], watched.history.query(f"fold == {fold}"))
    assert (watched.history["images_per_s"] > 0).all() and watched.history["wait_share"].between(0, 1).all()


def test_the_metrics_of_folds_and_of_all_are_those_of_the_results(watched):
    seen, metrics = runs(watched.root), watched.manifest["metrics"]
    for fold in metrics["folds"]:
        of_fold = points(seen[f"fold_{fold['fold']}"], "fold").loc[0].to_dict()
        # As the fold ends, when no other rows have chosen an epoch or a threshold for it.
        told = fold["of_best_epoch"]["metrics"]
        assert {name: of_fold[name] for name in told} == pytest.approx(told, rel=1e-6)
    logged, told = points(seen["out_of_fold"], "validation").loc[0].to_dict(), metrics["overall"]["metrics"]
    assert {name: logged[name] for name in told} == pytest.approx(told, rel=1e-6)
    # Of so few rows there is no AUC as a result, and still the number that chose the epoch.
    assert set(logged) - set(told) == {"roc_auc", "average_precision"} == set(metrics["overall"]["notes"])


def test_there_are_pictures_and_curves(watched):
    for name, events in runs(watched.root).items():
        assert events.Tags()["images"] == ["training pictures", "ROC"] if name != "out_of_fold" else ["ROC"]
        oof = watched.oof if name == "out_of_fold" else watched.oof.query(f"fold == {name[-1]}")
        raw = 1 / (1 + np.exp(-oof["logit"]))  # a fold's own curves are drawn before anything is calibrated
        probs = oof["judged_probability"] if name == "out_of_fold" else raw
        precision, recall = curve(events, "malignant")
        assert precision[0] == pytest.approx(oof["target"].mean()) and recall[0] == 1
        is_yes, half = oof["target"] == 1, probs >= 63 / 126  # the threshold in the middle
        assert recall[63] == pytest.approx((half & is_yes).sum() / is_yes.sum())


def test_every_class_has_a_curve(tmp_path):
    words = pd.Series(["nevus", "melanoma", "keratosis"] * 6)
    root = small_job(tmp_path, frame=small_frame(9).assign(diagnosis=words), target_column="diagnosis")
    run(root)
    tags = runs(root)["out_of_fold"].Tags()["tensors"]
    assert tags == [f"precision and recall/{name}" for name in ("keratosis", "melanoma", "nevus")]


@pytest.mark.parametrize("machine", ["the same machine", "a new machine"])
def test_a_fold_that_goes_on_has_every_epoch_once(tmp_path, machine):
    """A spot instance that comes back has the checkpoints and nothing else; TensorBoard reads both machines' files."""
    root = small_job(tmp_path, **SETTINGS)
    stop(root, "fold=1 epoch=1", signal.SIGKILL)
    if machine == "a new machine":
        shutil.rmtree(root / "output" / "tensorboard")
    finish(root)
    seen, resumed = runs(root), Trained(root)
    assert_is_history(seen["fold_1"], resumed.history.query("fold == 1"))
    [pictures] = seen["fold_1"].Images("training pictures")
    assert pictures.step in {1, 2}  # the epoch it went on in; whether the one before was saved is chance
    assert list(points(seen["fold_1"], "fold").index) == [0]
    if machine == "the same machine":
        assert len(list((root / "output" / "tensorboard" / "fold_0").iterdir())) == 1  # it is not told again
        assert_is_history(seen["fold_0"], resumed.history.query("fold == 0"))


def test_the_log_says_how_fast_it_goes_and_how_long_it_takes(tmp_path):
    said = finish(small_job(tmp_path, **SETTINGS))
    number = r"([0-9.]+)"
    lines = re.findall(rf"fold=. epoch=. lr=5.0e-04 images_per_s={number} wait_share={number} eta_min={number}\n", said)
    assert len(lines) == said.count("metric epoch:images_per_s=") == said.count("metric epoch:lr=0.000500000\n") == 6
    assert float(lines[-1][2]) == 0  # nothing is left to do
