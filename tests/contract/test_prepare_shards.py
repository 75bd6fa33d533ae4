"""Prepare shards: any data set in, shards out that train as it would have; the same bytes whoever wrote them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from jobs import SMALL, run

from factories import sample_frame, write_channel, write_hyperparameters
from lesion.data.sample_data import draw_picture
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns
from processes import LESION, lesion
from sources import write_class_folder

ROWS = 4  # a shard: ten shards of the forty pictures


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> Path:
    """Forty pictures in training, of 64 px and some larger, and six in a test set."""
    folder = tmp_path_factory.mktemp("data") / "in"
    frame = sample_frame(20).assign(
        camera="Ä-1", target=lambda rows: (np.arange(len(rows)) // 2 + np.arange(len(rows))) % 2
    )
    write_channel(folder, frame)
    for number in range(0, 40, 7):
        image_HWC = draw_picture(True, np.random.default_rng(number), np.random.default_rng(100 + number))
        cv2.imwrite(str(folder / "train_jpg" / f"{frame['image_name'][number]}.jpg"), image_HWC[..., ::-1])
    test = sample_frame(3).drop(columns="target")
    write_channel(
        folder,
        test.assign(image_name="T" + test["image_name"], patient_id="T" + test["patient_id"]),
        csv_name="test.csv",
        image_dir="test_jpg",
    )
    return folder


def prepare(folder: Path, output: Path, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
    arguments = (
        "prepare",
        "shards",
        folder,
        "--output",
        output,
        "--rows",
        ROWS,
        "--size",
        48,
        *options,
        "--no-progress",
    )
    return lesion(*arguments, environment=environment)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def shards(channel, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("shards") / "out"
    done = prepare(channel, output, "--workers", 1)
    assert done.returncode == 0, done.stderr
    return output


def test_the_shards_hold_every_row_with_all_that_the_table_said(channel, shards):
    columns = Columns(targets=("target",), group="patient_id", class_name="benign_malignant")
    for split, num_rows in (("train", 40), ("test", 6)):
        before = open_source(SplitLocation(channel, split), columns, source="csv_folder")
        after = open_source(SplitLocation(shards, split), columns, source="auto")
        table = before.table().rows(np.argsort(before.table().name_S))
        found = after.table().rows(np.argsort(after.table().name_S))
        assert len(found) == num_rows and found.name_S.tolist() == table.name_S.tolist()
        assert found.group_S.tolist() == table.group_S.tolist()
        pd.testing.assert_frame_equal(found.metadata.reset_index(drop=True), table.metadata.reset_index(drop=True))
        if split == "train":
            assert found.targets["target"].tolist() == table.targets["target"].tolist()
            assert found.others["camera"].eq("Ä-1").all() and found.class_name_S.tolist() == table.class_name_S.tolist()


def test_pictures_are_resized_by_their_shorter_side_and_stay_with_their_rows(channel, shards):
    source = open_source(SplitLocation(shards, "train"), Columns(targets=("target",)), source="auto")
    for index, name in enumerate(source.table().name_S[:20]):
        original_HWC = cv2.imread(str(channel / "train_jpg" / f"{name}.jpg"))[..., ::-1]
        small_HWC = source.read(index)
        assert min(small_HWC.shape[:2]) == 48
        expected_HWC = cv2.resize(original_HWC, small_HWC.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(small_HWC.astype(int) - expected_HWC).mean() < 4


def test_smaller_pictures_are_not_enlarged(channel, tmp_path):
    done = lesion("prepare", "shards", channel, "--output", tmp_path / "out", "--size", 512, "--no-progress")
    assert done.returncode == 0, done.stderr
    source = open_source(SplitLocation(tmp_path / "out", "train"), Columns(), source="auto")
    sides = [min(source.read(index).shape[:2]) for index in range(40)]
    assert min(sides) == 64 and max(sides) in {480, 512} and sides.count(64) == 34


def test_any_number_of_workers_writes_the_same_bytes(channel, shards, tmp_path):
    done = prepare(channel, tmp_path / "out", "--workers", 3)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(shards)


def test_a_shuffled_table_gives_the_same_shards(channel, shards, tmp_path):
    shuffled = tmp_path / "in"
    shuffled.mkdir()
    for name in ("train_jpg", "test_jpg", "test.csv"):
        (shuffled / name).symlink_to(channel / name)
    pd.read_csv(channel / "train.csv", dtype=str).sample(frac=1, random_state=1).to_csv(
        shuffled / "train.csv", index=False
    )
    done = prepare(shuffled, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {k: v for k, v in digests(tmp_path / "out").items() if k.endswith(".tar")} == {
        k: v for k, v in digests(shards).items() if k.endswith(".tar")
    }


def test_what_was_killed_half_way_goes_on_and_does_nothing_twice(channel, shards, tmp_path):
    output = tmp_path / "out"
    arguments = ("prepare", "shards", channel, "--output", output, "--rows", ROWS, "--size", 48, "--workers", 1)
    process = subprocess.Popen([*LESION, *map(str, arguments), "--no-progress"], stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while len(list(output.glob("reports/*.json"))) < 3 and process.poll() is None:
        assert time.monotonic() < ends
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "DATA_CARD.md").exists(), "it was done before it could be killed"
    finished = {path: path.stat().st_mtime_ns for path in output.glob("reports/*.json")}
    assert prepare(channel, output).returncode == 0
    assert digests(output) == digests(shards)
    assert all(path.stat().st_mtime_ns == written for path, written in finished.items())


def test_a_shard_that_was_cut_off_is_written_again(channel, shards, tmp_path):
    assert prepare(channel, tmp_path / "out").returncode == 0
    shard = tmp_path / "out" / "train-000003.tar"
    shard.write_bytes(shard.read_bytes()[:1000])
    assert prepare(channel, tmp_path / "out").returncode == 0
    assert digests(tmp_path / "out") == digests(shards)


def test_a_ray_cluster_of_two_nodes_writes_the_same_bytes(channel, shards, tmp_path, ray_cluster):
    done = prepare(channel, tmp_path / "out", "--engine", "ray", RAY_ADDRESS=ray_cluster, RAY_USAGE_STATS_ENABLED="0")
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(shards)


def test_an_error_on_a_ray_node_is_told_as_it_is(channel, tmp_path, ray_cluster):
    broken = copy_with_a_broken_picture(channel, tmp_path)
    done = prepare(broken, tmp_path / "out", "--engine", "ray", RAY_ADDRESS=ray_cluster, RAY_USAGE_STATS_ENABLED="0")
    assert done.returncode == 2, done.stdout
    assert "\nerror: the image cannot be decoded" in done.stderr and "IMG_003_0.jpg" in done.stderr


def test_two_instances_of_a_processing_job_write_the_same_bytes_between_them(channel, shards, tmp_path):
    output = tmp_path / "out"
    for number, host in enumerate(("algo-1", "algo-2")):
        root = tmp_path / host
        (root / "config").mkdir(parents=True)
        resources = {"hosts": ["algo-2", "algo-1"], "current_host": host}
        (root / "config" / "resourceconfig.json").write_text(json.dumps(resources))
        done = prepare(channel, output, "--root", root)  # into one folder, as their uploads go to one prefix
        assert done.returncode == 0, done.stderr
        assert len(list(output.glob("*.tar"))) == (6, 12)[number]
    assert digests(output) == digests(shards)


def copy_with_a_broken_picture(channel: Path, tmp_path: Path) -> Path:
    broken = tmp_path / "broken"
    (broken / "train_jpg").mkdir(parents=True)
    for picture in (channel / "train_jpg").iterdir():
        (broken / "train_jpg" / picture.name).write_bytes(picture.read_bytes())
    (broken / "train_jpg" / "IMG_003_0.jpg").write_bytes(b"no picture")
    (broken / "train.csv").write_bytes((channel / "train.csv").read_bytes())
    return broken


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_picture_is_refused_by_name_or_left_out_and_counted(channel, tmp_path, workers):
    broken = copy_with_a_broken_picture(channel, tmp_path)
    done = prepare(broken, tmp_path / "out", "--workers", workers)
    assert done.returncode == 2 and "IMG_003_0.jpg" in done.stderr, done.stderr
    done = prepare(broken, tmp_path / "left", "--workers", workers, "--set", "on_bad_image=drop")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "left" / "data_card.json").read_text())
    assert list(card["sets"]["train"]["dropped"]) == ["IMG_003_0"] and card["sets"]["train"]["rows"] == 39
    assert "| left out, cannot be read | 1 |" in (tmp_path / "left" / "DATA_CARD.md").read_text()


def test_the_card_says_what_is_in(shards):
    page = (shards / "DATA_CARD.md").read_text()
    assert (
        "| rows | 40 in 10 shards" in page
        and "| groups | 20 |" in page
        and "| target `target` | 0: 20, 1: 20 |" in page
    )
    card = json.loads((shards / "data_card.json").read_text())
    assert set(card["shards"]) == {path.name for path in shards.glob("*.tar")}
    for name, report in card["shards"].items():
        assert report["sha256"] == hashlib.sha256((shards / name).read_bytes()).hexdigest()


def test_nothing_of_this_machine_is_in_a_shard(shards):
    with tarfile.open(shards / "train-000000.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)


def test_folders_as_classes_become_shards_too(tmp_path):
    write_class_folder(tmp_path / "in")
    assert prepare(tmp_path / "in", tmp_path / "out").returncode == 0
    before = open_source(SplitLocation(tmp_path / "in", "train"), Columns(targets=("target",)), source="auto").table()
    after = open_source(SplitLocation(tmp_path / "out", "train"), Columns(targets=("target",)), source="auto").table()
    assert dict(zip(before.name_S, before.targets["target"], strict=True)) == dict(
        zip(after.name_S, after.targets["target"], strict=True)
    )


def test_a_network_trains_on_shards_as_on_the_pictures_they_hold(shards, tmp_path):
    (tmp_path / "input" / "data").mkdir(parents=True)
    (tmp_path / "input" / "data" / "training").symlink_to(shards)
    write_hyperparameters(tmp_path, {**SMALL, "model": "test_resnet", "pretrained": False, "batch_size_train": 8})
    trained = run(tmp_path)
    assert len(trained.oof) == 40 and len(pd.read_csv(tmp_path / "output/data/submission.csv")) == 6


def test_reading_shards_holds_no_shard_in_memory(tmp_path):
    """What is streamed may be larger than memory: 300 MB of shards are read within 60 MB."""
    script = """
