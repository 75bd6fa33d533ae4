"""Faults of the systems before us, one test by name for each, so that none of them comes back."""

from __future__ import annotations

import ast
import base64
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from jobs import Trained, draw_weights, run, run_a_step, small_frame, small_job
from PIL import Image
from pytest import approx
from safetensors.torch import load_file

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.manifest import read
from lesion.algorithms.classify.prediction.load import load_predictor, load_torch
from lesion.algorithms.classify.prediction.predictor import Ensemble
from lesion.algorithms.classify.prediction.torch_executor import TorchExecutor, load_networks
from lesion.algorithms.classify.task import define_task, questions
from lesion.algorithms.classify.training.fold import FoldRows, rows_of
from lesion.algorithms.classify.training.loop import Mixing, StepSettings
from lesion.algorithms.classify.training.setup import (
    Setup,
    start_training,
    step_settings,
)
from lesion.artifact import load_manifest
from lesion.data.cache import Cache, Decoded
from lesion.data.decode import images
from lesion.data.folds import Folds
from lesion.data.metadata import ColumnEncoder
from lesion.data.table import SampleTable
from lesion.engine.checkpoint import State
from lesion.engine.distributed import JobProcesses
from lesion.engine.run import create_run
from lesion.engine.training import Training
from lesion.evaluation.metrics import METRICS, log_loss
from lesion.models.fusion import FusionNet
from lesion.models.starting_weights import preprocess_for, pretrained_backbone
from lesion.predict_files import predict_files
from lesion.sagemaker import read_job
from processes import states


def opened(model_dir: Path, *, fold: int | None = None) -> Ensemble:
    return load_predictor(model_dir, device="cpu", num_cores=2, fold=fold, precision="fp32")


METADATA = ["sex", "age_approx", "anatom_site_general_challenge"]


def pictures_of(trained: Trained, names: pd.Series) -> list[images.Pixels]:
    return [images.read(trained.channel / "train_jpg" / f"{name}.jpg") for name in names]


def metadata_of(trained: Trained, names: pd.Series) -> list[dict[str, object]]:
    table = pd.read_csv(trained.channel / "train.csv", dtype=str, keep_default_na=False).set_index("image_name")
    return table.loc[names, METADATA].to_dict("records")


def ask_fold(trained: Trained, fold: int, oof: pd.DataFrame) -> np.ndarray:
    predictor = opened(trained.root / "model", fold=fold)
    names = oof["image_name"]
    return predictor.predict(pictures_of(trained, names), metadata_of(trained, names))[:, 0]


@contextmanager
def watching_networks(note: Callable[[FusionNet, torch.Tensor], object]) -> Iterator[None]:
    """Inside, `note` is shown every network with each batch of pictures that reaches it."""

    features = FusionNet.features

    def look(network: FusionNet, images_NCHW: torch.Tensor) -> torch.Tensor:
        note(network, images_NCHW)
        return features(network, images_NCHW)

    with patch.object(FusionNet, "features", look):
        yield


# Folds sharing a network that goes on training; held-out rows that reach it


@pytest.fixture(scope="module")
def altered(baseline, tmp_path_factory) -> Trained:
    """The baseline, with pixels, metadata and targets of all that fold 1 holds out turned into something else."""
    frame = pd.read_csv(baseline.channel / "train.csv", dtype=str, keep_default_na=False)
    held = (baseline.oof["fold"] == 1).to_numpy()
    frame.loc[held, "target"] = frame.loc[held, "target"].map({"0": "1", "1": "0"})
    frame.loc[held, "age_approx"] = "5"
    frame.loc[held, "anatom_site_general_challenge"] = "only held out"
    root = small_job(tmp_path_factory.mktemp("altered"), frame=small_frame(), has_test=True)
    channel = root / "input/data/training"
    frame.to_csv(channel / "train.csv", index=False)
    for seed, name in enumerate(frame.loc[held, "image_name"]):
        noise_HWC = np.random.default_rng(seed).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(channel / "train_jpg" / f"{name}.jpg"), noise_HWC)
    return run(root)


def test_what_a_fold_holds_out_changes_none_of_its_weights(baseline, altered):
    """Fold 0 was trained on the altered rows and comes first: a network that went on training would carry them on."""
    assert altered.digests[0] != baseline.digests[0]
    assert altered.digests[1] == baseline.digests[1]
    assert altered.payload["folds"][1]["metadata"] == baseline.payload["folds"][1]["metadata"]


def test_a_word_that_only_held_out_rows_use_is_not_in_the_folds_encoder(altered):
    words = [fold["metadata"][2]["categories"] for fold in altered.payload["folds"]]
    assert "only held out" in words[0]
    assert "only held out" not in words[1]


