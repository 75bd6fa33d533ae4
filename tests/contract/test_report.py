"""Report: a job's page tells what its tables hold, names nobody unless asked, and follows from report.json."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import Trained, draw_weights, run, small_frame, small_job

from factories import draw_picture, write_channel
from lesion.report.documents import documents
from lesion.report.facts import Facts
from lesion.report.sections import Cases, LeakCheck, Missing

FILES = ("report.html", "report.json", "model_card.md", "sagemaker_model_card.json")


def facts_of(job: Trained) -> Facts:
    return Facts.read(job.root / "output/data/report.json")


def leaky_frame() -> pd.DataFrame:
    """Six patients, and findings of most kinds: a patient in the test set too, empty cells, words that contradict."""
    frame = small_frame(8)
    frame["sex"] = np.where(frame.index == 3, "female", frame["sex"])  # another one within a patient
    return frame


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Trained:
    """Repeated folds, a test set that shares a patient, a copy of an image, one that cannot be read, a stray one."""
    root = small_job(
        tmp_path_factory.mktemp("report"),
        frame=leaky_frame(),
        repeats=2,
        on_leak="drop",
        on_bad_image="drop",
        pretrained=True,
    )
    (root / "input/data/pretrained").mkdir()
    draw_weights(root / "input/data/pretrained/given.safetensors")
    channel = root / "input/data/training"
    test = small_frame(3).assign(image_name=lambda frame: "TEST_" + frame["image_name"])
    test["patient_id"] = np.where(test["patient_id"] == "P000", "P000", "T" + test["patient_id"])
    write_channel(channel, test, csv_name="test.csv", image_dir="test_jpg")
    names = sorted(path.name for path in (channel / "train_jpg").iterdir())
    shutil.copy(channel / "train_jpg" / names[4], channel / "train_jpg" / names[9])
    (channel / "train_jpg" / names[7]).write_bytes(b"no image")
    draw_picture(channel / "train_jpg" / "STRAY_001.jpg", is_positive=True, seed=77)
    return run(root)


def test_the_four_files_are_there_and_follow_from_report_json(job):
    folder = job.root / "output/data"
    made = documents(facts_of(job))
    assert set(made) == set(FILES)
    for name, text in made.items():
        assert (folder / name).read_text() == text, name


def test_the_pretrained_weights_are_told_by_their_digest(job):
    content = (job.root / "input/data/pretrained/given.safetensors").read_bytes()
    known = {"file": "given.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    folder = job.root / "output/data"
    assert json.loads((folder / "metrics.json").read_text())["pretrained_weights"] == known
    assert job.manifest["metrics"]["pretrained_weights"] == known
    assert known["sha256"] in (folder / "report.json").read_text()
    assert f"given.safetensors, SHA-256 <code>{known['sha256'][:12]}…</code>" in (folder / "report.html").read_text()


def test_nobody_is_named(job):
    table = pd.read_csv(job.channel / "train.csv", dtype=str)
    names = {*table["image_name"], *table["patient_id"], "STRAY_001", "TEST_IMG", str(job.root)}
    for name in FILES:
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", (job.root / "output/data" / name).read_text())
        assert [one for one in names if one in text] == [], name
    check = (job.root / "output/data/check.json").read_text()
    assert sum(one in check for one in names) > 5  # they were there to be named


def test_a_case_is_found_by_its_line_of_oof_csv(job):
    facts, lines = facts_of(job), (job.root / "output/data/oof.csv").read_text().splitlines()
    header, shown = lines[0].split(","), []
    for section in (facts.mistakes, facts.uncertain, facts.label_errors):
        shown += list(section.cases) if isinstance(section, Cases) else []
    assert len(shown) > 4
    for case in shown:
        row = dict(zip(header, lines[case.line - 1].split(","), strict=True))
        assert case.truth == {"0": "benign", "1": "malignant"}[row["target"]]
        both = job.oof[job.oof["image_name"] == row["image_name"]]["judged_probability"]
        assert len(both) == 2 and case.prob == pytest.approx(both.mean(), abs=1e-6)  # repeats=2
        assert case.name is None and case.picture.startswith("data:image/jpeg;base64,")


def test_the_flow_ends_at_the_rows_that_are_judged(job):
    facts = facts_of(job)
    flow, table = facts.data.flow, pd.read_csv(job.channel / "train.csv")
    assert flow[0].left == len(table) and flow[-1].left == job.oof["image_name"].nunique() == facts.judging.num_rows
    assert flow[0].left + sum(step.change for step in flow if step.change < 0) == flow[-1].left
    assert facts.judging.unit == "patient" and facts.judging.num_units == job.oof["group"].nunique()


def test_the_check_and_the_test_set_are_part_of_it(job):
    facts = facts_of(job)
    assert isinstance(facts.leaks, LeakCheck)
    assert {"group_in_test"} <= {finding.name for finding in facts.leaks.leaks}
    assert {"unreadable_image", "pictures_without_row"} <= {finding.name for finding in facts.leaks.others}
    [test] = facts.sets
    assert test.name == "Test set" and test.num_rows == 6


def test_five_positives_have_no_auc_and_the_reason_stands_where_it_would_be(job):
    facts = facts_of(job)
    assert isinstance(facts.headline, Missing) and facts.headline.why.startswith("Too few positives (5) and")
    assert "roc_auc" not in job.manifest["metrics"]["overall"]["interval_95"]
    known = {metric.key: metric.number for metric in facts.metrics}
    assert known["roc_auc"].value is None and known["log_loss"].value == pytest.approx(
        job.manifest["metrics"]["overall"]["metrics"]["log_loss"]
    )


def test_the_threshold_does_to_the_rows_what_is_told(job):
    facts, oof = facts_of(job), job.oof.groupby("image_name")[["target", "judged_positive"]].first()
    [point] = facts.chosen
    says, ill = oof["judged_positive"] == 1, oof["target"] == 1
    assert point.confusion is not None and point.sensitivity.value == pytest.approx((says & ill).sum() / ill.sum())
    assert (point.confusion.tp, point.confusion.fp) == ((says & ill).sum(), (says & ~ill).sum())
    assert point.prevalence == pytest.approx(ill.mean())


def test_names_stand_in_the_report_if_they_are_asked_for(tmp_path):
    job = run(small_job(tmp_path, report_names=True))
    facts = facts_of(job)
    case = (facts.mistakes if isinstance(facts.mistakes, Cases) else facts.uncertain).cases[0]
    assert facts.names_are_shown and case.name == job.oof["image_name"].iloc[case.line - 2]
    page = (job.root / "output/data/report.html").read_text()
    assert case.name in page
    shown = [*getattr(facts.mistakes, "cases", ()), *getattr(facts.uncertain, "cases", ())]
    for case in shown:  # each agrees with the threshold beside it, which other patients chose
        assert (case.prob >= case.threshold) == (case.answer == "malignant")
    [point] = facts.chosen
    low, high = point.judged_at
    assert shown and all(low <= case.threshold <= high for case in shown)
    assert point.judged in page.split("On whom?")[0] and "<th>measured at</th>" in page


def test_images_without_a_label_are_ranked_by_what_their_label_would_teach(tmp_path):
    job = run(small_job(tmp_path, has_test=True))
    facts = facts_of(job)
    assert isinstance(facts.label_next, Cases) and facts.sets == ()
    [point] = facts.chosen
    told = (job.root / "output/data/submission.csv").read_text().splitlines()
    far = []
    for case in facts.label_next.cases:
        assert case.truth is None and case.file == "submission.csv" and case.name is None
        assert float(told[case.line - 1].split(",")[1]) == pytest.approx(case.prob, abs=1e-6)
        far.append(abs(case.prob - point.threshold))
    assert len(far) == 3 and far == sorted(far)  # five images of three patients


def test_a_validation_set_makes_a_report_without_folds(tmp_path):
    root = small_job(tmp_path)
    valid = small_frame(3).assign(
        image_name=lambda frame: "VALID_" + frame["image_name"], patient_id=lambda frame: "V" + frame["patient_id"]
    )
    write_channel(root / "input/data/validation", valid, csv_name="validation.csv", image_dir="validation_jpg")
    facts = facts_of(run(root))
    assert isinstance(facts.folds, Missing) and facts.judging.how.startswith("One network")
    assert facts.judging.num_rows == 6 and facts.data.flow[-1].left == 6
    assert sum(facts.judging.classes.values()) == 6  # of the validation set, not of all


def test_a_report_that_cannot_be_made_costs_nothing_else(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lesion.algorithms.classify.report.reporter.facts_of_job", _broken)
    job = run(small_job(tmp_path))
    assert "the report cannot be drawn; all other results are written" in caplog.text
    assert len(job.oof) == 12 and not (Path(job.root) / "output/data/report.html").exists()


def _broken(*_: object, **__: object) -> Facts:
    raise MemoryError