import sys
from pathlib import Path
from lesion.data.sample_data import draw_picture
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns
source = open_source(SplitLocation(Path(sys.argv[1]), "train"), Columns(), source="auto")
source.read(0)
peak_kib = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])  # getrusage has the parent's
before = peak_kib()
for index in range(len(source.table())):
    source.read(index)
print(peak_kib() - before)
"""
    content = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    _, png = cv2.imencode(".bmp", content)
    (tmp_path / "picture.bmp").write_bytes(png.tobytes())
    for shard in range(2):
        with tarfile.open(tmp_path / f"train-{shard}.tar", "w") as tar:
            for index in range(50):
                tar.add(tmp_path / "picture.bmp", f"{shard}-{index:03d}.bmp")
    done = subprocess.run(
        [LESION[0], "-c", script, str(tmp_path)], capture_output=True, text=True, check=True, timeout=100
    )
    assert int(done.stdout.split()[-1]) < 60_000  # kilobytes


def test_other_settings_into_the_same_folder_are_refused(channel, shards):
    done = prepare(channel, shards, "--quality", 50)
    assert done.returncode == 2 and "made with a different quality" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--size", 4], "--size 4: 16 px or more"),
        (["--quality", 0], "--quality 0: 1 to 100"),
        (["--set", "group_colum=x"], "group_column"),
    ],
)
def test_settings_out_of_range_are_refused(channel, tmp_path, options, words):
    done = prepare(channel, tmp_path / "out", *options)
    assert done.returncode == 2 and words in done.stderr


def test_an_empty_folder_is_refused_with_what_could_lie_there(tmp_path):
    (tmp_path / "in").mkdir()
    done = prepare(tmp_path / "in", tmp_path / "out")
    assert done.returncode == 2 and "no train set found" in done.stderr
