"""Sources: what every format owes, over the registry. A format without a writer in tests/sources.py fails here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import sources
from factories import draw_picture, sample_frame, write_channel
from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.decode.images import encode
from lesion.data.labels.encode import read_labels
from lesion.data.prediction_set import open_prediction_set
from lesion.data.sources.formats import FORMATS, open_source, recognised
from lesion.data.sources.layouts import LAYOUTS
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, Source
from lesion.errors import UserError
from sources import WRITERS, Written

WANTED = Columns(targets=("target",), are_targets_needed=True, group="patient_id")


@pytest.fixture(params=FORMATS)
def written(request, tmp_path) -> Written:
    return WRITERS[request.param](tmp_path / "channel")


@pytest.fixture
def name(request, written) -> str:
    return str(request.node.callspec.params["written"])


def opened(written: Written, columns: Columns = WANTED, *, source: str = "auto") -> Source:
    return open_source(SplitLocation(written.folder, "train"), columns, source=source)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.fixture
def read_only(written) -> Iterator[dict[str, tuple[int, int]]]:
    before = snapshot(written.folder)
    paths = [written.folder, *written.folder.rglob("*")]
    for path in paths:
        path.chmod(0o555)
    yield before
    for path in paths:
        path.chmod(0o755)


def test_every_format_has_a_writer_and_a_name_in_the_hyperparameter():
    assert list(WRITERS) == list(FORMATS) == list(LAYOUTS)
    assert get_args(ClassifyConfig.model_fields["source"].annotation) == ("auto", *FORMATS)


def test_a_format_is_recognised_by_itself_alone(written, name):
    assert list(recognised(SplitLocation(written.folder, "train"), source="auto")) == [name]


def test_each_row_has_its_own_class_group_and_picture(written):
    source = opened(written)
    table = source.table()
    labels = read_labels(table)
    classes = np.array(labels.target.class_names)[labels.encode(table).argmax(axis=1)]
    assert dict(zip(table.name_S.tolist(), classes.tolist(), strict=True)) == written.classes
    for row, picture_name in enumerate(table.name_S.tolist()):
        assert tuple(source.read(row)[3, 5].tolist()) == written.colours[picture_name]
    if written.groups:
        assert dict(zip(table.name_S.tolist(), table.group_S.tolist(), strict=True)) == written.groups
    else:
        assert table.group_S is None


def test_metadata_comes_along_where_the_format_has_any(written):
    table = opened(written).table()
    if written.groups:
        assert list(table.metadata.columns) == ["age_approx"]
        ages = [int(row["age_approx"]) for row in table.metadata_rows()]
        assert sorted(ages) == list(range(20, 32))
    else:
        assert table.metadata.shape == (12, 0)


def test_pictures_are_the_same_for_many_threads(written):
    source = opened(written)
    rows = [row for _ in range(20) for row in range(12)]
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(source.read, rows))
    assert all((picture == pictures[row]).all() for row, picture in zip(rows, pictures, strict=True))


EIGHTFOLD = np.ones((8, 8, 1), np.uint8)
OF_PIXELS = {"pcam_hdf5", "medmnist_npz"}  # which hold no files


@pytest.mark.parametrize("name", FORMATS)
def test_a_large_jpeg_is_decoded_smaller_in_every_format_that_holds_files(name, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sources, "png_of", lambda name: encode(sources.pixels_of(name).repeat(8, 0).repeat(8, 1), "JPEG")
    )
    written = WRITERS[name](tmp_path / "channel")
    sides = {None: 24, 96: 24} if name in OF_PIXELS else {None: 192, 96: 96, 97: 192}
    for decode_px, side in sides.items():
        wanted = replace(WANTED, decode_px=decode_px)
        for source in (opened(written, wanted), open_prediction_set(written.folder, wanted.optional())):
            assert source.read(3).shape == (side, side, 3)


def test_a_source_survives_a_fork(written):
    source = opened(written)
    expected = source.read(7)
    child = os.fork()
    if child == 0:
        status = 2
        try:
            status = 0 if (source.read(7) == expected).all() else 1
        finally:
            os._exit(status)  # whatever happened: it must not go on as a second pytest
    assert os.waitpid(child, 0)[1] == 0


def test_rows_do_not_depend_on_the_order_in_which_files_were_made(written, tmp_path):
    copy = tmp_path / "copy"
    for path in sorted(written.folder.rglob("*"), reverse=True):
        if path.is_file():
            target = copy / path.relative_to(written.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    again = open_source(SplitLocation(copy, "train"), WANTED, source="auto").table()
    assert again.name_S.tolist() == opened(written).table().name_S.tolist()


def test_nothing_is_written_beside_the_data(written, read_only):
    source = opened(written)
    assert len({source.read(row).tobytes() for row in range(12)}) == 12
    assert snapshot(written.folder) == read_only


def test_what_other_programs_leave_is_no_data(written, name):
    (written.folder / "._train.csv").write_text("macOS")
    (written.folder / ".DS_Store").write_bytes(b"\0")
    (written.folder / "__MACOSX").mkdir()
    (written.folder / "__MACOSX" / "train.csv").write_text("x")
    (written.folder / ".ipynb_checkpoints").mkdir()
    (written.folder / ".ipynb_checkpoints" / "train.lst").write_text("x")
    (written.folder / "train.tar.sagemaker-uploaded").write_text("")
    assert list(recognised(SplitLocation(written.folder, "train"), source="auto")) == [name]
    assert len(opened(written).table()) == 12


def test_a_format_may_be_forced_and_a_wrong_one_says_what_is_missing(written, name):
    assert len(opened(written, source=name).table()) == 12
    for other in FORMATS:
        if other not in (name, "class_folder"):
            with pytest.raises(UserError, match=r"no .* here|no .* set|0 manifests"):
                opened(written, source=other)


def test_two_formats_in_one_folder_are_in_doubt(written, name):
    other = "lst" if name != "lst" else "webdataset"
    WRITERS[other](written.folder)
    if name == "class_folder":  # folders without a table are seen only where there is no table
        assert list(recognised(SplitLocation(written.folder, "train"), source="auto")) == [other]
    else:
        with pytest.raises(UserError, match=r"several formats fit: .*because.*because.*Set source"):
            opened(written)


def test_a_test_set_in_the_training_channel_is_found_beside_it(written, name):
    writer = WRITERS[name]
    assert not recognised(SplitLocation(written.folder, "test", is_own=False), source="auto")
    test = writer(written.folder, 6, "test")
    wanted = replace(WANTED, are_targets_needed=False)
    table = open_source(SplitLocation(written.folder, "test", is_own=False), wanted, source="auto").table()
    assert sorted(table.name_S.tolist()) == sorted(test.classes)
    assert sorted(opened(written).table().name_S.tolist()) == sorted(written.classes)


def test_a_split_that_keeps_groups_needs_them(written):
    needed = replace(WANTED, is_group_needed=True)
    if written.groups:
        assert opened(written, needed).table().group_S is not None
    else:
        with pytest.raises(UserError, match=r"group_column or split needs it .*leave both unset"):
            opened(written, needed)


ONE_FILE = {
    "csv_folder": "train.csv",
    "class_folder": "daisy/*.png",
    "pcam_hdf5": "*_x.h5",
    "isic_hdf5": "*.hdf5",
    "medmnist_npz": "*.npz",
    "lst": "*.lst",
    "augmented_manifest": "*.manifest",
    "webdataset": "*-000000.tar",
}


def test_a_set_to_predict_has_the_rows_of_training(written, name, caplog):
    """The whole folder, and one file of it, which holds all of the set or a part; absent metadata is missing."""
    wanted = Columns(metadata=("age_approx", "blood_group"))
    whole = opened(written).table()
    ages = {} if whole.metadata.empty else dict(zip(whole.name_S.tolist(), whole.metadata["age_approx"], strict=True))
    one_file = sorted(written.folder.glob(ONE_FILE[name]))[0]
    for place in (written.folder, one_file):
        source = open_prediction_set(place, wanted)
        table = source.table()
        assert table.group_S is None
        names = table.name_S.tolist()
        if name == "class_folder" and place == one_file:
            assert names == [one_file.name]
            continue
        assert names == whole.name_S.tolist()[: len(names)] and len(names) in (12, 6)
        assert [row.get("age_approx") for row in table.metadata_rows()] == [ages.get(one) for one in names]
        colours = [tuple(source.read(row)[3, 5].tolist()) for row in range(len(names))]
        assert colours == [written.colours[one] for one in names]
    assert "not predicted" not in caplog.text


def test_of_a_folder_the_test_set_is_predicted_and_what_is_left_is_said(written, name, caplog):
    test = WRITERS[name](written.folder, 6, "test")
    caplog.set_level("INFO")
    table = open_prediction_set(written.folder, Columns(metadata=())).table()
    assert sorted(table.name_S.tolist()) == sorted(test.classes)
    assert "not predicted" in caplog.text


def test_a_metadata_column_that_is_absent_is_named(written):
    with pytest.raises(UserError, match=r"'blood_group' \(metadata_columns\)"):
        opened(written, replace(WANTED, metadata=("blood_group",)))


def test_a_channel_with_a_test_table_alone_says_how_it_becomes_the_training_set(tmp_path):
    write_channel(tmp_path, sample_frame(4), csv_name="test.csv", image_dir="test_jpg")
    with pytest.raises(UserError, match=r"no train set found.*test\.csv belongs to another set.*call it train\.csv"):
        open_source(SplitLocation(tmp_path, "train"), WANTED, source="auto")


def test_a_single_class_folder_is_told_as_one_class(tmp_path):
    draw_picture(tmp_path / "benign" / "a.jpg", is_positive=False, seed=0)
    with pytest.raises(UserError, match=r"there is one class only, benign/.*Add a folder with images for each class"):
        open_source(SplitLocation(tmp_path, "train"), WANTED, source="auto")


def test_an_empty_channel_is_told_with_every_layout(tmp_path):
    with pytest.raises(UserError, match="no train set found") as caught:
        open_source(SplitLocation(tmp_path, "train"), WANTED, source="auto")
    assert all(format_name in str(caught.value) for format_name in FORMATS)