def test_all_folds_start_from_the_same_weights(plateau):
    """Its learning rate leaves the weights within 4e-7 of where they started, which are 0.1 apart for other seeds."""
    first, second = (load_file(plateau.root / f"model/fold_{fold}.safetensors") for fold in (0, 1))
    assert plateau.digests[0] != plateau.digests[1]  # they are not one file twice
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6)


# Hyperparameters that are read but not used


@pytest.fixture(scope="module")
def plateau(tmp_path_factory) -> Trained:
    """Four epochs in which nothing can get better, so that all rules about plateaus act."""
    return run(small_job(tmp_path_factory.mktemp("plateau"), **PLATEAU))


# Without BatchNorm, whose statistics would move, at the lowest rate that still falls: torch's scheduler leaves falls of
# less than 1e-8 out.
PLATEAU: dict[str, object] = {
    "model": "test_vit",
    "metadata_columns": "[]",
    "learning_rate": 1e-7,
    "epochs": 4,
    "lr_patience": 1,
}

# What a config builds of the tables before a picture is opened: in milliseconds, and the very value is seen.


@dataclass(frozen=True)
class Built:
    """What the first fold's first step of a job starts from, made by what `train` makes it with."""

    setup: Setup
    valid_FS: Folds
    rows: FoldRows
    training: Training
    settings: StepSettings

    @property
    def table(self) -> SampleTable:
        return self.setup.source.table()

    @property
    def network(self) -> FusionNet:
        network = self.training.network
        assert isinstance(network, FusionNet)
        return network

    @property
    def targets(self) -> list[float]:
        return list(self.setup.targets_SK[:, 0].tolist())

    @property
    def groups(self) -> list[dict[str, Any]]:
        """Of the optimiser: the backbone's, and that of all else."""
        return self.training.optimizer.param_groups

    @property
    def rates(self) -> list[float]:
        return [group["lr"] for group in self.groups]

    @property
    def columns(self) -> Sequence[ColumnEncoder]:
        return self.rows.encoder.columns

    def loss(self, logit: float, target: float) -> float:
        return round(float(self.settings.loss(torch.tensor([[logit]]), torch.tensor([[target]]))), 4)

    def rates_on_a_plateau(self) -> list[float]:
        """The backbone's rate after each of three epochs of which none is better than the first."""
        rates = []
        for _ in range(3):
            self.training.schedule.after_epoch(0.5)
            rates.append(self.training.schedule.learning_rate)
        return rates

    def modules_that_learn(self) -> set[str]:
        """What of the backbone is in training mode once a step is prepared, by the names of their classes."""
        self.settings.set_trainable(self.network)
        return {type(module).__name__ for module in self.network.backbone.modules() if module.training}


BASE: dict[str, object] = {"epochs": 2, "model": "test_resnet", "metadata_columns": ["sex", "age_approx"]}


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Callable[..., Built]:
    root = small_job(tmp_path_factory.mktemp("built"))
    job = read_job(root)
    FRAME.iloc[::-1].to_csv(job.channels["training"] / "other.csv", index=False)
    given = draw_weights(root / "given.safetensors")

    def built(**changes: object) -> Built:
        changes = {name: given if value == "PATH" else value for name, value in changes.items()}
        config = ClassifyConfig.parse({**job.hyperparameters, **BASE, **changes})
        training, _ = questions(config, check_settings=lambda: []).open(job.channels).whole()
        task = define_task(training.table(), None, config)
        preprocess, alone = preprocess_for(config), JobProcesses(["localhost"], 0, job.stop)
        setup = Setup(
            run=create_run(job, config, alone, Cache(job.cache_dir, preprocess)),
            config=config,
            source=training,
            pictures=Decoded(training, preprocess),
            targets_SK=task.labelled.targets_SK,
            metadata_rows=training.table().metadata_rows(),
            metadata_kinds=task.kinds,
            preprocess=preprocess,
            target=task.labelled.target,
            weights=pretrained_backbone(config, None).tensors,
        )
        rows = rows_of(0, task.valid_FS[0], setup)
        settings = step_settings(setup, rows.weights_K, epoch=0)
        return Built(setup, task.valid_FS, rows, start_training(setup, rows.encoder, None), settings)

    return built


def is_given(built: Built) -> bool:
    """Whether the backbone has the weights of the file that was named, if one was."""
    path, weights = built.setup.config.pretrained, built.network.backbone.state_dict()
    return isinstance(path, str) and all(torch.equal(weights[name], given) for name, given in load_file(path).items())


def architecture(built: Built) -> str:
    return str(built.network.backbone.pretrained_cfg["architecture"])


def kinds_of_layers(built: Built) -> set[str]:
    return {type(module).__name__ for module in built.network.backbone.modules()}


