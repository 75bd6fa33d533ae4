"""What is one network worth beside the ensemble? One training of the folds; ensemble, refit and soup made of it.

    python benchmarks/final_model.py ham | breast | flowers

A third of the patients is held out of everything. On their images: ROC AUC, log loss, calibration slope and observed ÷
expected of each final model as it is served, beside what its job would report; of a single fold's network too. The
soup's calibrator is learnt on one half of the held-out patients and judged on the other, and the halves change places:
a job learns it on a part that is held back, which here costs it no training rows. Also: the share of the held-out
images that is called unfamiliar (.01 is stated), and the CPU time of an answer. Needs the real data beside the project
(shared/data). Prints one JSON line; dated copies lie in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from calibration import lay_out, numbers, tables
from ham10000 import PROJECT, SETTINGS, where_and_when
from numpy.typing import NDArray

SMALL = {"image_size": 96, "tta": 3, "split": "group_kfold", "group_column": "group", "on_leak": "drop"}
TASKS: dict[str, dict[str, Any]] = {
    "ham": {"folds": 5, "epochs": 4},
    "breast": {"folds": 4, "epochs": 4, "metric": "log_loss"},  # 5 slides: a fold may lack a class
    "flowers": {"folds": 5, "epochs": 4},
}
NUM_TIMED = 48  # images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another hyperparameter")
    parser.add_argument("--rows", type=int, default=0, help="so many rows, drawn; 0 takes all")
    parser.add_argument("--seed", type=int, default=0, help="of the patients that are held out")
    args = parser.parse_args()
    frame, folder = tables(args.task)
    if args.rows:
        frame = frame.sample(args.rows, random_state=0)
    groups = np.random.default_rng(args.seed).permutation(frame["group"].unique())
    held = frame[frame["group"].isin(groups[: len(groups) // 3])].reset_index(drop=True)
    root = PROJECT / "build" / "final_model" / args.task
    settings = SETTINGS | SMALL | TASKS[args.task] | dict(pair.split("=", 1) for pair in args.set)
    settings |= {"final_model": "refit", "explain": False}
    lay_out(root, folder, frame.drop(frame.index[frame["group"].isin(held["group"])]), settings)
    made, judged = train_all(root)
    (root / "reported.json").write_text(json.dumps(judged))  # the artifacts lie beside it
    found = held_out(made, folder, held)
    print(
        json.dumps(
            {
                "benchmark": f"final_model_{args.task}",
                **where_and_when(),
                "settings": {**settings, "pretrained": Path(settings["pretrained"]).name},
                "rows": [len(frame) - len(held), len(held)],
                "epochs_of_refit": judged.pop("epochs"),
                "reported": judged,
                "held_out": found,
            }
        )
    )


def train_all(root: Path) -> tuple[dict[str, Path], dict[str, Any]]:
    """The artifacts of the three final models from one training of the folds, and what each job would report."""
    from lesion.algorithms.classify import train as training
    from lesion.algorithms.classify.config import ClassifyConfig
    from lesion.algorithms.classify.save import save_artifact, save_later, with_disagreement
    from lesion.algorithms.classify.save_safeguards import save_safeguards
    from lesion.algorithms.classify.training.networks import Networks
    from lesion.algorithms.classify.training.soup import soup
    from lesion.sagemaker import read_job

    made: dict[str, Path] = {}
    reported: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    plain_networks, plain_judge = training.final_networks, training.judge

    def networks_and_soup(results: Any, setup: Any, *args: Any, **named: Any) -> Networks:
        held_back = replace(setup, held_back_S=np.isin(np.arange(len(setup.targets_SK)), results[0].index_S))
        kept.update(setup=setup, soup=Networks.soup(results, soup(results, held_back)))
        return plain_networks(results, setup, *args, **named)

    def judge_all(networks: Networks, task: Any, config: Any) -> Any:
        setup = kept["setup"]
        every = {"ensemble": Networks.ensemble(networks.folds), "refit": networks, "soup": kept["soup"]}
        for kind, one in every.items():
            decisions, summary = plain_judge(one, task, config)
            folder = made[kind] = root / f"model_{kind}"
            folder.mkdir(exist_ok=True)
            predictor = save_artifact(folder, setup, one, decisions, summary)
            calibration = with_disagreement(decisions.calibration, predictor, setup, one.served)
            predictor = save_later(folder, predictor, summary, calibration=calibration, prediction_sets=None)
            job = replace(setup.run.job, model_dir=folder)
            there = replace(setup, run=replace(setup.run, job=job))
            save_safeguards(there, predictor, one.served, task.labelled.table.group_or_row_S, None)
            metrics = summary["overall"]["metrics"]
            reported[kind] = {name: round(metrics[name], 4) for name in ("roc_auc", "log_loss") if name in metrics}
        reported["epochs"] = len(networks.served[0].history)
        del reported["soup"]  # here its held-back rows were trained on
        return plain_judge(networks, task, config)

    with patch.object(training, "final_networks", networks_and_soup), patch.object(training, "judge", judge_all):
        job = read_job(root)
        training.train(job, ClassifyConfig.parse(job.hyperparameters))
    return made, reported


def held_out(made: dict[str, Path], folder: Path, frame: pd.DataFrame) -> dict[str, Any]:
    """How each final model does on rows that none of its networks saw."""
    from lesion.algorithms.base import Options
    from lesion.algorithms.classify.prediction.load import load_predictor
    from lesion.data.decode import images

    predictors = {
        kind: load_predictor(path, device="cpu", num_cores=1, precision="fp32") for kind, path in made.items()
    }
    target = predictors["ensemble"].target
    names, group_S = frame["image_name"].tolist(), frame["group"].to_numpy(dtype=str)
    if target.kind == "binary":
        truth_SK = frame["target"].to_numpy(dtype=float)[:, None]
    else:
        truth_SK = (frame["target"].to_numpy()[:, None] == np.array(target.class_names)).astype(float)
    outputs: dict[str, list[Any]] = {kind: [] for kind in predictors}
    for start in range(0, len(names), 64):
        pictures = [images.read(folder / name) for name in names[start : start + 64]]
        for kind, predictor in predictors.items():
            outputs[kind] += predictor.compute(pictures, [{}] * len(pictures))
    logits = {kind: np.stack([output.logits_FVK for output in found]) for kind, found in outputs.items()}
    timed = [images.read(folder / name) for name in names[:NUM_TIMED]]
    told = {}
    for kind, predictor in predictors.items():
        is_soup = kind == "soup"
        prob_SK = cross_fitted(logits[kind], truth_SK, predictor, frame) if is_soup else served(logits[kind], predictor)
        told[kind] = measured(truth_SK, prob_SK, group_S)
        if predictor.model.familiarity is not None:
            answers = [predictor.answer(output, Options()).fields for output in outputs[kind]]
            is_unfamiliar = ["unfamiliar" in fields.get("warnings", []) for fields in answers]
            told[kind]["unfamiliar"] = round(float(np.mean(is_unfamiliar)), 4)
    told["soup"]["uncalibrated"] = measured(
        truth_SK, served(logits["soup"], predictors["soup"], is_calibrated=False), group_S
    )
    singles = [
        measured(truth_SK, served(logits["ensemble"][:, [f]], predictors["ensemble"]), group_S)
        for f in range(logits["ensemble"].shape[1])
    ]
    told["single_fold"] = {
        name: round(float(np.mean([one[name] for one in singles])), 4) for name in ("roc_auc", "log_loss")
    }
    cost = {kind: [] for kind in predictors}
    for _ in range(5):
        for kind, predictor in predictors.items():
            started = time.process_time()
            predictor.compute(timed, [{}] * len(timed))
            cost[kind].append(1000 * (time.process_time() - started) / len(timed))
    for kind, values in cost.items():
        told[kind]["cpu_ms"] = round(float(np.median(values)), 2)
    return told


def served(logits_SFVK: NDArray[np.float32], predictor: Any, *, is_calibrated: bool = True) -> NDArray[np.float32]:
    from lesion.algorithms.classify.prediction.answer import combine

    return combine(predictor.target, logits_SFVK, predictor.calibration if is_calibrated else None)


def cross_fitted(
    logits_SFVK: NDArray[np.float32], truth_SK: NDArray[np.float64], predictor: Any, frame: pd.DataFrame
) -> NDArray[np.float32]:
    """The soup's probabilities, each half of the patients calibrated by what the other half taught."""
    from lesion.evaluation.calibrator_choice import choose_calibrator

    raw_SK = served(logits_SFVK, predictor, is_calibrated=False)
    group_S = frame["group"].to_numpy(dtype=str)
    groups = np.random.default_rng(1).permutation(np.unique(group_S))
    is_first_S = np.isin(group_S, groups[: len(groups) // 2])
    prob_SK = np.empty_like(raw_SK)
    is_multiclass = predictor.target.kind == "multiclass"
    for is_here_S in (is_first_S, ~is_first_S):
        there = ~is_here_S
        choice = choose_calibrator(
            truth_SK[there], raw_SK[there].astype(float), group_S[there], is_multiclass=is_multiclass, method="auto"
        )
        prob_SK[is_here_S] = choice.calibrator.apply(raw_SK[is_here_S].astype(float))
    return prob_SK


def measured(truth_SK: NDArray[np.float64], prob_SK: NDArray[np.float32], group_S: NDArray[Any]) -> dict[str, Any]:
    from lesion.evaluation.metrics import roc_auc

    num_outputs = truth_SK.shape[1]
    judged = numbers(truth_SK, prob_SK, group_S)
    aucs = [roc_auc(truth_SK[:, k], prob_SK[:, k]) for k in range(num_outputs)]
    calibrations: Sequence[dict[str, Any]] = [judged[str(k)] for k in range(num_outputs)]
    return {
        "roc_auc": round(float(np.mean(aucs)), 4),
        "log_loss": judged["log_loss"],
        "slope": [one["slope"] for one in calibrations] if num_outputs > 1 else calibrations[0]["slope"],
        "observed_to_expected": [one["observed_to_expected"] for one in calibrations],
    }


if __name__ == "__main__":
    main()
