"""Root folder: a folder that is given where --root is meant is answered by what to type."""

from __future__ import annotations

import pytest

from lesion.commands.parser import parse


@pytest.fixture
def job(tmp_path):
    (tmp_path / "my job" / "input" / "data" / "training").mkdir(parents=True)
    (tmp_path / "my job" / "model").mkdir()
    (tmp_path / "my job" / "model" / "manifest.json").write_text("{}")
    (tmp_path / "data").mkdir()
    return tmp_path / "my job"


def said(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        parse([str(one) for one in arguments])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "serve"])
@pytest.mark.parametrize("options", [[], ["--root", "elsewhere"], ["--no-progress"], ["--no-page"]])
def test_a_jobs_folder_without_root_is_answered_by_the_command(capsys, job, command, options):
    if options[:1] == [{"train": "--no-page", "serve": "--no-progress"}[command]]:
        pytest.skip("the other command's option")
    for arguments in ([job, *options], [*options, job]):
        assert f"type lesion {command} --root '{job}'\n" in said(capsys, command, *arguments)


def test_what_is_no_jobs_folder_is_told_from_one(capsys, job):
    data = job.parent / "data"
    text = said(capsys, "train", data)
    assert f"type lesion train --root {data}, where {data} is a job's folder, with the data set in" in text
    assert f"lesion check {data} takes a data set itself" in text
    assert "with the model in model/" in said(capsys, "serve", data)
    assert f"type lesion serve --root '{job}'\n" in said(capsys, "serve", job / "model")
    (job / "model").rename(job / "best")
    assert "holds the model as model/" in said(capsys, "serve", job / "best")


@pytest.mark.parametrize("arguments", [["train", "--rot", "x"], ["describe", "recipes", "x"], ["serve", "--folder"]])
def test_other_arguments_that_there_are_not_are_still_refused(capsys, arguments):
    assert "unrecognized arguments" in said(capsys, *arguments)
