"""Drift: files of data capture, drifted and not, corrupt, empty and of other models, to violations and a page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captures import body, draw_scores, line, skin_png, write_captures
from lesion.algorithms.classify.reference import load_reference
from lesion.drift.compared import compare
from lesion.drift.gathered import Gathered
from lesion.drift.job import MonitoringJob
from lesion.drift.run import find_drift
from lesion.errors import UserError

CHECKS = {"data_type_check", "completeness_check", "baseline_drift_check", "missing_column_check",
          "extra_column_check", "categorical_values_check"}  # fmt: skip
THRESHOLD = 0.024179697036743164  # the golden artifact's


@dataclass
class Result:
    violations: list[dict[str, str]]
    statistics: dict[str, Any]
    page: str
    verdict: str
    message: str

    @property
    def drifted(self) -> set[str]:
        return {
            one["feature_name"] for one in self.violations if one["constraint_check_type"] == "baseline_drift_check"
        }


def answer(score: float, **more: object) -> dict[str, Any]:
    label = "melanoma" if score >= THRESHOLD else "not melanoma"
    told = {"probability": float(f"{score:.9g}"), "label": label, "familiarity": 0.5, **more}
    return {"predictions": [told]}


def usual(num: int = 120, *, seed: int = 1000, **answered: object) -> list[str]:
    """Captures of images and answers like those of training."""
    scores = draw_scores(np.random.default_rng(seed), num).tolist()
    return [line(answer(score, **answered), skin_png(seed + n), event=n) for n, score in enumerate(scores)]


def find(tmp_path: Path, model: Path, lines: Sequence[str], **job: Any) -> Result:
    captured, output = tmp_path / "captured", tmp_path / "output"
    captured.mkdir(exist_ok=True)
    write_captures(captured, lines)
    verdict, message = find_drift(
        MonitoringJob(captured, model, output, **job), alpha=0.01, operating_point=None, num_cores=2
    )
    violations = json.loads((output / "constraint_violations.json").read_text())["violations"]
    assert all(set(one) == {"feature_name", "constraint_check_type", "description"} for one in violations)
    assert all(one["constraint_check_type"] in CHECKS for one in violations)
    statistics = json.loads((output / "statistics.json").read_text())
    return Result(violations, statistics, (output / "drift.html").read_text(), verdict, message)


def test_requests_like_those_of_training_are_no_violation(tmp_path, model):
    found = find(tmp_path, model, usual())
    assert found.violations == []
    assert found.message == "Completed: Job completed successfully with no violations."
    assert "No drift in 17 comparisons." in found.verdict and found.verdict in found.page


def test_other_scores_are_found_and_the_images_are_left_in_peace(tmp_path, model):
    scores = np.random.default_rng(2).beta(6, 4, 120).tolist()
    found = find(tmp_path, model, [line(answer(score), skin_png(2000 + n)) for n, score in enumerate(scores)])
    assert found.drifted == {"probability"}
    assert found.message == "CompletedWithViolations: Job completed successfully with 1 violations."
    assert "probability of melanoma" in found.verdict and "The answers differ" in found.page
    [violation] = found.violations
    assert "median" in violation["description"] and "Wasserstein" in violation["description"]


def test_darker_images_are_found_and_the_scores_are_left_in_peace(tmp_path, model):
    scores = draw_scores(np.random.default_rng(3), 120).tolist()
    lines = [line(answer(score), skin_png(3000 + n, factor=0.8)) for n, score in enumerate(scores)]
    found = find(tmp_path, model, lines)
    assert "brightness" in found.drifted and "probability" not in found.drifted
    assert "The images differ" in found.page and "The answers differ" not in found.page


def test_more_unfamiliar_images_and_more_refusals_are_found(tmp_path, model):
    lines = usual(90) + usual(15, seed=5000, familiarity=0.001)
    refused = {"predictions": [{"error": {"kind": "low_quality", "message": "blurred"}}]}
    found = find(tmp_path, model, lines + [line(refused)] * 15)
    assert found.drifted == {"unfamiliar", "refused"}
    assert "low_quality 15" in found.page


@pytest.mark.parametrize("score_drifts", [False, True])
def test_a_share_of_positive_answers_is_that_of_the_operating_point(model, score_drifts):
    """At a threshold that a tenth of training's scores reach, from a sample where half do."""
    scores = draw_scores(np.random.default_rng(0), 1000)
    point = f"threshold={np.quantile(scores, 0.9):.6f}"
    reference = load_reference(model, operating_point=point)
    assert reference.shares["answered_melanoma"] == (100, 1000)
    found = Gathered()
    for score in scores[scores > np.median(scores)] if score_drifts else scores:
        found.add(*(of.items() for of in reference.read_answer(float(score))))
    [share] = [one for one in compare(found, reference) if one.name == "answered_melanoma"]
    assert share.is_drift == score_drifts and share.now == (100, 500 if score_drifts else 1000)


