"""The tutorial of SageMaker, on an account that moto plays: its Python runs as it stands, and leaves no endpoint."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import boto3
from wire import ACCOUNT, REGION, account

from factories import draw_picture

PAGE = Path(__file__).parents[3] / "docs" / "tutorials" / "sagemaker.md"
OURS = {"ACCOUNT": ACCOUNT, "REGION": REGION, "BUCKET": "bucket", "ROLE": "lesion", "TAG": "0.1.0"}


def archive(name: str, content: bytes) -> bytes:
    """output.tar.gz with one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def test_its_python_trains_deploys_predicts_and_deletes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw_picture(tmp_path / "picture.jpg", is_positive=True, seed=0)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 4
    with account() as (wire, _):
        monkeypatch.setattr(boto3, "Session", lambda **_: wire.session)
        names: dict[str, Any] = {}
        for number, block in enumerate(blocks):
            text = re.sub("|".join(OURS), lambda found: OURS[found[0]], block)
            exec(compile(text, f"block {number} of {PAGE.name}", "exec"), names)
            if number == 0:  # what a container would have uploaded
                for uri in (names["run"].model, names["run"].results):
                    bucket, _, key = uri.removeprefix("s3://").partition("/")
                    wire.session.client("s3").put_object(Bucket=bucket, Key=key, Body=archive("metrics.json", b"{}"))
        assert wire.body("sagemaker.CreateTrainingJob")["EnableManagedSpotTraining"]
        assert wire.operations.count("sagemaker-runtime.InvokeEndpoint") == 1
        assert wire.session.client("sagemaker").list_endpoints()["Endpoints"] == []
        assert "sagemaker.CreateTransformJob" in wire.operations
    assert (tmp_path / "results" / "metrics.json").read_text() == "{}"
    assert "Prediction(probability=0.25" in capsys.readouterr().out
