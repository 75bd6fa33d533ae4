"""SageMaker monitoring: the variables and files of Model Monitor's contract for containers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lesion.errors import UserError
from lesion.sagemaker_monitoring import is_monitoring, read_monitoring_job, write_exit_message

# AWS's own example, spaces and all: model-monitor-byoc-contract-inputs.html
PLATFORM = {
    "dataset_format": '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput","endpointOutput"]}}',
    "dataset_source": "/opt/ml/processing/endpointdata",
    "end_time": "2019-12-01T16: 20: 00Z",
    "output_path": "/opt/ml/processing/resultdata",
    "publish_cloudwatch_metrics": "Disabled",
    "sagemaker_endpoint_name": "endpoint-name",
    "sagemaker_monitoring_schedule_name": "schedule-name",
    "start_time": "2019-12-01T15: 20: 00Z",
    "baseline_statistics": "/opt/ml/processing/baseline/stats/model.tar.gz",
}


def read(environ: dict[str, str], root: Path, **given: Path | None):
    return read_monitoring_job(**{"captured": None, "model": None, "output": None, **given}, environ=environ, root=root)


def test_a_schedules_variables_are_the_job(tmp_path):
    job = read(PLATFORM, tmp_path)
    assert (str(job.captured), str(job.output)) == (PLATFORM["dataset_source"], PLATFORM["output_path"])
    assert str(job.model) == PLATFORM["baseline_statistics"]
    assert job.period == (datetime(2019, 12, 1, 15, 20, tzinfo=UTC), datetime(2019, 12, 1, 16, 20, tzinfo=UTC))
    assert job.metrics_folder is None
    assert is_monitoring(PLATFORM) and not is_monitoring({})


def test_metrics_go_where_the_platform_picks_them_up(tmp_path):
    job = read({**PLATFORM, "publish_cloudwatch_metrics": "Enabled"}, tmp_path)
    assert job.metrics_folder == tmp_path / "output" / "metrics" / "cloudwatch"
    assert job.dimensions == {"Endpoint": "endpoint-name", "MonitoringSchedule": "schedule-name"}


def test_an_artifact_that_is_an_input_of_its_own_goes_first_and_what_is_given_before_all(tmp_path):
    (tmp_path / "processing" / "model").mkdir(parents=True)
    assert read(PLATFORM, tmp_path).model == tmp_path / "processing" / "model"
    assert read(PLATFORM, tmp_path, model=tmp_path).model == tmp_path


def test_all_that_is_missing_is_said_at_once(tmp_path):
    with pytest.raises(UserError, match=r"missing: captured data .*, an artifact .*, an output folder"):
        read({}, tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"), [("dataset_format", '{"csv": {"header": true}}'), ("start_time", "yesterday")]
)
def test_what_cannot_be_monitored_is_refused_by_its_name(tmp_path, variable, value):
    with pytest.raises(UserError, match=variable):
        read({**PLATFORM, variable: value}, tmp_path)


def test_the_exit_message_is_utf8_of_a_kilobyte(tmp_path):
    write_exit_message("Failed: " + "ä" * 600, root=tmp_path)
    content = (tmp_path / "output" / "message").read_bytes()
    assert len(content) <= 1024 and content.decode().startswith("Failed: ää")
