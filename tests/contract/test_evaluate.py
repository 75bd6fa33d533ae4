"""Evaluate: a finished model on a labelled set of its own, and its report rebuilt from report.json alone."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from jobs import Trained, run, small_frame, small_job
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss, roc_auc_score

from factories import draw_picture, write_channel
from lesion.algorithms.classify.algorithm import CLASSIFY
from lesion.compared_runs import read_run
from lesion.errors import UserError
from lesion.predict_files import predict_files
from lesion.report.facts import Facts
from lesion.report.sections import Missing
from lesion.report_files import rebuild_report
from processes import lesion


def other_frame(num_patients: int = 16) -> pd.DataFrame:
    """Another hospital's table, in which a fifth of the pictures are labelled as what they do not show."""
    frame = small_frame(num_patients)
    return frame.assign(image_name="N_" + frame["image_name"], patient_id="N_" + frame["patient_id"])


def write_other(folder: Path, frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """The set in `folder`, its labels partly turned after its pictures are drawn, so that no metric is perfect."""
    frame = other_frame() if frame is None else frame
    write_channel(folder, frame)
    target = np.where(np.arange(len(frame)) % 5 == 0, 1 - frame["target"], frame["target"])
    names = pd.Series(target).map({0: "benign", 1: "malignant"}).to_numpy()
    turned = frame.assign(target=target, benign_malignant=names)
    turned.to_csv(folder / "train.csv", index=False)
    return turned


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A job with enough patients for prediction sets and intervals. Not to be written to."""
    frame = small_frame(20)
    root = small_job(tmp_path_factory.mktemp("model"), frame=frame, metadata_columns="sex", epochs=2)
    return run(root)


@pytest.fixture
def other(tmp_path: Path) -> Path:
    write_other(tmp_path / "other")
    return tmp_path / "other"


def evaluate(path: Path, job: Trained, output: Path, *, operating_point: str | None = None, **settings: str) -> str:
    return CLASSIFY.evaluate(
        job.root / "model",
        path,
        output=output,
        source="auto",
        settings=settings,
        device="cpu",
        num_cores=2,
        precision="fp32",
        operating_point=operating_point,
        show_progress=False,
    )


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def read(output: Path) -> tuple[pd.DataFrame, dict[str, Any], Facts]:
    rows = pd.read_csv(output / "predictions.csv", keep_default_na=False)
    metrics = json.loads((output / "metrics.json").read_text(), parse_constant=refuse)
    return rows, metrics, Facts.read(output / "report.json")


def test_the_numbers_are_those_of_scikit_learn_on_the_answers_that_are_served(model, other, tmp_path):
    found = evaluate(other, model, tmp_path / "out")
    rows, metrics, facts = read(tmp_path / "out")
    frame = pd.read_csv(other / "train.csv")
    assert rows["image_name"].tolist() == frame["image_name"].tolist()
    assert rows["group"].tolist() == frame["patient_id"].tolist()
    assert rows["target"].tolist() == frame["target"].tolist()
    predict_files(
        other, model_dir=model.root / "model", output=tmp_path / "served.csv", device="cpu", fold=None,
        precision="fp32", num_cores=2, show_progress=False,
    )  # fmt: skip
    served = pd.read_csv(tmp_path / "served.csv")
    np.testing.assert_allclose(rows["probability"], served["probability"], atol=1e-7)
    assert rows["label"].tolist() == served["label"].tolist()
    y, p = frame["target"].to_numpy(), rows["probability"].to_numpy(dtype=float)
    measured = metrics["overall"]["metrics"]
    assert measured["roc_auc"] == pytest.approx(roc_auc_score(y, p), abs=1e-6)
    assert measured["brier"] == pytest.approx(brier_score_loss(y, p), abs=1e-6)
    assert measured["log_loss"] == pytest.approx(log_loss(y, p), abs=1e-6)
    assert measured["accuracy"] == pytest.approx((served["label"] == frame["benign_malignant"]).mean())
    tn, fp, fn, tp = confusion_matrix(
        frame["benign_malignant"], served["label"], labels=["benign", "malignant"]
    ).ravel()
    counts = facts.chosen[0].confusion
    assert counts is not None and (counts.tp, counts.fp, counts.fn, counts.tn) == (tp, fp, fn, tn)
    assert facts.judging.num_units == frame["patient_id"].nunique() and facts.judging.unit == "patient"
    assert "ROC AUC" in found and (tmp_path / "out/report.html").read_text().startswith("<!doctype html>")


def test_the_ensembles_gain_is_its_metric_beside_the_mean_of_its_networks(model, other, tmp_path):
    evaluate(other, model, tmp_path / "out")
    rows, metrics, facts = read(tmp_path / "out")
    single = []
    for fold in range(len(model.payload["folds"])):
        predict_files(
            other, model_dir=model.root / "model", output=tmp_path / "one.csv", device="cpu", fold=fold,
            precision="fp32", num_cores=2, show_progress=False,
        )  # fmt: skip
        single.append(log_loss(rows["target"], pd.read_csv(tmp_path / "one.csv")["probability"].astype(float)))
    assert not isinstance(facts.gains, Missing)
    [found] = [one for one in facts.gains if one.what.startswith("ensemble of 2") and one.metric == "Log loss"]
    assert found.before.value == pytest.approx(np.mean(single), abs=1e-4)
    assert found.after.value == pytest.approx(metrics["overall"]["metrics"]["log_loss"])
    assert len(metrics["gains"]) == len(facts.gains)
    trained = Facts.read(model.root / "output/data/report.json").gains
    assert not isinstance(trained, Missing)
    [reason] = [one.after.why for one in trained if one.what == "ensemble of 2 networks"]
    assert "lesion evaluate" in reason


def test_it_stands_beside_the_training_report(model, other, tmp_path):
    found = evaluate(other, model, tmp_path / "out")
    _, metrics, facts = read(tmp_path / "out")
    trained = json.loads((model.root / "output/data/metrics.json").read_text())["overall"]
    comparison = facts.comparison
    assert comparison is not None and "cannot be known" in comparison.how
    for one in comparison.metrics:
        before, here = trained["metrics"][one.key], metrics["overall"]["metrics"][one.key]
        assert one.training.value == pytest.approx(before) and one.here.value == pytest.approx(here)
        assert one.difference.value == pytest.approx(here - before)
        assert list(one.training.interval or ()) == pytest.approx(trained["interval_95"][one.key])
        assert one.name in found
    assert (
        "training (out of fold)" in found and "Beside the training report" in (tmp_path / "out/report.html").read_text()
    )


def test_prediction_sets_are_the_models_and_verified_on_these_patients(model, other, tmp_path):
    evaluate(other, model, tmp_path / "out")
    rows, _, facts = read(tmp_path / "out")
    expected = sets_by_hand(rows["probability"].to_numpy(dtype=np.float64), model)
    agrees = np.array(rows["prediction_set"]) == np.array(expected)
    assert agrees.mean() > 0.95  # but for the last digits at a quantile
    is_in = [truth in classes.split("|") for truth, classes in zip(truth_of(rows), rows["prediction_set"], strict=True)]
    covered = pd.Series(is_in).groupby(rows["group"]).all().mean()
    assert not isinstance(facts.uncertainty, Missing)
    assert facts.uncertainty.coverage.value == pytest.approx(covered)
    assert facts.uncertainty.target_coverage == model.payload["prediction_sets"]["coverage"]


def test_at_another_prevalence_probabilities_are_judged_as_in_training_and_sets_are_made_as_they_were_fitted(
    other, tmp_path
):
    root = small_job(
        tmp_path / "job", frame=small_frame(20), metadata_columns="sex", epochs=2, deployment_prevalence=0.1
    )
    job = run(root)
    manifest = job.manifest
    manifest["payload"]["prediction_sets"]["quantiles"] = [0.3, 0.7]  # so that the answers lie on both sides
    (root / "model/manifest.json").write_text(json.dumps(manifest))
    evaluate(other, job, tmp_path / "out")
    rows, metrics, facts = read(tmp_path / "out")
    prob = rows["probability"].to_numpy(dtype=np.float64)
    y = rows["target"].to_numpy()
    assert facts.chosen[0].prevalence == 0.1
    odds = prob / (1 - prob) * (0.5 / 0.5) / (0.1 / 0.9)  # Bayes: back to the half of training's rows
    at_rows = odds / (1 + odds)
    assert facts.comparison is not None and "at the prevalence of the training rows" in facts.comparison.how
    here = {one.key: one.here.value for one in facts.comparison.metrics}
    assert here["brier"] == pytest.approx(brier_score_loss(y, at_rows), abs=1e-5)
    assert here["log_loss"] == pytest.approx(log_loss(y, at_rows), abs=1e-4)
    assert metrics["overall"]["metrics"]["brier"] == here["brier"]
    compared = read_run(tmp_path / "out")  # `lesion compare` says the same numbers
    assert compared.rows.prob_SQ[:, 0] == pytest.approx(at_rows, abs=1e-5) and compared.threshold == "as served"
    assert compared.rows.label_SQ[:, 0].tolist() == (rows["label"] == "malignant").tolist()
    notes = {metric.key: metric.note for metric in facts.metrics}
    for key in ("log_loss", "brier", "calibration_intercept", "ece"):
        assert "at the prevalence of the training rows" in notes[key]
    assert "as the endpoint answers" in facts.judging.how
    for case in facts.uncertain.cases:  # an image has the probability that is served
        assert case.prob == pytest.approx(prob[case.line - 2], abs=1e-6)
    agrees = np.array(rows["prediction_set"]) == np.array(sets_by_hand(at_rows, job))
    assert agrees.mean() > 0.95
    assert sets_by_hand(at_rows, job) != sets_by_hand(prob, job)
    assert prob.mean() < 0.25 < at_rows.mean()  # so the two differ
    of_training = Facts.read(root / "output/data/report.json")
    [point] = of_training.chosen
    assert point.prevalence == 0.1 and "10.0% are malignant, as the endpoint answers" in of_training.judging.how
    shown = [*of_training.mistakes.cases, *of_training.uncertain.cases]
    for case in shown:  # the page says what the endpoint would, and it agrees with the threshold beside it
        judged = job.oof["judged_probability"].iloc[case.line - 2]
        odds = judged / (1 - judged) * (0.1 / 0.9)
        assert case.prob == pytest.approx(odds / (1 + odds), abs=1e-5)
    assert len(shown) > 3 and of_training.curves.decision[0].y != of_training.curves.decision[1].y
    if not isinstance(of_training.curves.calibration, Missing):
        assert of_training.curves.calibration[0].note == "at the prevalence of these rows"


def sets_by_hand(prob: np.ndarray, job: Trained) -> list[str]:
    """lac (Sadinle et al. 2019): a class is in where 1 − p is at most its quantile, and the likeliest always."""
    names, quantiles = np.array(["benign", "malignant"]), job.payload["prediction_sets"]["quantiles"]
    probs_S2 = np.stack([1 - prob, prob], axis=1)
    is_in_S2 = (1 - probs_S2 <= quantiles) | (probs_S2 >= 0.5)
    return ["|".join(names[is_in]) for is_in in is_in_S2]


def truth_of(rows: pd.DataFrame) -> list[str]:
    return rows["target"].map({0: "benign", 1: "malignant"}).tolist()


def test_another_operating_point_makes_other_labels_and_does_not_compare_accuracy(model, other, tmp_path):
    evaluate(other, model, tmp_path / "out", operating_point="threshold=0")
    rows, metrics, facts = read(tmp_path / "out")
    assert set(rows["label"]) == {"malignant"} and metrics["overall"]["operating_point"] == "threshold=0"
    assert facts.chosen[0].sensitivity.value == 1 and facts.chosen[0].specificity.value == 0
    assert facts.comparison is not None
    accuracy = next(one for one in facts.comparison.metrics if one.key == "accuracy")
    assert accuracy.training.value is None and accuracy.difference.value is None


def test_other_columns_and_class_folders_say_the_same(model, other, tmp_path):
    frame = pd.read_csv(other / "train.csv")
    evaluate(other, model, tmp_path / "plain")
    renamed = frame.rename(columns={"target": "label_x", "patient_id": "who"}).drop(columns="benign_malignant")
    renamed["label_x"] = frame["benign_malignant"].str.upper()
    renamed.to_csv(other / "train.csv", index=False)
    evaluate(other, model, tmp_path / "named", target_column="label_x", group_column="who")
    for row in frame.to_dict("records"):
        folder = tmp_path / "folders" / row["benign_malignant"]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(other / "train_jpg" / f"{row['image_name']}.jpg", folder)
    evaluate(tmp_path / "folders", model, tmp_path / "as_folders")
    plain, named, folders = (read(tmp_path / name) for name in ("plain", "named", "as_folders"))
    assert plain[1]["overall"]["metrics"] == named[1]["overall"]["metrics"]
    assert plain[1]["overall"]["interval_95"] == named[1]["overall"]["interval_95"]
    assert folders[1]["overall"]["classes"] == plain[1]["overall"]["classes"]
    assert (
        folders[2].judging.unit == "image"
        and "no column names patients" in (tmp_path / "as_folders/report.html").read_text().lower()
    )


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        ({"target": None}, {}, "no labels.*target.*--set target_column=NAME"),
        ({"target": "", "benign_malignant": ""}, {}, "no labels"),
        ({"target": ["1", ""] * 16}, {}, "empty"),
        ({"target": ["naevus", "melanoma"] * 16, "benign_malignant": None}, {}, "naevus.*benign, malignant"),
        ({}, {"target_column": "diagnosis_x"}, "diagnosis_x"),
        ({}, {"group_column": "nobody"}, "nobody"),
        ({}, {"image_column": "nothing"}, "column 'nothing' not found"),
        ({}, {"epochs": "3"}, "epochs cannot be set.*target_column"),
    ],
)
def test_a_set_that_cannot_be_judged_is_refused_in_words(model, other, tmp_path, change, settings, said):
    frame = pd.read_csv(other / "train.csv")
    for name, value in change.items():
        frame = frame.drop(columns=name) if value is None else frame.assign(**{name: value})
    frame.to_csv(other / "train.csv", index=False)
    with pytest.raises(UserError, match=f"(?s){said}"):
        evaluate(other, model, tmp_path / "out", **settings)
    assert not (tmp_path / "out/report.html").exists()


def test_a_folder_whose_test_table_has_no_labels_is_refused_with_the_other_table_there(model, other, tmp_path):
    table = pd.read_csv(other / "train.csv")
    table.drop(columns=["target", "benign_malignant"]).to_csv(other / "test.csv", index=False)
    said = (
        r"no labels: column 'target'.*test\.csv\)\. If another table there has the labels \(train\.csv\), give its path"
    )
    with pytest.raises(UserError, match=said):
        evaluate(other, model, tmp_path / "out")
    evaluate(other / "train.csv", model, tmp_path / "out")


@pytest.mark.parametrize("kind", ["one class", "one patient", "one image", "no groups"])
def test_what_few_rows_do_not_define_has_its_reason(model, tmp_path, kind):
    frame = other_frame()
    frame = {
        "one class": frame[frame["target"] == 0],
        "one patient": frame.assign(patient_id="P"),
        "one image": frame.head(1),
        "no groups": frame.drop(columns="patient_id"),
    }[kind]
    write_channel(tmp_path / "other", frame.reset_index(drop=True))
    evaluate(tmp_path / "other", model, tmp_path / "out")
    rows, metrics, facts = read(tmp_path / "out")
    assert len(rows) == len(frame) == metrics["overall"]["num_rows"]
    assert facts.comparison is not None
    auc = next(one for one in facts.comparison.metrics if one.key == "roc_auc")
    if kind in ("one class", "one image"):
        assert auc.here.value is None and auc.here.why and auc.difference.value is None
        assert isinstance(facts.headline, Missing) and facts.chosen[0].sensitivity.value is None
    if kind == "one patient":
        assert auc.here.value is not None and auc.here.interval is None and auc.difference.interval is None
    if kind == "no groups":
        assert facts.judging.unit == "image" and auc.here.interval is not None
    else:
        assert facts.judging.warnings


def test_rows_that_on_uncertain_leaves_out_are_named_in_the_flow(model, other, tmp_path):
    frame = pd.read_csv(other / "train.csv").drop(columns="benign_malignant").astype({"target": str})
    frame.loc[[2, 5, 9], "target"] = "uncertain"
    frame.to_csv(other / "train.csv", index=False)
    evaluate(other, model, tmp_path / "out", on_uncertain="drop")
    _, _, facts = read(tmp_path / "out")
    assert [(step.change, step.left) for step in facts.data.flow] == [(32, 32), (-3, 29), (29, 29)]
    assert "on_uncertain=drop" in facts.data.flow[1].what
    job = run(
        small_job(tmp_path / "job", frame=frame.assign(image_name=frame["image_name"].str[2:]), on_uncertain="drop")
    )
    steps = Facts.read(job.root / "output/data/report.json").data.flow
    assert steps[0].left == 32 and (steps[1].change, steps[1].what) == (-3, facts.data.flow[1].what)


def test_a_picture_that_cannot_be_read_costs_itself_only(model, other, tmp_path):
    (other / "train_jpg/N_IMG_003_1.jpg").write_bytes(b"half a pic")
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:  # as SageMaker stores it
        tar.add(model.root / "model", arcname=".")
    ended = lesion(
        *("evaluate", other, "--model", tmp_path / "model.tar.gz", "--output", tmp_path / "out", "--precision", "fp32")
    )
    assert ended.returncode == 0 and "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    assert "training (out of fold)" in ended.stdout and "1 of 32 images could not" in ended.stdout + ended.stderr
    rows, metrics, facts = read(tmp_path / "out")
    bad = rows["image_name"] == "N_IMG_003_1"
    assert rows.loc[bad, "error"].str.contains("decoded").all() and rows.loc[~bad, "error"].eq("").all()
    assert rows.loc[bad, ["probability", "label"]].eq("").all(axis=None)
    assert metrics["unanswered"] == 1 and metrics["overall"]["num_rows"] == len(rows) - 1
    assert facts.data.flow[-1].left == len(rows) - 1
    for path in (other / "train_jpg").iterdir():
        path.write_bytes(b"half a pic")
    with pytest.raises(UserError, match="none of the 32 images can be answered"):
        evaluate(other, model, tmp_path / "out")


def test_a_multiclass_and_a_multilabel_model(tmp_path):
    frame = small_frame(12)
    kinds = np.array(["nevus", "melanoma", "keratosis"])[np.arange(len(frame)) % 3]
    jobs = {
        "multiclass": (frame.assign(target=kinds), {}),
        "multilabel": (
            frame.assign(red=np.arange(len(frame)) % 2, big=np.arange(len(frame)) % 3 % 2),
            {"target_column": "red,big"},
        ),
    }
    for name, (table, settings) in jobs.items():
        job = run(small_job(tmp_path / name, frame=table, metadata_columns="[]", **settings))
        evaluate(job.channel, job, tmp_path / f"{name}_out")
        rows, metrics, facts = read(tmp_path / f"{name}_out")
        if name == "multiclass":
            classes = metrics["question"]["classes"]
            probs = rows[[f"probability_{one}" for one in classes]].to_numpy()
            assert rows["target"].tolist() == kinds.tolist()
            expected = -np.log(probs[np.arange(len(kinds)), [classes.index(kind) for kind in kinds]]).mean()
            assert metrics["overall"]["metrics"]["log_loss"] == pytest.approx(expected, rel=1e-5)
            assert "roc_auc" not in metrics["overall"]["metrics"]  # eight of each class
            assert isinstance(facts.operating_points, Missing) and rows["prediction_set"].ne("").all()
        else:
            expected = roc_auc_score(table["red"], rows["probability_red"])  # of twelve; eight are big
            assert len(facts.chosen) == 2
            assert metrics["overall"]["metrics"]["roc_auc"] == pytest.approx(expected, abs=1e-6)
            assert metrics["overall"]["notes"]["roc_auc"].startswith("mean over 1 of 2 outputs")
            assert not isinstance(facts.headline, Missing)
            assert facts.headline.metric.number.value == pytest.approx(expected, abs=1e-6)  # one rule for both
            assert [curve.name for curve in facts.curves.roc] == ["red"]


def test_a_report_is_rebuilt_from_its_facts_alone(model, other, tmp_path):
    folder = model.root / "output/data"
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "report.json", alone)
    ended = lesion("report", alone)
    assert ended.returncode == 0, ended.stderr
    for name in ("report.html", "report.json", "model_card.md", "sagemaker_model_card.json"):
        assert (alone / name).read_bytes() == (folder / name).read_bytes()
    facts = json.loads((alone / "report.json").read_text())
    facts["statements"]["intended_use"] = "A second look at lesions that were sent to us."
    (alone / "report.json").write_text(json.dumps(facts))
    rebuild_report(alone / "report.json", output=tmp_path / "told")
    assert "A second look" in (tmp_path / "told/model_card.md").read_text()
    evaluate(other, model, tmp_path / "out")
    written = rebuild_report(tmp_path / "out", output=tmp_path / "again")
    assert sorted(path.name for path in written) == ["report.html", "report.json"]  # no card: nothing was trained
    assert (tmp_path / "again/report.html").read_bytes() == (tmp_path / "out/report.html").read_bytes()
    with pytest.raises(UserError, match=r"no report\.json"):
        rebuild_report(other)


def test_yes_and_no_are_the_models_classes_unless_the_positive_one_was_chosen(model, other, tmp_path):
    frame = pd.read_csv(other / "train.csv").drop(columns="benign_malignant")
    frame.to_csv(other / "train.csv", index=False)
    evaluate(other, model, tmp_path / "out")
    rows, _, _ = read(tmp_path / "out")
    assert rows["target"].tolist() == frame["target"].tolist()
    job = run(small_job(tmp_path / "job", metadata_columns="[]", positive_class="benign"))
    with pytest.raises(UserError, match="not certain that 1 stands for it"):
        evaluate(other, job, tmp_path / "chosen")


def test_a_picture_drawn_alone_in_a_class_folder_is_judged(model, tmp_path):
    draw_picture(tmp_path / "set/malignant/a.jpg", is_positive=True, seed=1)
    evaluate(tmp_path / "set", model, tmp_path / "out")
    rows, metrics, _ = read(tmp_path / "out")
    assert rows["target"].tolist() == [1] and metrics["overall"]["classes"] == {"benign": 0, "malignant": 1}


def test_a_model_is_not_inferior_to_itself_and_a_champion_without_an_evaluation_is_refused_first(
    model, other, tmp_path
):
    words = ("evaluate", other, "--model", model.root / "model", "--no-progress")
    refused = lesion(*words, "--output", tmp_path / "none", "--champion", tmp_path)
    assert refused.returncode == 2 and "no predictions of labelled images" in refused.stderr
    assert not (tmp_path / "none").exists()
    evaluate(other, model, tmp_path / "champion")
    done = lesion(*words, "--output", tmp_path / "again", "--champion", tmp_path / "champion")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "again" / "verdict.json").read_text())
    assert found["is_not_inferior"] is True and found["said"] in done.stdout
    _, metrics, _ = read(tmp_path / "again")
    assert found["roc_auc_low"] == metrics["overall"]["interval_95"]["roc_auc"][0]