def test_too_few_rows_are_said_and_are_no_violation(tmp_path, model):
    lines = [line(answer(0.99), skin_png(n, factor=0.5)) for n in range(49)]
    found = find(tmp_path, model, lines)
    assert found.violations == [] and "49 captured, 50 are needed" in found.page
    assert found.verdict.startswith("Nothing was compared")
    assert found.message == f"Completed: Job completed successfully with no violations. {found.verdict}"


@pytest.mark.parametrize("num_before", [0, 3])
def test_a_time_of_which_nothing_was_captured_does_not_look_like_one_without_drift(tmp_path, model, num_before):
    """The platform's own monitor fails where a period has no data."""
    tomorrow = datetime(2036, 1, 1, tzinfo=UTC)
    found = find(tmp_path, model, usual(num_before), period=(tomorrow, None))
    [violation] = found.violations
    assert violation["feature_name"] == "requests" and violation["constraint_check_type"] == "completeness_check"
    assert "no request was captured, so nothing was looked at" in violation["description"]
    assert ("3 lie outside of the period" in violation["description"]) == (num_before == 3)
    assert violation["description"] in found.page
    assert found.verdict.startswith("No requests were captured") and found.verdict in found.page
    assert found.message == f"CompletedWithViolations: Job completed successfully with 1 violations. {found.verdict}"
    assert found.statistics == {"version": 0, "dataset": {"item_count": 0}, "features": []}


def test_some_corrupt_lines_are_told_and_many_are_a_violation(tmp_path, model):
    corrupt = [
        "{",
        '{"captureData": []}',
        "null",
        '{"captureData": {"endpointOutput": {"data": "%", "encoding": "BASE64"}}}',
    ]
    found = find(tmp_path, model, usual() + corrupt)
    assert found.violations == [] and "4 lines that are not data capture" in found.page
    assert "not JSON" in found.page and "a body is not base64" in found.page
    found = find(tmp_path, model, usual() + corrupt * 3)
    [violation] = found.violations
    assert violation["constraint_check_type"] == "completeness_check" and "12 of 132 lines" in violation["description"]


def test_files_of_another_kind_are_refused(tmp_path, model):
    with pytest.raises(UserError, match="none of 2 lines is data capture"):
        find(tmp_path, model, ['{"probability": 0.5}', "0.5"])
    with pytest.raises(UserError, match="not found"):
        find_drift(
            MonitoringJob(tmp_path / "absent", model, tmp_path / "output"),
            alpha=0.01,
            operating_point=None,
            num_cores=1,
        )


@pytest.mark.parametrize(
    ("foreign", "why"),
    [
        ({"predictions": [{"probabilities": {"cat": 0.5, "dog": 0.5}, "label": "dog"}]}, "its label is dog"),
        ({"predictions": [{"probability": 0.5, "label": "melanoma"}], "model": "0123456789ab"}, "model 0123456789ab"),
        ({"predictions": [{"anomaly_score": 0.5, "is_anomalous": False}]}, "it holds no probability"),
        ({"predictions": [{"probability": 1.5, "label": "melanoma"}]}, "probabilities are not"),
        ({"predictions": [{"probability": 0.5, "label": ["melanoma"]}]}, "its label is ['melanoma']"),
        ({"predictions": [{"probability": 0.5, "labels": [{}]}]}, "its label is {}"),
        ({"predictions": [{"probability": 10**400, "label": "melanoma"}]}, "probabilities are not"),
        pytest.param(10**400, "probabilities are not", id="an integer of 401 digits"),
    ],
)
def test_answers_of_another_model_are_a_violation_and_are_not_compared(tmp_path, model, foreign, why):
    found = find(tmp_path, model, usual() + [line(foreign)] * 60)
    [violation] = found.violations
    assert violation["constraint_check_type"] == "categorical_values_check"
    assert "60 of 180 answers" in violation["description"] and why in violation["description"]
    [scores] = [one for one in found.statistics["features"] if one["name"] == "probability"]
    assert scores["numerical_statistics"]["common"]["num_present"] == 120


@pytest.mark.parametrize(
    ("told", "media_type", "encoding"),
    [
        ("0.25", "application/json", "JSON"),
        ("0.25", "application/json", "BASE64"),
        ('{"predictions": [{"probability": 0.25, "label": "melanoma"}]}', "application/json", "JSON"),
        ('{"probability": 0.25, "label": "melanoma", "familiarity": 0.3}', "application/json; charset=utf-8", "JSON"),
        ('{"prediction": [0.5, 0.25, 0.25]}', "application/jsonlines", "BASE64"),
        ("0.25,melanoma", "text/csv", "CSV"),
        ("0.25,melanoma\nERROR,low_quality", "text/csv", "CSV"),
    ],
)
def test_every_form_of_answer_is_read(tmp_path, model, told, media_type, encoding):
    found = find(tmp_path, model, [line(told, answer_type=media_type, encoding=encoding)])
    scores = {one["name"]: one["numerical_statistics"] for one in found.statistics["features"]}
    assert scores["probability"]["mean"] == 0.25 and scores["answered_melanoma"]["mean"] == 1
    assert scores["refused"]["mean"] == (0.5 if "ERROR" in told else 0)