def ratios(rates: list[float]) -> set[float]:
    """Of each layer's rate to that of the next."""
    steps = sorted(set(rates))
    return {round(slow / fast, 6) for slow, fast in pairwise(steps)}


# A hyperparameter, its value, what is looked at, and what that must be.
FRAME = small_frame()
Seen = tuple[object, Callable[[Built], object], object]
SEEN: dict[str, Seen] = {
    # the network
    "model": ("test_efficientnet", architecture, "test_efficientnet"),
    "model_args": ({"act_layer": "gelu"}, lambda built: "GELU" in kinds_of_layers(built), True),
    "pretrained": ("PATH", is_given, True),
    "image_mean": ([0.1, 0.2, 0.4], lambda built: built.network.mean.flatten().tolist(), approx([25.5, 51, 102])),
    "image_std": ([0.1, 0.2, 0.4], lambda built: built.network.std.flatten().tolist(), approx([25.5, 51, 102])),
    # the table
    "table_file": ("other.csv", lambda built: list(built.table.name_S), FRAME["image_name"].tolist()[::-1]),
    "image_column": ("other_image", lambda built: list(built.table.name_S), FRAME["other_image"].tolist()),
    "target_column": ("other_target", lambda built: built.targets, FRAME["other_target"].tolist()),
    "class_name_column": ("other_words", lambda built: list(built.setup.target.class_names), ["no", "yes"]),
    "positive_class": ("benign", lambda built: built.targets, (1 - FRAME["target"]).tolist()),
    "metadata_columns": (["age_approx"], lambda built: [column.name for column in built.columns], ["age_approx"]),
    "log_columns": (["age_approx"], lambda built: [column.is_log for column in built.columns], [False, True]),
    # the folds
    "group_column": ("other_group", lambda built: list(built.table.group_S), FRAME["other_group"].tolist()),
    "folds": (3, lambda built: len(built.valid_FS), 3),
    "repeats": (2, lambda built: len(built.valid_FS), 4),
    "split": ("other_fold", lambda built: built.valid_FS.argmax(axis=0).tolist(), FRAME["other_fold"].tolist()),
    # the optimiser
    "optimizer": ("adamw", lambda built: type(built.training.optimizer).__name__, "AdamW"),
    "learning_rate": (1e-3, lambda built: built.rates, [1e-3, 1e-3]),
    "weight_decay": (0.5, lambda built: [group["weight_decay"] for group in built.groups], [0.5, 0.5]),
    "head_lr_factor": (10, lambda built: built.rates[1] / built.rates[0], approx(10)),
    "layer_decay": (0.5, lambda built: ratios(built.rates), {0.5}),
    "schedule": ("cosine", lambda built: built.training.schedule.share(1.0), approx(0.5)),
    "warmup_epochs": (0.5, lambda built: built.training.schedule.share(0.25), approx(0.5, abs=0.01)),
    "lr_patience": (0, Built.rates_on_a_plateau, approx([5e-4, 2e-4, 0.8e-4])),
    "lr_factor": (0.5, lambda built: built.training.schedule.state_dict()["factor"], 0.5),
    "patience": (1, lambda built: built.training.early_stopping.patience, 1),
    # a step
    "class_weight": (3, lambda built: built.loss(0.0, 1.0), round(3 * math.log(2), 4)),
    "label_smoothing": (0.2, lambda built: built.loss(2.0, 1.0), round(0.9 * 0.126928 + 0.1 * 2.126928, 4)),
    "gradient_accumulation": (2, lambda built: built.settings.num_micro_batches, 2),
    "precision": ("bf16", lambda built: built.settings.precision, "bf16"),
    "clip_norm": (0.01, lambda built: built.settings.clip_norm, 0.01),
    "mixup": (0.4, lambda built: built.settings.mixing, Mixing(mixup=0.4)),
    "cutmix": (1.0, lambda built: built.settings.mixing, Mixing(cutmix=1.0)),
    "freeze_epochs": (1, Built.modules_that_learn, set()),
    "batch_norm": ("frozen", lambda built: {name for name in built.modules_that_learn() if "BatchNorm" in name}, set()),
    "ema_decay": (0.9, lambda built: built.training.ema and built.training.ema.decay, 0.9),
}  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_hyperparameter_is_what_the_first_step_starts_from(build, name):
    value, look, expected = SEEN[name]
    others = {"pretrained": "PATH"} if name in {"freeze_epochs", "batch_norm"} else {}  # which noise may not have
    assert look(build(**others, **{name: value})) == expected and look(build(**others)) != expected


