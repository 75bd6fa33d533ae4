"""Predict in parts: a set goes on where it was killed, and any number of processes or nodes gives the same CSV."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Trained
from kills import VARIABLE

import warm
from lesion.errors import UserError
from lesion.predict_files import predict_files
from processes import children, is_running, lesion, wait_until

ROWS = 2  # a part: nine parts of the eighteen pictures
PLAIN = {"device": "cpu", "fold": None, "precision": "fp32", "num_cores": 2, "show_progress": False}


@pytest.fixture(scope="module")
def channel(trained_root, tmp_path_factory) -> Path:
    """The training channel with a picture that cannot be read. Not to be written to."""
    channel = Path(shutil.copytree(trained_root / "input/data/training", tmp_path_factory.mktemp("in") / "channel"))
    (channel / "train_jpg/IMG_002_1.jpg").write_bytes(b"no picture")
    return channel


@pytest.fixture(scope="module")
def unbroken(channel, trained_root, tmp_path_factory) -> bytes:
    """The CSV of a run in one part."""
    output = tmp_path_factory.mktemp("out") / "out.csv"
    assert predict_files(channel / "train.csv", model_dir=trained_root / "model", output=output, **PLAIN) == 1
    assert [path.name for path in output.parent.iterdir()] == ["out.csv"]
    return output.read_bytes()


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "out.csv"


@pytest.fixture
def command(channel, trained_root, output) -> list[object]:
    """The command in parts."""
    options = ["--rows", ROWS, "--device", "cpu", "--precision", "fp32", "--no-progress"]
    return ["predict", channel / "train.csv", "--model", trained_root / "model", "--output", output, *options]


@pytest.fixture
def predict(channel, trained_root, output) -> Callable[..., int]:
    """The same in this process."""

    def run(**changes: object) -> int:
        settings = {"model_dir": trained_root / "model", "output": output, "rows_per_part": ROWS, **PLAIN, **changes}
        return predict_files(settings.pop("path", channel / "train.csv"), **settings)

    return run


def kill_at(command: list[object], number: int) -> None:
    """Runs the command, which is killed right before the `number`th rename or removal of a file at its output."""
    output = Path(str(command[command.index("--output") + 1]))
    when = {VARIABLE: json.dumps([signal.SIGKILL, output.name, number])}
    with (output.parent / "log").open("w") as log:
        status = warm.start(command, log, environment=when, preload=["kills"]).wait(warm.LIMIT_S)
    assert status == -signal.SIGKILL, (output.parent / "log").read_text()


def parts(output: Path) -> list[Path]:
    return sorted(output.with_name(output.name + ".parts").glob("part-*.json"))


# The steps at the output: one file that shows that it can be written, the record, 9 parts, the CSV, 10 removals.
@pytest.mark.parametrize(
    ("step", "num_left"),
    [
        pytest.param(2, 0, id="record"),
        pytest.param(3, 0, id="first part"),
        pytest.param(6, 3, id="fourth part"),
        pytest.param(12, 9, id="csv"),
        pytest.param(15, 7, id="third removal"),
        pytest.param(22, 0, id="last removal"),
    ],
)
def test_what_was_killed_goes_on_where_it_was(command, predict, output, unbroken, said, step, num_left):
    kill_at(command, step)
    assert len(parts(output)) == num_left and output.exists() == (step > 12)
    assert predict() == 1
    assert output.read_bytes() == unbroken
    assert sorted(path.name for path in output.parent.iterdir()) == ["log", "out.csv"]
    assert (f"resuming: {num_left} of 9 parts" in said()) == (num_left > 0)


def test_a_finished_part_is_not_computed_again_and_one_that_was_cut_off_is(command, predict, output, unbroken):
    kill_at(command, 6)
    first, second, _ = parts(output)
    cells = json.loads(first.read_text())
    cells[0]["label"] = "as it was kept"
    first.write_text(json.dumps(cells))
    second.write_text(second.read_text()[:50])
    assert predict() == 1
    before, after = unbroken.decode().splitlines(), output.read_text().splitlines()
    assert "as it was kept" in after[1] and after[2:] == before[2:]


def test_another_model_option_or_input_is_refused_and_named(command, predict, output, channel, baseline: Trained):
    kill_at(command, 6)
    for what, change in {
        "fold": {"fold": 1},
        "rows": {"rows_per_part": 3},
        "operating_point": {"operating_point": "sensitivity=0.9"},
        "table": {"path": channel / "train_jpg"},
        "model": {"model_dir": baseline.root / "model"},
    }.items():
        with pytest.raises(UserError, match=rf"made with a different .*\b{what}\b.*remove this folder"):
            predict(**change)
    picture = channel / "train_jpg/IMG_003_0.jpg"
    before = picture.stat()
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    try:
        with pytest.raises(UserError, match="made with a different pictures"):
            predict()
    finally:
        os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(parts(output)) == 3 and not output.exists()


def test_processes_write_the_same_bytes_and_end_with_the_command_that_is_killed(command, output, unbroken):
    command = [*command, "--workers", 2]
    with (output.parent / "log").open("w") as log:
        killed = warm.start(command, log)
        wait_until(lambda: len(parts(output)) > 0, "no part came", (output.parent / "log").read_text)
        workers = children(killed.pid)
        killed.kill()
        killed.wait(60)
    wait_until(lambda: not any(map(is_running, workers)), "workers outlived the command", lambda: str(workers))
    done = lesion(*command)
    assert done.returncode == 2, done.stderr  # a picture could not be read
    assert output.read_bytes() == unbroken


def test_a_ray_cluster_of_two_nodes_writes_the_same_bytes(command, output, unbroken, ray_cluster):
    done = lesion(*command, "--engine", "ray", environment={"RAY_ADDRESS": ray_cluster})
    assert done.returncode == 2, done.stderr
    assert output.read_bytes() == unbroken


def test_the_commands_own_output_gets_the_whole_csv_and_no_parts(command, unbroken):
    command[command.index("--output") + 1] = "/dev/stdout"
    done = lesion(*command)
    assert done.returncode == 2 and unbroken.decode() in done.stdout
    assert Path("/dev/stdout").is_symlink() and not Path("/dev/stdout.parts").exists()


def test_options_that_do_not_go_together_are_refused_at_once(predict, output):
    with pytest.raises(UserError) as refused:
        predict(rows_per_part=0, num_workers=2, device="cuda", maps=output.parent / "maps")
    for words in ("--rows 0: 1 or more", "--maps are drawn by one process", "one process computes on all GPUs"):
        assert words in str(refused.value)
    with pytest.raises(UserError, match="--workers 0: 1 or more"):
        predict(num_workers=0)
    with pytest.raises(UserError, match="parts are kept beside the output"):
        predict(engine="ray", output=Path("/dev/null"))
