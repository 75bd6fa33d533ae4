"""Pictures: a row's image is found in its folder, beside its table or in the channel, or a refusal says why not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from factories import dicom_file
from lesion.data.remark import Remark
from lesion.data.sources.formats import open_source
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, Source
from lesion.errors import UserError
from sources import colour_of, write_png

WANTED = Columns(targets=("target",), are_targets_needed=True)


def write_table(folder: Path, names: Sequence[str], *, name: str = "train.csv") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f'"{image}",{row % 2}' for row, image in enumerate(names)]
    (folder / name).write_text("\n".join(["image_name,target", *lines]) + "\n")


def opened(folder: Path, split: str = "train") -> Source:
    return open_source(SplitLocation(folder, split), WANTED, source="auto")


def colours(source: Source) -> list[tuple[int, ...]]:
    return [tuple(source.read(row)[0, 0].tolist()) for row in range(len(source.table()))]


def remark(source: Source) -> Remark:
    (one,) = source.table().remarks
    return one


def refusal(source: Source, row: int = 0) -> str:
    with pytest.raises(UserError) as caught:
        source.read(row)
    assert caught.value.kind == "unreadable_image"
    return str(caught.value)


@pytest.mark.parametrize(
    ("folder", "written"),
    [
        ("train", "train/p{}.png"),
        ("train", "./train/p{}"),
        ("train", "{folder}/train/p{}.png"),  # on this machine
        ("images/x", "images/x/p{}.png"),
        ("train_jpg", "p{}"),
    ],
)
def test_paths_seen_from_the_table_are_literal(tmp_path, folder, written):
    names = [written.format(number, folder=tmp_path) for number in range(4)]
    for number in range(4):
        write_png(tmp_path / folder / f"p{number}.png", f"p{number}")
    write_table(tmp_path, names)
    source = opened(tmp_path)
    assert colours(source) == [colour_of(f"p{number}") for number in range(4)]
    assert source.table().remarks == () and source.table().strays == ()
    assert source.table().name_S.tolist() == names


def test_paths_of_another_machine_are_found_in_any_format_and_said_once(tmp_path):
    for number in range(4):
        write_png(tmp_path / "pictures" / f"p{number}.png", f"p{number}")
    names = [f"/mnt/disk/{number}/p{number}.png" for number in range(4)]
    labels = list(enumerate(names))
    tables = {
        "train.csv": "image_name,target\n" + "".join(f"{name},{row % 2}\n" for row, name in labels),
        "train.lst": "".join(f"{row}\t{row % 2}\t{name}\n" for row, name in labels),
        "train.manifest": "".join(json.dumps({"source-ref": f"s3:/{n}", "target": r % 2}) + "\n" for r, n in labels),
    }
    for table, text in tables.items():
        (tmp_path / table).write_text(text)
        source = opened(tmp_path)
        assert colours(source) == [colour_of(f"p{number}") for number in range(4)], table
        assert "4 of 4 images found by the last part of their path: '" in remark(source).what
        assert remark(source).level == "note" and remark(source).name == "images_by_other_names"
        (tmp_path / table).unlink()


def test_images_beside_a_folder_called_as_the_table_are_found(tmp_path):
    write_png(tmp_path / "train" / "thumbnail.png", "p9")
    write_png(tmp_path / "images" / "p1.png", "p1")
    write_png(tmp_path / "images" / "p2.png", "p2")
    write_table(tmp_path, ["p1", "p2"])
    assert colours(opened(tmp_path)) == [colour_of("p1"), colour_of("p2")]


def test_images_beside_the_folder_of_their_table_are_found(tmp_path):
    write_png(tmp_path / "images" / "NEL" / "p1.png", "p1")
    write_png(tmp_path / "images" / "NEL" / "p2.png", "p2")
    write_table(tmp_path / "meta", ["NEL/p1.png", "../images/NEL/p2.png"])
    assert colours(opened(tmp_path)) == [colour_of("p1"), colour_of("p2")]


def test_a_training_row_gets_no_image_of_the_test_sets_folder(tmp_path):
    write_png(tmp_path / "train" / "p1.png", "p1")
    write_png(tmp_path / "test" / "p2.png", "p2")
    write_table(tmp_path, ["p1", "p2"])
    write_table(tmp_path, ["p2"], name="test.csv")
    assert "image not found" in refusal(opened(tmp_path), 1)


def test_several_rules_are_a_warning(tmp_path):
    for name in ("p1.png", "P2.png", "sub/p3.jpg"):
        write_png(tmp_path / "train" / name, name.rpartition("/")[2])
    write_table(tmp_path, ["p1.png", "p2.png", "p3.png"])
    source = opened(tmp_path)
    assert colours(source) == [colour_of("1"), colour_of("2"), colour_of("3")]
    assert remark(source).level == "warning" and remark(source).what.count("1 of 3 images found") == 2


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["p1", "p1.png"], "2 rows fit one image, 'p1', 'p1.png'"),
        (["/a/p1.png", "/b/p1.png"], "2 rows fit one image, '/a/p1.png', '/b/p1.png'"),
        (["/a/p2.png", "p1"], r"'/a/p2.png' fits 2 files .*x/p2\.png.*y/p2\.png.*Write the path below"),
    ],
)
def test_rows_and_images_that_cannot_be_told_apart_are_refused_with_all_of_them(tmp_path, names, words):
    for name in ("p1.png", "x/p2.png", "y/p2.png"):
        write_png(tmp_path / "train" / name, name[-6:])
    write_table(tmp_path, names)
    with pytest.raises(UserError, match=words):
        opened(tmp_path)


MISSING = {
    "nothing alike": (["a", "b"], ["p1.png"], "1 image there has no row: p1.png. Add the files, or correct the names."),
    "no strays": (["p1", "b"], ["p1.png"], "Every image there has a row. Add the files, or correct the names."),
    "no images": (["p1", "b"], [], "There are no images at all. Add the files, or correct the names."),
    "rounded": (["1.2E+12", "1.3E+12"], ["1234567890123.png"], "A spreadsheet has rounded the names, such as 1.2E+12"),
    "leads out": (["../../x/p1.png"], ["p1.png"], "A path such as ../../x/p1.png leads out of the folder"),
    "longer": (["IC_01", "IC_02"], ["IC_01_small.png", "IC_02_small.png"], "'IC_01' may be IC_01_small.png"),
    "shorter": (["set1_IC_01", "set1_IC_02"], ["IC_01.png", "IC_02.png"], "'set1_IC_01' may be IC_01.png"),
    "no image": (["v1", "v2"], ["v1.nii.gz", "v2.nii.gz"], "Files such as v1.nii.gz are no images that can be read"),
    "contradicted": (
        ["i/p1.png", "p2.jpg"],
        ["i/p1.png", "j/p1.png", "k/p2.png"],
        "'p2.jpg' may be k/p2.png, with another ending, but that is not certain",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_compared_with_what_has_no_row(tmp_path, case):
    names, files, words = MISSING[case]
    for number, file in enumerate(files):
        write_png(tmp_path / "train" / file, f"p{number}")
    write_table(tmp_path, names)
    said = refusal(opened(tmp_path), len(names) - 1)
    assert words in said and f"image not found below {tmp_path}" in said


def test_dicom_without_ending_is_found_and_its_headers_fill_columns(tmp_path):
    for number in range(2):
        path = tmp_path / "train" / f"1.2.840.{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(dicom_file(PatientID=f"P{number}", PatientAge="045Y"))
    write_table(tmp_path, ["1.2.840.0", "1.2.840.1"])
    columns = Columns(targets=("target",), group="patient_id", is_group_needed=True)
    source = open_source(SplitLocation(tmp_path, "train"), columns, source="auto")
    assert source.table().group_S.tolist() == ["P0", "P1"] and source.read(1).shape == (4, 4, 3)
    assert source.table().metadata["age_approx"].tolist() == ["45.0", "45.0"]


def test_class_folders_hold_images_of_any_ending(tmp_path):
    for number, name in enumerate(("mel/1.jfif", "mel/2", "nv/3.jpg", "nv/4.image")):
        write_png(tmp_path / name, f"p{number}")
    (tmp_path / "nv" / "notes").write_text("no image")
    assert opened(tmp_path).table().name_S.tolist() == ["mel/1.jfif", "mel/2", "nv/3.jpg", "nv/4.image"]


def test_an_image_that_gzip_packed_is_read_and_other_packed_files_are_named(tmp_path):
    for number in range(2):
        write_png(tmp_path / "train" / f"p{number}.png", f"p{number}")
        packed = tmp_path / "train" / f"p{number}.png"
        packed.with_name(f"p{number}.png.gz").write_bytes(gzip.compress(packed.read_bytes()))
    (tmp_path / "train" / "p1.png").unlink()
    write_table(tmp_path, ["p0.png", "p1"])
    source = opened(tmp_path)
    assert colours(source) == [colour_of("p0"), colour_of("p1")] and source.table().strays == ()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "camelyonpatch_level_2_split_train_x.h5.gz").write_bytes(gzip.compress(b"\x89HDF\r\n\x1a\n"))
    with pytest.raises(UserError, match=r"no train set found.*Unpack camelyonpatch_level_2_split_train_x\.h5\.gz"):
        opened(alone)