# What the first step of a training shows in the weights, and of each kind above one hyperparameter, lest a training
# start from something else.
STEP: dict[str, object] = {
    "image_size": 40,
    "fit": "pad",
    "flips": "none",
    "model_args": {"act_layer": "gelu"},
    "metadata_columns": ["age_approx"],
    "metadata_dropout": 0.5,
    "batch_size_train": 5,
    "learning_rate": 1e-3,
    "class_weight": 3,
    "seed": 1,
}
# What needs starting weights to act.
TRANSFER_STEP: dict[str, object] = {
    "head_init": "probe",
    "freeze_epochs": 1,
    "precision": "bf16",
    "warmup_epochs": 0.5,
    "mixup": 0.4,
}
# What of a finished job must differ from the baseline's.
WHOLE: dict[str, tuple[object, Callable[[Trained], object]]] = {
    "group_column": ("other_group", lambda trained: trained.oof["fold"].tolist()),
    "tta": (3, lambda trained: trained.oof["probability"].tolist()),
    "export_graph": (True, lambda trained: trained.payload["graph"] is None),
    "explain": (True, lambda trained: trained.payload["explanation"] is None),
}
# The test of each hyperparameter that is seen neither in what is built nor in whether anything changes.
ELSEWHERE = {
    "algorithm": "test_algorithms.py::test_an_algorithm_that_is_not_there_is_refused_with_those_that_are",
    "epochs": "test_faults.py::test_twice_the_epochs_are_twice_the_history",
    "source": "test_sources.py::test_a_format_may_be_forced_and_a_wrong_one_says_what_is_missing",
    "batch_size_predict": "test_faults.py::test_the_last_partial_batch_is_written_to_its_own_rows",
    "metric": "test_faults.py::test_the_best_epoch_is_that_of_the_metric_asked_for",
    "num_workers": "test_faults.py::test_the_number_of_workers_changes_nothing",
    "cache": "test_faults.py::test_the_cache_changes_nothing",
    "device": "test_faults.py::test_device_is_used",
    "dicom_frames": "test_frames.py::test_a_case_is_answered_by_its_frames",
    "recipe": "test_recipes.py::test_each_recipe_trains_and_its_artifact_answers_as_it_did_out_of_fold",
    "processes": "test_processes.py::test_a_fold_each_gives_what_one_process_gives_with_as_many_threads",
    "parallel": "test_processes.py::test_every_batch_cut_among_two_gives_the_weights_of_one",
    "label_separator": "test_question.py::test_joined_labels_are_several_unless_each_cell_is_one_class",
    "task_type": "test_question.py::test_columns_of_which_one_is_1_are_one_question_unless_the_user_says_otherwise",
    "on_uncertain": "test_question.py::test_uncertain_labels_are_what_on_uncertain_says",
    "on_bad_image": "test_train_contract.py::test_an_unreadable_picture_can_be_left_out",
    "on_missing_group": "test_groups.py::test_rows_without_a_group_are_their_own_or_left_out_or_refused",
    "on_leak": "test_leaks.py::test_merged_groups_lie_in_one_fold",
    "find_copies": "test_leaks.py::test_copies_are_not_looked_for_where_that_is_set",
    "checkpoint_interval_s": "test_resume.py::test_the_interval_says_how_often_a_state_is_kept_within_an_epoch",
    "on_foreign_checkpoint": "test_resume.py::test_states_of_another_job_are_set_aside_where_that_is_asked_for",
    "on_low_quality": "test_safeguards.py::test_a_poor_picture_is_answered_with_a_warning_or_refused_or_not_looked_at",
    "calibration": "test_decisions.py::test_the_artifact_and_the_results_say_what_was_decided",
    "operating_point": "test_decisions.py::test_a_request_chooses_its_operating_point_and_is_told_which_was_used",
    "deployment_prevalence": "test_decisions.py::test_details_hold_the_classes_that_an_image_may_have",
    "report_names": "test_report.py::test_names_stand_in_the_report_if_they_are_asked_for",
    "final_model": "test_final_model.py::test_one_network_is_served_and_it_is_said_how_it_was_judged",
    "slide_score": "test_slide_scores.py::test_the_score_of_each_slide_is_made_from_its_tiles_out_of_fold",
}


def test_every_hyperparameter_has_a_test_that_it_is_used():
    assert set(ClassifyConfig.model_fields) == {*SEEN, *STEP, *TRANSFER_STEP, *WHOLE, *ELSEWHERE}


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_the_test_that_is_elsewhere_is_there(place):
    file, name = place.split("::")
    statements = ast.parse((Path(__file__).parent / file).read_text()).body
    assert name in {statement.name for statement in statements if isinstance(statement, ast.FunctionDef)}


