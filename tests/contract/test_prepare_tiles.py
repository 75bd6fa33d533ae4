"""Prepare tiles: slides in, a data set out that `lesion train` takes; the same whatever came between."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from jobs import SMALL, run
from PIL import Image

from disks import SmallDisk
from factories import write_hyperparameters
from processes import LESION, lesion
from slides import APERIO, draw_slide, pyramid, write_slide

NUM_SLIDES = 4


@pytest.fixture(scope="module")
def slides(tmp_path_factory) -> Path:
    """Four slides of 20×, two in a sub-folder, with a table and annotations; tissue in the upper left of each."""
    folder = tmp_path_factory.mktemp("slides") / "in"
    features = {}
    for number in range(NUM_SLIDES):
        image_HWC = draw_slide(1024, 768, [(300, 300, 260), (800, 600, 60)], seed=number)
        path = folder / ("a b" if number < 2 else ".") / f"slide{number}.svs"
        write_slide(path, pyramid(image_HWC), aperio=APERIO.format(20, 0.5))
        square = [[128, 128], [384, 128], [384, 384], [128, 384], [128, 128]]
        geometry = {"type": "Polygon", "coordinates": [square]}
        properties = {"classification": {"name": "Tumor"}}
        features[f"slide{number}"] = [{"type": "Feature", "geometry": geometry, "properties": properties}]
    annotations = folder.with_name("annotations")
    annotations.mkdir()
    for name in ("slide1", "slide3"):
        (annotations / f"{name}.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": features[name]})
        )
    rows = {
        "file": [f"slide{number}.svs" for number in range(NUM_SLIDES)],
        "patient_id": ["P0", "P0", "P1", "P1"],
        "target": [0, 1, 0, 1],
        "sex": ["male", "male", "female", "female"],
    }
    pd.DataFrame(rows).to_csv(folder.with_name("slides.csv"), index=False)
    return folder


def prepare(slides: Path, output: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return lesion("prepare", "tiles", slides, "--output", output, "--size", 64, *options, "--no-progress")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def tiles(slides, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("tiles") / "out"
    done = prepare(slides, output, "--labels", slides.with_name("slides.csv"), "--workers", 1)
    assert done.returncode == 0, done.stderr
    return output


def test_tiles_lie_where_tissue_is_and_carry_what_the_table_says(tiles):
    frame = pd.read_csv(tiles / "train.csv")
    assert set(frame["slide_id"]) == {"a b/slide0", "a b/slide1", "slide2", "slide3"}
    assert frame.groupby("slide_id")["target"].first().tolist() == [0, 1, 0, 1]
    assert frame.groupby("slide_id")["patient_id"].first().tolist() == ["P0", "P0", "P1", "P1"]
    assert frame["tissue"].between(0.5, 1).all()
    for _, of_slide in frame.groupby("slide_id"):  # tiles of 64 px without overlap: the next one begins where one ends
        assert np.diff(np.unique(of_slide["x"])).min() == pytest.approx(64 * of_slide["downsample"].iloc[0], abs=1)
    middle_x, middle_y = frame["x"] + 32, frame["y"] + 32
    distance = np.minimum(np.hypot(middle_x - 300, middle_y - 300) - 260, np.hypot(middle_x - 800, middle_y - 600) - 60)
    assert distance.max() < 32 and len(frame) > NUM_SLIDES * 40
    for name in frame["image_name"].sample(20, random_state=0):
        tile = Image.open(tiles / "train_jpg" / name)
        assert tile.size == (64, 64) and np.asarray(tile)[..., 1].mean() < 200  # stained, and not glass


def test_columns_of_patients_and_slides_are_known_however_they_are_written(slides, tmp_path):
    table = pd.DataFrame({"file": ["slide2.svs"], "Slide-ID": ["S7"], "Patient ID": ["P7"], "target": [1]})
    table.to_csv(tmp_path / "slides.csv", index=False)
    done = prepare(slides / "slide2.svs", tmp_path / "out", "--labels", tmp_path / "slides.csv")
    frame = pd.read_csv(tmp_path / "out" / "train.csv")
    assert set(frame["slide_id"]) == {"S7"} and set(frame["Patient ID"]) == {"P7"} and "Slide-ID" not in frame
    assert "train with group_column='Patient ID'" in done.stdout + done.stderr


def test_a_tile_shows_the_place_that_its_row_names(slides, tmp_path):
    done = prepare(slides / "slide2.svs", tmp_path / "out", "--format", "png")
    assert done.returncode == 0, done.stderr
    whole_HWC = draw_slide(1024, 768, [(300, 300, 260), (800, 600, 60)], seed=2)
    for row in pd.read_csv(tmp_path / "out" / "train.csv").sample(10, random_state=0).itertuples():
        tile_HWC = np.asarray(Image.open(tmp_path / "out" / "train_images" / row.image_name))
        np.testing.assert_array_equal(tile_HWC, whole_HWC[row.y : row.y + 64, row.x : row.x + 64])


def test_any_number_of_workers_makes_the_same_bytes(slides, tiles, tmp_path):
    done = prepare(slides, tmp_path / "out", "--labels", slides.with_name("slides.csv"), "--workers", 3)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "out") == digests(tiles)


def test_what_was_killed_half_way_goes_on_to_the_same_bytes(slides, tiles, tmp_path):
    options = ("--labels", slides.with_name("slides.csv"), "--workers", 1, "--size", 64, "--no-progress")
    output = tmp_path / "out"
    process = subprocess.Popen([*LESION, "prepare", "tiles", *map(str, (slides, "--output", output, *options))])
    ends = time.monotonic() + 60
    while len(list(output.rglob("*.jpg"))) < 60 and process.poll() is None:
        assert time.monotonic() < ends
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (output / "train.csv").exists(), "it was done before it could be killed"
    done = prepare(slides, output, *options[:2])
    assert done.returncode == 0, done.stderr
    assert digests(output) == digests(tiles)


def test_a_full_disk_ends_it_in_words_and_leaves_no_half_tile(slides, tmp_path):
    with SmallDisk(tmp_path / "disk", "32k") as disk:
        ended = prepare(slides, disk.path / "tiles", "--format", "png")
        assert ended.returncode == 3 and "No space left on device" in ended.stderr and "Traceback" not in ended.stderr
        for path in disk.path.rglob("*.png"):
            with Image.open(path) as image:
                image.load()


def test_annotations_decide_which_tiles_are_positive(slides, tmp_path):
    options = ("--annotations", slides.with_name("annotations"), "--positive", "Tumor")
    done = prepare(slides, tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    frame = pd.read_csv(tmp_path / "out" / "train.csv")
    is_inside = frame["x"].between(128, 320) & frame["y"].between(128, 320)
    is_annotated = frame["slide_id"].isin(["a b/slide1", "slide3"])
    assert frame["target"].tolist() == (is_inside & is_annotated).astype(int).tolist()
    assert "annotated_slides=2 slides_without_annotations=2" in done.stdout
    unnamed = prepare(slides, tmp_path / "unnamed", *options[:2])
    assert "positive=Tumor because it is the only class" in unnamed.stdout
    assert (tmp_path / "unnamed" / "train.csv").read_bytes() == (tmp_path / "out" / "train.csv").read_bytes()


def test_the_tiles_train_a_network_with_patients_kept_together(tiles, tmp_path):
    channel = tmp_path / "input" / "data"
    channel.mkdir(parents=True)
    (channel / "training").symlink_to(tiles)
    settings = {**SMALL, "model": "test_resnet", "pretrained": False, "batch_size_train": 64}
    changes = {"slide_score": "mean", "group_column": "slide_id", "on_leak": "warn", "metadata_columns": "[]"}
    changes["split"] = "stratified_group_kfold"
    write_hyperparameters(tmp_path, {**settings, **changes})
    oof = run(tmp_path).oof
    assert oof.groupby("group")["fold"].nunique().eq(1).all() and oof["group"].nunique() == NUM_SLIDES
    assert len(pd.read_csv(tmp_path / "output" / "data" / "slides.csv")) == NUM_SLIDES


def table_without(slides: Path, tmp_path: Path, *, drop: int | None = None, add: str | None = None) -> Path:
    frame = pd.read_csv(slides.with_name("slides.csv"))
    frame = frame if drop is None else frame.drop(index=drop)
    frame = frame if add is None else pd.concat([frame, frame.tail(1).assign(file=add)])
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def annotated_with(tmp_path: Path, *class_names: str) -> Path:
    """Annotations of slide1 of these classes."""
    geometry = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 0]]]}
    features = [
        {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}
        for name in class_names
    ]
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "slide1.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return folder


def not_a_slide(tmp_path: Path) -> Path:
    (tmp_path / "x.svs").write_bytes(b"no")
    return tmp_path / "x.svs"


REFUSED = {
    "not a slide": (lambda _slides, tmp: [not_a_slide(tmp)], "neither a whole slide nor an image"),
    "no slides": (lambda _slides, tmp: [tmp], "no slides here"),
    "a slide without a row": (
        lambda slides, tmp: [slides, "--labels", table_without(slides, tmp, drop=2)],
        "1 slides without a row: slide2",
    ),
    "a row without a slide": (
        lambda slides, tmp: [slides, "--labels", table_without(slides, tmp, add="other.svs")],
        "1 rows without a slide: other.svs",
    ),
    "an unknown class": (
        lambda slides, _tmp: [slides, "--annotations", slides.with_name("annotations"), "--positive", "Tumour"],
        "no annotation has the class 'Tumour'; there are 'Tumor' .* Did you mean Tumor",
    ),
    "several classes, of which none is named": (
        lambda slides, tmp: [slides, "--annotations", annotated_with(tmp, "Tumor", "Stroma", "Ignore*")],
        r"2 classes, and it is unclear which of them are positive: Tumor \(1\), Stroma \(1\)",
    ),
    "more than the slide has": (
        lambda slides, _tmp: [slides, "--magnification", 40],
        "asked for magnification=40, and the slide has only 20",
    ),
    "too much overlap": (lambda slides, _tmp: [slides, "--overlap", 64], "--overlap 64: 0 or more, and less than"),
    "no tissue": (
        lambda _slides, tmp: [write_slide(tmp / "glass.tif", [draw_slide(400, 300)])],
        "no tile of 1 slides has enough tissue",
    ),
    "output below the input": (
        lambda slides, _tmp: [slides, "--output", slides / "out"],
        "the output folder lies inside the input folder",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_prepared_is_refused_in_words(slides, tmp_path, case):
    spoil, words = REFUSED[case]
    source, *options = spoil(slides, tmp_path)
    done = prepare(source, tmp_path / "out", *options)
    assert done.returncode == 2, done.stderr
    assert re.search(words, done.stderr), done.stderr


def test_a_folder_of_other_tiles_is_refused(slides, tiles):
    done = prepare(slides, tiles, "--labels", slides.with_name("slides.csv"), "--overlap", 8)
    assert done.returncode == 2 and "made with a different overlap_px" in done.stderr


def test_a_folder_that_holds_something_else_is_refused(slides, tmp_path):
    (tmp_path / "thesis.docx").write_bytes(b"")
    done = prepare(slides, tmp_path)
    assert done.returncode == 2 and "the folder is not empty, and not of this command" in done.stderr
