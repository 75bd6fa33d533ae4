"""Jobs: trainings small enough to run by the dozen, in this process, and what they left."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from factories import few_trees, run_job, sample_frame, write_job
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.train import train
from lesion.models.backbone import create_backbone
from lesion.sagemaker import read_job
from lesion.stop import Stop

# One epoch of two folds over a dozen pictures: about a second and a half.
SMALL: dict[str, object] = {
    "image_size": 32,
    "folds": 2,
    "epochs": 1,
    "patience": 10,
    "lr_patience": 10,
    "num_workers": 0,
    "tta": 1,
    "precision": "fp32",  # the same on every machine
    "export_graph": False,
    "explain": False,
}


@dataclass(frozen=True)
class Trained:
    """A finished job."""

    root: Path

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "model" / "manifest.json").read_text()))

    @property
    def payload(self) -> dict[str, Any]:
        """What the manifest holds of the classifier."""
        return dict(self.manifest["payload"])

    @property
    def digests(self) -> list[str]:
        """One for each fold's weights, bit by bit."""
        manifest = self.manifest
        return [manifest["files"][fold["file"]]["sha256"] for fold in manifest["payload"]["folds"]]

    @property
    def oof(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "output" / "data" / "oof.csv", dtype={"image_name": str, "group": str})

    @property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.root / "output" / "data" / "history.csv")

    @property
    def learned(self) -> pd.DataFrame:
        """The history without what depends on how busy the machine was."""
        return self.history.drop(columns=["images_per_s", "wait_share"])

    @property
    def channel(self) -> Path:
        return self.root / "input" / "data" / "training"


def small_frame(num_patients: int = 6) -> pd.DataFrame:
    """A positive and a negative picture of each patient, so that every way to fold has both classes on both sides.

    Some columns say another thing than the usual ones, for the hyperparameters that name columns.
    """
    frame = sample_frame(num_patients)
    names, number = frame["image_name"].to_numpy(), pd.Series(range(len(frame)))
    target = number % 2
    return frame.assign(
        target=target,
        diagnosis=target.map({0: "nevus", 1: "melanoma"}),
        benign_malignant=target.map({0: "benign", 1: "malignant"}),
        other_image=names[::-1],
        other_target=(number // 2 + number) % 2,
        other_group=[f"G{value}" for value in number // 4],
        other_words=target.map({0: "no", 1: "yes"}),
        other_fold=number // 2 % 3,
    )


def small_job(root: Path, *, frame: pd.DataFrame | None = None, has_test: bool = False, **changes: object) -> Path:
    """The files of a small job, not yet run."""
    frame = small_frame() if frame is None else frame
    return write_job(root, frame=frame, has_test=has_test, **{**SMALL, **changes})


def draw_weights(path: Path) -> str:
    """A file of weights for test_resnet to start from, the same in every run. Returns its path."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        save_file(create_backbone("test_resnet", {}).state_dict(), path)
    return str(path)


def run(root: Path, *, is_rendered: bool = False) -> Trained:
    run_job(root, is_rendered=is_rendered)
    return Trained(root)


class _EndsAtOnce(Stop):
    """Ends a job in its second step without having been asked to stop, so that nothing is saved for that."""

    def __init__(self) -> None:
        super().__init__()
        self._num_steps = 0

    @property
    def is_requested(self) -> bool:
        self._num_steps += 1
        if self._num_steps == 2:
            raise KeyboardInterrupt
        return False


def run_a_step(root: Path) -> None:
    """The job as far as its second step, as a kill would end it there: one is kept if each is."""
    job = replace(read_job(root), stop=_EndsAtOnce())
    with few_trees(), suppress(KeyboardInterrupt):
        train(job, ClassifyConfig.parse(job.hyperparameters))