@pytest.mark.parametrize("name", WHOLE)
def test_a_hyperparameter_changes_the_config_and_what_it_says(baseline, tmp_path, name):
    value, outcome = WHOLE[name]
    changed = run(small_job(tmp_path, **{name: value}))
    assert changed.manifest["config"][name] != baseline.manifest["config"][name]
    assert outcome(changed) != outcome(baseline)


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory) -> Trained:
    return run(small_job(tmp_path_factory.mktemp("two_epochs"), epochs=2))


def test_twice_the_epochs_are_twice_the_history(baseline, two_epochs):
    assert len(two_epochs.history) == 2 * len(baseline.history)


def test_weights_that_are_averaged_are_trained_as_others_and_kept_as_averages(two_epochs, tmp_path):
    averaged = run(small_job(tmp_path, epochs=2, ema_decay=0.9))
    assert averaged.history["train_loss"].equals(two_epochs.history["train_loss"])
    assert averaged.digests != two_epochs.digests


def after_a_step(root: Path, **settings: object) -> dict[str, bytes]:
    """The network's tensors once a job has made its first step, of two or more in an epoch."""
    usual = {"frame": small_frame(10), "batch_size_train": 4, "checkpoint_interval_s": 0}
    run_a_step(small_job(root, **{**usual, **settings}))
    [kept] = states(root, "fold_0.step")
    tensors = State.from_bytes(kept.read_bytes()).below("network")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.fixture(scope="module")
def step(tmp_path_factory) -> dict[str, bytes]:
    return after_a_step(tmp_path_factory.mktemp("step"))


@pytest.mark.parametrize("name", STEP)
def test_a_hyperparameter_changes_the_first_step(step, tmp_path, name):
    assert after_a_step(tmp_path, **{name: STEP[name]}) != step


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> str:
    return draw_weights(tmp_path_factory.mktemp("given") / "given.safetensors")


@pytest.fixture(scope="module")
def transfer_step(tmp_path_factory, given) -> dict[str, bytes]:
    """From given weights."""
    return after_a_step(tmp_path_factory.mktemp("transfer"), pretrained=given)


@pytest.mark.parametrize("name", TRANSFER_STEP)
def test_a_hyperparameter_of_transfer_learning_changes_the_first_step(transfer_step, given, tmp_path, name):
    assert after_a_step(tmp_path, pretrained=given, **{name: TRANSFER_STEP[name]}) != transfer_step


def test_a_first_step_is_the_same_each_time(transfer_step, given, tmp_path):
    """So that what is not equal above was changed by its hyperparameter."""
    assert after_a_step(tmp_path, pretrained=given) == transfer_step


def test_patience_ends_a_plateau(plateau, tmp_path):
    changed = run(small_job(tmp_path, **{**PLATEAU, "patience": 1}))
    assert plateau.history["epoch"].max() == 3 and changed.history["epoch"].max() == 1


def test_a_plateau_lowers_the_rate_by_its_factor_after_its_patience(plateau):
    """By hand: no epoch is better than the first, so the rate falls after two bad ones, before the fourth."""
    assert plateau.history["lr"].tolist() == pytest.approx([1e-7, 1e-7, 1e-7, 0.4e-7] * 2, abs=0)


def test_device_is_used(tmp_path):
    from lesion.errors import UserError

    job = small_job(tmp_path, device="cuda")
    if torch.cuda.is_available():
        with watching_networks(lambda _, images_NCHW: seen.append(images_NCHW.device.type)):
            seen: list[str] = []
            run(job)
        assert "cuda" in seen
    else:
        with pytest.raises(UserError, match="no GPU"):
            run(job)


# Weights baked into the image; random augmentation at validation or serving


