"""Compare: two jobs' files, whatever order their rows are in; and what is no comparison is refused in words."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lesion.cli import main
from lesion.compare import compare_runs
from lesion.compared_runs import read_run
from lesion.errors import UserError


@pytest.fixture
def jobs(tmp_path):
    """Two jobs' folders with 120 images of 40 patients, the second's rows in another order; B is better."""
    rng = np.random.default_rng(0)
    names = [f"IMG_{row:03d}" for row in range(120)]
    target_S, noise_S = rng.integers(0, 2, 120), rng.normal(size=120)
    for job, gain, order in (("a", 0.6, np.arange(120)), ("b", 1.8, rng.permutation(120))):
        frame = pd.DataFrame(
            {
                "image_name": names,
                "group": np.char.add("P", (np.arange(120) // 3).astype(str)),
                "fold": np.arange(120) % 3,
                "target": target_S,
                "probability": expit(gain * (2 * target_S - 1) + noise_S),
            }
        )
        write(tmp_path / job, frame.iloc[order], threshold=0.5 if job == "a" else 0.6)
    return tmp_path / "a", tmp_path / "b"


def write(job, frame, threshold=0.5, unit="patient"):
    folder = job / "output" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "oof.csv", index=False)
    summary = {"question": {"positive_class": "melanoma"}, "unit": unit, "overall": {"thresholds": [threshold]}}
    (folder / "metrics.json").write_text(json.dumps(summary))


def read(job):
    return pd.read_csv(job / "output/data/oof.csv")


def test_jobs_of_anomaly_detection_are_refused_as_such(jobs):
    frame = read(jobs[0]).drop(columns="probability").assign(anomaly_score=0.5, is_anomalous=0)
    write(jobs[0], frame)
    with pytest.raises(UserError, match="scores of anomaly detection, whose jobs are not compared"):
        read_run(jobs[0])


def test_two_jobs_are_compared_image_by_image(jobs, tmp_path):
    output = tmp_path / "comparison.json"
    text = compare_runs(*jobs, margin=0.02, output=output)
    found = json.loads(output.read_text())
    a, b = (read(job).set_index("image_name").sort_index() for job in jobs)
    changed = a.index[(a["probability"] >= 0.5) != (b["probability"] >= 0.6)]
    assert [image["image"] for image in found["changed"]["images"]] == changed.tolist() and len(changed) > 10
    first, row = found["changed"]["images"][0], changed[0]
    assert first["target"] == (["melanoma"] if a["target"][row] else [])
    assert first["a"] == (["melanoma"] if a["probability"][row] >= 0.5 else [])
    assert first["probs_b"]["melanoma"] == pytest.approx(b["probability"][row], abs=1e-6)
    assert found["rows"] == 120 and found["groups"] == 40 and found["labels"] == {"a": "0.5", "b": "0.6"}
    area = found["measures"]["roc_auc"]["difference"]
    assert area["low"] > 0 and f"difference {area['value']:+.4f}" in text
    assert "B is better than A" in text and "DeLong's test of the areas: p = " in text
    assert f"{len(changed)} images changed sides" in text and f"and {len(changed) - 10} more" in text


def test_a_file_a_folder_of_results_and_a_job_are_the_same(jobs):
    a, b = jobs
    texts = {
        compare_runs(place, b, margin=0.02) for place in (a, a / "output", a / "output/data", a / "output/data/oof.csv")
    }
    assert len(texts) == 1


def test_repeats_of_an_image_are_averaged(jobs):
    a, b = jobs
    frame = read(a)
    twice = pd.concat(
        [
            frame.assign(probability=frame["probability"] * share, fold=frame["fold"] + 3 * repeat)
            for repeat, share in enumerate((0.9, 1.1))
        ]
    )
    write(a, twice.assign(probability=twice["probability"].clip(0, 1)))
    before = compare_runs(b, b, margin=0.02)
    assert "0 images changed sides" in before and "nothing to test" in before
    mean = twice.assign(probability=twice["probability"].clip(0, 1)).groupby("image_name", as_index=False).agg(
        {"group": "first", "fold": "first", "target": "first", "probability": "mean"}
    )  # fmt: skip
    of_repeats = compare_runs(a, b, margin=0.02)
    write(a, mean)
    assert compare_runs(a, b, margin=0.02) == of_repeats


@pytest.mark.parametrize("fine", ["a", "b"])
def test_the_coarser_groups_are_used_and_said(jobs, tmp_path, fine):
    """One job by patient, the other by image: as if both were by patient."""
    output = tmp_path / "comparison.json"
    compare_runs(*jobs, margin=0.02, output=output)
    by_patient = json.loads(output.read_text())
    job, other = (jobs[0], "B") if fine == "a" else (jobs[1], "A")
    write(job, read(job).assign(group=read(job)["image_name"]), 0.5 if fine == "a" else 0.6, unit="image")
    text = compare_runs(*jobs, margin=0.02, output=output)
    found = json.loads(output.read_text())
    assert by_patient["grouping"] == "" and found["grouping"] in text
    assert f"Intervals are by those of {other} (patient): each of {fine.upper()} lies within one" in found["grouping"]
    assert f"which flatters {fine.upper()}" in found["grouping"] and "120 images of 40 patients" in text
    assert {**found, "grouping": ""} == by_patient


def test_the_same_groups_by_other_names_are_the_same(jobs):
    before = compare_runs(*jobs, margin=0.02)
    write(jobs[1], read(jobs[1]).assign(group="x" + read(jobs[1])["group"]), threshold=0.6)
    assert compare_runs(*jobs, margin=0.02) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.iloc[:-2], r"different images: 2 images only in A \(IMG_118, IMG_119\); 118 in both"),
        (lambda frame: frame.assign(target=1 - frame["target"]), "120 images with different targets: IMG_000"),
        (lambda frame: frame.assign(probability="high"), "not numbers: could not convert"),
        (lambda frame: frame.assign(probability=1.5), "probability not in 0 to 1"),
        (lambda frame: frame.drop(columns="target"), "it needs an image column, group, target and probability"),
        (lambda frame: frame.drop(columns="probability"), "it needs an image column, group, target and probability"),
        (lambda frame: frame.rename(columns={"probability": "probability_x"}), "targets without a probability: 0, 1"),
        (lambda frame: pd.concat([frame, frame.assign(target=0)]), "an image has several targets"),
        (lambda frame: pd.concat([frame, frame.assign(group="x", fold=9)]), "an image has several groups: IMG_000"),
        (
            lambda frame: pd.concat([frame, frame[:2], frame[1:2].assign(probability=0.1)]),
            "2 images in more than one row of a fold: IMG_000, IMG_001",
        ),
        (
            lambda frame: pd.concat([frame, frame[:1]]).drop(columns="fold"),
            r"1 image in more than one row: IMG_000 \(.*b/output/data/oof.csv\)",
        ),
        (
            lambda frame: frame.assign(group=[f"Q{(row + 1) // 3}" for row in range(120)]),
            r"groups of A \(patient\) and of B \(visit\) cross.*: A's P0 has images of Q0, Q1; B's Q1 has images",
        ),
    ],
)
def test_what_is_no_comparison_is_refused_in_words(jobs, change, message):
    a, b = jobs
    frame = read(a).sort_values("image_name")
    write(a, frame)
    write(b, change(frame), unit="visit")
    with pytest.raises(UserError, match=message):
        compare_runs(a, b, margin=0.02)


def test_a_folder_without_predictions_is_refused(jobs, tmp_path):
    with pytest.raises(UserError, match=r"no predictions of labelled images .*nowhere"):
        compare_runs(jobs[0], tmp_path / "nowhere", margin=0.02)


def test_several_classes_and_several_labels(jobs, tmp_path):
    rng = np.random.default_rng(0)
    frame = read(jobs[0])[["image_name", "group", "fold"]]
    words = np.array(["nevus", "melanoma", "wart"])
    probs = rng.dirichlet([1, 1, 1], 120)
    columns = {f"probability_{word}": probs[:, k] for k, word in enumerate(words)}
    classes = frame.assign(target=words[rng.integers(0, 3, 120)], **columns)
    labels = frame.assign(**{f"target_{word}": rng.integers(0, 2, 120) for word in words}, **columns)
    for job, table in (("classes", classes), ("labels", labels)):
        write(tmp_path / job, table)
        text = compare_runs(tmp_path / job, tmp_path / job, margin=0.02)
        assert "0 images changed sides" in text and "wart" in text and "DeLong" not in text
    with pytest.raises(UserError, match="other questions"):
        compare_runs(tmp_path / "classes", jobs[0], margin=0.02)


def test_without_metrics_json_the_threshold_is_a_half_and_said(jobs):
    (jobs[0] / "output/data/metrics.json").unlink()
    with pytest.raises(UserError, match=r"other questions: \(positive\) and \(melanoma\)"):
        compare_runs(*jobs, margin=0.02)
    (jobs[1] / "output/data/metrics.json").unlink()
    assert "threshold 0.5: no metrics.json with thresholds lies beside it" in compare_runs(*jobs, margin=0.02)


def test_the_command_prints_and_ends_with_2_for_a_mistake(jobs, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(jobs[0]), str(jobs[1]), "--margin", "0.05"])
    assert ended.value.code == 0 and "B is better than A" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(jobs[0]), "nowhere"])
    assert ended.value.code == 2 and "no predictions of labelled images (nowhere)" in capsys.readouterr().err