def test_every_image_of_a_request_is_measured_whatever_the_requests_form(tmp_path, model):
    encoded = body(skin_png(1), "", "BASE64", "")["data"]
    requests = {
        "application/json": json.dumps({"instances": [{"image": encoded}, {"image": encoded, "sex": "male"}]}),
        "application/jsonlines": "\n".join([json.dumps({"image": encoded})] * 2),
        "text/csv": f"{encoded},male\n{encoded},female",
    }
    lines = [line(answer(0.2), text.encode(), request_type=of) for of, text in requests.items()]
    found = find(tmp_path, model, lines)
    sizes = [one["numerical_statistics"] for one in found.statistics["features"] if one["name"] == "short_side_px"]
    assert sizes[0]["common"]["num_present"] == 6 and sizes[0]["mean"] == 64


def test_requests_and_images_that_cannot_be_read_are_told(tmp_path, model):
    lines = [*usual(60), line(answer(0.1), b"no image"), line(answer(0.1), b"{}", request_type="application/json")]
    lines.append(line("<html>", skin_png(1)))
    lines.append(line('0.25,"melanoma', answer_type="text/csv"))
    lines.append(line({"probability": 0.1, "label": "melanoma", "familiarity": 10**400}))  # read, without it
    found = find(tmp_path, model, lines)
    for told in ("1 images that cannot be read", "1 requests that cannot be read", "2 answers that cannot be read"):
        assert told in found.page


def test_only_the_period_counts(tmp_path, model):
    early = [line(answer(0.9), time="2026-11-30T09:59:59Z")] * 60
    period = datetime(2026, 11, 30, 10, tzinfo=UTC), datetime(2026, 11, 30, 11, tzinfo=UTC)
    found = find(tmp_path, model, usual() + early, period=period)
    assert found.violations == [] and "60 requests lie outside of the period" in found.page


def test_an_old_artifact_says_what_cannot_be_compared(tmp_path, old_model):
    found = find(tmp_path, old_model, usual(60))
    assert found.violations == []
    for told in ("no scores and no image statistics", "no image gate", "no familiarity score"):
        assert told in found.page


def test_statistics_are_those_of_numpy(tmp_path, model):
    found = find(tmp_path, model, [line(answer(score)) for score in (0.1, 0.2, 0.6)])
    [scores] = [one["numerical_statistics"] for one in found.statistics["features"] if one["name"] == "probability"]
    for name, value in {"mean": 0.3, "sum": 0.9, "std_dev": 0.2160247, "min": 0.1, "max": 0.6}.items():
        assert scores[name] == pytest.approx(value, abs=1e-6), name
    buckets = scores["distribution"]["kll"]["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == 3
    assert all(set(bucket) == {"lower_bound", "upper_bound", "count"} for bucket in buckets)


def test_metrics_for_cloudwatch_are_written_where_they_are_published(tmp_path, model):
    dimensions = {"Endpoint": "moles", "MonitoringSchedule": "hourly"}
    find(tmp_path, model, usual(60), metrics_folder=tmp_path / "metrics", dimensions=dimensions)
    rows = [json.loads(text) for text in (tmp_path / "metrics" / "cloudwatch_metrics.jsonl").read_text().splitlines()]
    values = {row["MetricName"]: row["Value"] for row in rows}
    assert values["drift_violations"] == 0 and values["drift_probability"] >= 0
    assert rows[0]["Dimensions"] == [{"Name": name, "Value": value} for name, value in dimensions.items()]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", rows[0]["Timestamp"])


def test_a_users_words_are_escaped_in_the_page(tmp_path, model):
    foreign = {"predictions": [{"probability": 0.5, "label": "<script>alert(1)</script>"}]}
    page = find(tmp_path, model, [line(foreign)]).page
    assert "<script" not in page and "&lt;script&gt;" in page


def test_reports_without_drift_are_false_alarms_no_more_often_than_stated(model):
    """120 reports of four values, 80 images each, drawn as training was: at most 5 % may have a p below .05 (99.9 % of
    such binomial counts are below 15), and not none, else nothing would be found."""
    reference = load_reference(model, operating_point=None)
    rng, num_alarms = np.random.default_rng(7), 0
    training = {name: rng.normal(size=1000).astype(np.float32) for name in ("probability", "blur", "hair", "ink")}
    drawn = replace(reference, values=training, shares={})
    for _ in range(120):
        found = Gathered(values={name: rng.normal(size=80).tolist() for name in training})
        num_alarms += any(one.corrected_p < 0.05 for one in compare(found, drawn))
    assert 1 <= num_alarms < 15