def test_what_is_served_comes_from_the_model_folder(server, other_server, trained_root):
    picture = (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()
    answers = []
    for running, fold in ((server, None), (other_server, 1)):
        predictor = opened(running.root / "model", fold=fold)
        answers.append(running.ask(picture).json()["predictions"][0]["probability"])
        assert answers[-1] == pytest.approx(predictor.predict([images.decode(picture)], [{}])[0, 0], abs=1e-6)
    assert answers[0] != answers[1]


def test_nothing_random_happens_to_a_picture_that_is_asked_about(server, trained_root):
    for path in sorted((trained_root / "input/data/training/train_jpg").iterdir())[:4]:
        answers = {server.ask(path.read_bytes()).content for _ in range(5)}
        assert len(answers) == 1


def test_out_of_fold_probabilities_are_what_the_kept_fold_answers(trained_root):
    trained = Trained(trained_root)
    for fold, rows in trained.oof.groupby("fold"):
        np.testing.assert_allclose(ask_fold(trained, int(fold), rows), rows["probability"], atol=1e-6)


# The last partial batch written to the wrong rows


@pytest.mark.parametrize("batch_size", [1, 4, 5])
def test_the_last_partial_batch_is_written_to_its_own_rows(baseline, tmp_path, batch_size):
    sizes: list[int] = []
    root = small_job(tmp_path, batch_size_predict=batch_size, calibration="none")
    with watching_networks(lambda network, images_NCHW: network.training or sizes.append(len(images_NCHW))):
        changed = run(root)
    expected = 2 * 2 * {1: [1] * 6, 4: [4, 2], 5: [5, 1]}[batch_size]
    assert sizes[: len(expected)] == expected
    # The check of the artifact asks each fold for a drawn picture, and for both folds' rows together or one by one.
    check = {1: [1] * 6}.get(batch_size, [1, 1, 2, 2])
    assert sizes[len(expected) :][: len(check)] == check and max(sizes) <= batch_size
    assert changed.digests == baseline.digests
    np.testing.assert_allclose(changed.oof["logit"], baseline.oof["logit"], atol=5e-5)


def test_a_test_set_in_batches_of_any_size_gets_the_same_probabilities(baseline, tmp_path):
    sizes: list[int] = []
    root = small_job(tmp_path, has_test=True, batch_size_predict=2)
    with watching_networks(lambda _, images_NCHW: sizes.append(len(images_NCHW))):
        changed = run(root)
    assert sizes[-6:] == [2, 2, 2, 2, 1, 1]  # five pictures, each batch through two folds
    names = ["output/data/submission.csv"] * 2
    first, second = (pd.read_csv(job.root / name) for job, name in zip((baseline, changed), names, strict=True))
    assert first["image_name"].tolist() == second["image_name"].tolist()
    np.testing.assert_allclose(first["target"], second["target"], atol=1e-5)


# Views or folds averaged with the wrong weight


def test_folds_are_averaged_with_equal_weight(trained_root, tmp_path):
    """Of an artifact without calibration; tests/unit/evaluation/test_pooling.py has how one with it is pooled."""
    trained, plain = Trained(trained_root), tmp_path / "model"
    shutil.copytree(trained_root / "model", plain)
    manifest = json.loads((plain / "manifest.json").read_text())
    manifest["payload"]["calibration"] = None
    (plain / "manifest.json").write_text(json.dumps(manifest))
    pictures, rows = pictures_of(trained, trained.oof["image_name"]), metadata_of(trained, trained.oof["image_name"])
    by_fold = [opened(plain, fold=fold).predict(pictures, rows) for fold in range(3)]
    together = opened(plain).predict(pictures, rows)
    assert np.abs(by_fold[0] - by_fold[2]).max() > 1e-4
    np.testing.assert_allclose(together, np.mean(by_fold, axis=0), atol=1e-6)


def test_views_are_averaged_with_equal_weight(trained_root, tmp_path):
    """Views 0 to 2: as it is, mirrored left and right, mirrored up and down. Pictures of the network's own size."""
    manifest = json.loads((trained_root / "model/manifest.json").read_text())
    assert manifest["payload"]["num_views"] == 3
    one_view = {**manifest, "payload": {**manifest["payload"], "num_views": 1}}
    shutil.copytree(trained_root / "model", tmp_path / "model")
    (tmp_path / "model/manifest.json").write_text(json.dumps(one_view))
    square_HWC = images.read(trained_root / "input/data/training/train_jpg/IMG_000_0.jpg")[:48, :48]
    one, three = opened(tmp_path / "model"), opened(trained_root / "model")
    flips = [square_HWC, square_HWC[:, ::-1], square_HWC[::-1]]
    manual = [one.predict([np.ascontiguousarray(image)], [{}])[0, 0] for image in flips]
    assert len(set(manual)) == 3
    assert three.predict([square_HWC], [{}])[0, 0] == pytest.approx(np.mean(manual), abs=1e-6)


# BGR fed to RGB normalisation


def red(path: Path) -> Path:
    Image.new("RGB", (60, 50), (255, 0, 0)).save(path)
    return path


def test_a_red_picture_is_red_when_it_reaches_the_network(trained_root, tmp_path):
    seen: list[torch.Tensor] = []
    model_dir = trained_root / "model"
    manifest = load_manifest(model_dir)
    model = read(model_dir, manifest)
    predictor = load_torch(model_dir, manifest, model, model.folds, [torch.device("cpu")])
    with watching_networks(lambda _, images_NCHW: seen.append(images_NCHW)):
        as_red = predictor.predict([images.read(red(tmp_path / "red.png"))], [{}])
        as_blue = predictor.predict([images.read(tmp_path / "red.png")[:, :, ::-1].copy()], [{}])
    assert seen[0][0, :, 20, 20].tolist() == [255, 0, 0]
    assert as_red != as_blue


def test_what_is_subtracted_and_divided_is_what_timm_states_for_red_green_and_blue(trained_root, tmp_path):
    """test_resnet's weights were trained with mean and deviation 0.5: pure red is +1, −1, −1."""
    inputs: list[torch.Tensor] = []
    manifest = load_manifest(trained_root / "model")
    model = read(trained_root / "model", manifest)
    networks = load_networks(trained_root / "model", manifest, model, model.folds[:1], torch.device("cpu"))
    networks[0].backbone.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    executor = TorchExecutor(networks, torch.device("cpu"))
    predictor = Ensemble(manifest, model, model.folds[:1], [executor], max_batch=1, backend="")
    predictor.predict([images.read(red(tmp_path / "red.png"))], [{}])
    torch.testing.assert_close(inputs[0][0, :, 20, 20], torch.tensor([1.0, -1.0, -1.0]))


def test_skin_is_red_in_training_and_in_validation(tmp_path):
    """The drawn skin is (224, 180, 160); augmentation moves colours, but not past each other on average."""
    means: dict[bool, list[torch.Tensor]] = {True: [], False: []}

    def note(network: FusionNet, images_NCHW: torch.Tensor) -> None:
        if len(images_NCHW) > 1:  # and not what the check of the artifact draws
            means[network.training].append(images_NCHW.float().mean(dim=(0, 2, 3)))

    with watching_networks(note):
        run(small_job(tmp_path))
    for is_training in (True, False):
        assert len(means[is_training]) >= 2
        for r, g, b in means[is_training]:
            assert r > g + 10 > b + 15


# EXIF rotation ignored at one end only


def save_upright_and_turned(picture: Path, upright: Path, turned: Path) -> None:
    """The same pixels twice, as a camera held sideways stores them: turned, with an orientation that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90° clockwise
    with Image.open(picture) as image:
        image.save(upright)
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)


def test_a_turned_picture_with_exif_gets_the_upright_ones_answer_by_every_door(server, trained_root, tmp_path):
    (tmp_path / "in").mkdir()
    upright, turned = tmp_path / "in/a.png", tmp_path / "in/b.png"
    save_upright_and_turned(trained_root / "input/data/training/train_jpg/IMG_000_1.jpg", upright, turned)
    options = {"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 1, "show_progress": False}
    predict_files(tmp_path / "in", model_dir=trained_root / "model", output=tmp_path / "out.csv", **options)
    expected = pd.read_csv(tmp_path / "out.csv")["probability"].tolist()
    assert expected[0] == expected[1]
    answers = [server.ask(path.read_bytes(), "image/png").json() for path in (upright, turned)]
    assert answers[0] == answers[1]
    assert answers[0]["predictions"][0]["probability"] == pytest.approx(expected[0], abs=1e-6)
    with Image.open(turned) as image:  # without the word of EXIF the answer would be another
        stored_HWC = np.array(image)
    assert opened(trained_root / "model").predict([stored_HWC], [{}])[0, 0] != pytest.approx(expected[0], abs=1e-6)


def test_a_turned_picture_with_exif_is_trained_upright(baseline, tmp_path):
    root = small_job(tmp_path / "job")
    for picture in sorted((root / "input/data/training/train_jpg").iterdir()):
        save_upright_and_turned(picture, tmp_path / "upright.png", picture.with_suffix(".png"))
        picture.unlink()
    assert run(root).digests == baseline.digests


# Metadata at serving


def test_metadata_in_another_order_is_the_same_metadata(server, trained_root, tmp_path):
    channel = trained_root / "input/data/training"
    encoded = base64.b64encode((channel / "train_jpg/IMG_000_0.jpg").read_bytes()).decode()
    row = {"sex": "male", "age_approx": 70, "anatom_site_general_challenge": "head/neck"}
    turned = dict(reversed(row.items()))
    requests = [json.dumps({"image": encoded, "json_data": fields}) for fields in (row, turned)]
    first, second = (server.ask(request, "application/json") for request in requests)
    assert first.status_code == 200 and first.content == second.content

    frame = pd.read_csv(channel / "train.csv", dtype=str, keep_default_na=False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/train_jpg").symlink_to(channel / "train_jpg")
    frame[frame.columns[::-1]].to_csv(tmp_path / "a/train.csv", index=False)
    options = {"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 1, "show_progress": False}
    for source, output in ((channel, "usual"), (tmp_path / "a", "turned")):
        predict_files(
            source / "train.csv", model_dir=trained_root / "model", output=tmp_path / f"{output}.csv", **options
        )
    assert (tmp_path / "usual.csv").read_bytes() == (tmp_path / "turned.csv").read_bytes()


@pytest.mark.parametrize(
    ("given", "same_as"),
    [
        ({"sex": "male"}, {"sex": "male", "age_approx": None, "anatom_site_general_challenge": None}),
        ({"age": "", "sex": "NaN", "anatomy": "null"}, {}),
        ({"anatomy": "the moon", "age": 45}, {"age_approx": 45}),
        ({"sex": 3, "anatomy": True}, {}),
        (None, {}),
    ],
    ids=["absent", "empty", "an unknown site", "words of another kind", "no metadata at all"],
)
def test_missing_and_unknown_metadata_are_answered_as_missing(server, trained_root, given, same_as):
    picture = (trained_root / "input/data/training/train_jpg/IMG_000_0.jpg").read_bytes()
    fields = {"image": base64.b64encode(picture).decode(), **({} if given is None else {"json_data": given})}
    response = server.ask(json.dumps(fields), "application/json")
    assert response.status_code == 200, response.text
    expected = opened(trained_root / "model").predict([images.decode(picture)], [same_as])[0, 0]
    assert float(response.text) == pytest.approx(expected, abs=1e-6)


# A checkpoint found by a rounded score in its file name


@pytest.fixture(scope="module", params=["log_loss", "roc_auc"])
def slow_job(request, tmp_path_factory) -> tuple[str, Trained]:
    """Four epochs at a rate so low that scores differ late behind the point."""
    root = small_job(
        tmp_path_factory.mktemp(request.param), metric=request.param, epochs=4, learning_rate=1e-6, model="test_vit"
    )
    return request.param, run(root)


def test_the_best_epoch_is_that_of_the_metric_asked_for(slow_job):
    metric, trained = slow_job
    for record in trained.payload["folds"]:
        values = trained.history.query(f"fold == {record['fold']}")[metric].to_numpy()
        assert len(values) == 4
        best = values.argmax() if METRICS[metric].better == "higher" else values.argmin()
        assert record["best_epoch"] == best  # of equals the first, as argmax has it


def test_the_weights_kept_are_those_of_the_best_epoch_and_not_of_one_that_rounds_to_it(slow_job):
    _, trained = slow_job
    is_told_apart = False
    for record in trained.payload["folds"]:
        rows = trained.oof[trained.oof["fold"] == record["fold"]]
        losses = trained.history.query(f"fold == {record['fold']}")["log_loss"].to_numpy()
        is_told_apart |= len(set(losses.round(3))) < len(set(losses))
        probs = ask_fold(trained, record["fold"], rows)
        np.testing.assert_allclose(probs, rows["probability"], atol=1e-7)
        recomputed = log_loss(rows[["target"]].to_numpy(np.float32), probs[:, None], False)
        assert recomputed == pytest.approx(losses[record["best_epoch"]], abs=2e-7)
    assert is_told_apart, "the job should have epochs whose losses agree to three digits and are not the same"


# The test set's metadata fitted by encoders


def test_the_test_sets_metadata_change_nothing_but_its_own_answers(baseline, tmp_path):
    root = small_job(tmp_path, has_test=True)
    csv_path = root / "input/data/training/test.csv"
    test = pd.read_csv(csv_path)
    test.assign(age_approx=1000, anatom_site_general_challenge="elsewhere", sex="unknown").to_csv(csv_path, index=False)
    changed = run(root)
    assert changed.digests == baseline.digests
    assert [f["metadata"] for f in changed.payload["folds"]] == [f["metadata"] for f in baseline.payload["folds"]]
    answers = [pd.read_csv(job.root / "output/data/submission.csv")["target"] for job in (baseline, changed)]
    assert not np.allclose(*answers)


# The number of workers, or a second run, changing the result


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_the_number_of_workers_changes_nothing(baseline, tmp_path, num_workers):
    """The baseline itself has none: that case is the same job run twice."""
    again = run(small_job(tmp_path, num_workers=num_workers))
    assert again.digests == baseline.digests
    pd.testing.assert_frame_equal(again.oof, baseline.oof, check_exact=True)


# Decoded pictures that are kept, and are another row's


def test_the_cache_changes_nothing(tmp_path, caplog):
    """Also where a row was dropped, after which all others stand elsewhere than in the table."""
    caplog.set_level(logging.INFO)
    trained = []
    for cache in ("auto", "off"):
        root = small_job(tmp_path / cache, cache=cache, on_bad_image="drop")
        (root / "input/data/training/train_jpg/IMG_001_0.jpg").write_bytes(b"broken")
        trained.append(run(root))
    assert "cache=on mib=0 pictures=12" in caplog.text and 'cache=off why="it is set"' in caplog.text
    assert trained[0].digests == trained[1].digests
    pd.testing.assert_frame_equal(trained[0].oof, trained[1].oof, check_exact=True)
    assert list((trained[0].root / "cache").iterdir()) == [] and not (trained[1].root / "cache").exists()
