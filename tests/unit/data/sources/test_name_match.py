"""Name match: a name means the file that is called so, or the only one that fits, and never one of two."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.sources.name_match import Matches, match_names, words_of

NFC, NFD = unicodedata.normalize("NFC", "Läsion_é"), unicodedata.normalize("NFD", "Läsion_é")


def match(names: list[str], files: list[str], **seen_from: str) -> Matches:
    return match_names(names, files, folder="/set", **seen_from)


def found(names: list[str], files: list[str], **seen_from: str) -> list[str | None]:
    return [None if file is None else files[file] for file in match(names, files, **seen_from).files]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "a.png"),
        ("a.png", "deep/er/a.png"),
        ("deep/a", "deep/a.JPG"),
        ("./deep//a.png", "deep/a.png"),
        ("/set/deep/a.png", "deep/a.png"),
        ("a", "a"),
        ("1.2.840.7", "1.2.840.7"),
        ("a", "a.dcm.gz"),
        (r"odd\name.png", r"odd\name.png"),
    ],
)
def test_a_file_that_is_called_so_is_found_without_a_word(name, file):
    files = [file, "other.png"]
    assert found([name], files) == [file]
    assert words_of(match([name], files), [name], files) == []


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("/data/of/another/machine/a.jpg", "images/a.jpg", "by the last part of their path"),
        ("/data/images/a.jpg", "images/a.jpg", "by the last 2 parts of their path"),
        ("s3://bucket/x/images/a.jpg", "images/a.jpg", "by the last 2 parts of their path"),
        ("gs://bucket/a.jpg", "a.jpg", "by the last part of their path"),
        ("https://host/images/a%20b.jpg?sig=x/y#z", "images/a b.jpg", "by the last 2 parts of their path"),
        ("file:///home/me/a.jpg", "a.jpg", "by the last part of their path"),
        (r"C:\Users\me\images\a.jpg", "images/a.jpg", "by the last 2 parts of their path"),
        (r"\\server\share\a.jpg", "a.jpg", "by the last part of their path"),
        (r"images\a.jpg", "images/a.jpg", "by a path that is written in another way"),
        ("NEL/a.jpg", "images/NEL/a.jpg", "in a deeper folder"),
        (NFC, f"{NFD}.jpg", "in another Unicode form"),
        (f"{NFD}.jpg", f"{NFC}.jpg", "in another Unicode form"),
        ("a%20b.jpg", "a b.jpg", "as web addresses or HTML write them"),
        ("a b.jpg", "a%20b.jpg", "as web addresses or HTML write them"),
        ("a%2520b", "a b.jpg", "as web addresses or HTML write them"),
        ("L%C3%A9sion.jpg", "Lésion.jpg", "as web addresses or HTML write them"),
        ("L%c3%a9sion", "deep/Le\u0301sion.png", "as web addresses or HTML write them"),
        ("L%E9sion.jpg", "Lésion.jpg", "as web addresses or HTML write them"),
        ("a &amp; b.jpg", "a & b.jpg", "as web addresses or HTML write them"),
        ("L&eacute;sion.jpg", "Lésion.jpg", "as web addresses or HTML write them"),
        ("it&#39;s.jpg", "it's.jpg", "as web addresses or HTML write them"),
        ("a.jpg?raw=true", "a.jpg", "as web addresses or HTML write them"),
        ("x/a.jpg?path=/b/c.jpg&amp;v=1", "x/a.jpg", "as web addresses or HTML write them"),
        (
            "s3://bucket/a%20b.jpg?versionId=1",
            "a b.jpg",
            "by the last part of their path and as web addresses or HTML write them",
        ),
        ("New%20Folder/a.jpg", "New Folder/a.jpg", "as web addresses or HTML write them"),
        ("deep%2Fa.jpg", "deep/a.jpg", "by a path that is written in another way"),
        ("deep&#x2F;a.jpg", "deep/a.jpg", "by a path that is written in another way"),
        ("//host//share//a.jpg", "a.jpg", "by the last part of their path"),
        ("a.jpeg?x=1", "a.png", "with another ending"),
        ("A%20B.JPEG", "a b.jpg", "with another ending, whatever their capitals"),
        ("x.jpg", "X.JPG", "whatever their capitals"),
        ("IMG_1", "img_1.jpg", "whatever their capitals"),
        ("x.jpg", "x.png", "with another ending"),
        ("x.dcm", "images/x.png", "with another ending"),
        ("x", "x.img", "with another ending"),
        ("IMG.PNG", "img.tif", "with another ending, whatever their capitals"),
        ("7", "00007.jpg", "as numbers, whatever zeros they begin with"),
        ("7.0", "00007.jpg", "as numbers, whatever zeros they begin with"),
        ("7.0", "7.jpg", "as numbers, whatever zeros they begin with"),
        ("7.jpg", "sub/0007.png", "as numbers, whatever zeros they begin with"),
        ("0", "000.jpg", "as numbers, whatever zeros they begin with"),
        (
            r"D:\old\IMG_1.BMP",
            "img_1.png",
            "by the last part of their path and with another ending, whatever their capitals",
        ),
    ],
)
def test_a_name_that_no_file_is_called_is_found_where_one_file_alone_fits_and_that_is_said(name, file, words):
    files = ["other/else.jpg", file]
    assert found([name], files) == [file]
    assert words_of(match([name], files), [name], files) == [f"1 of 1 images found {words}: '{name}' is {file}"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("1.2.840", "1.2.840.7"),  # the end of a DICOM identifier is no ending
        ("slide1", "slide1.v2"),
        ("photo.v2", "photo.jpg"),
        ("a", "ab.jpg"),
        ("IMG_7", "IMG_007.jpg"),  # no spreadsheet takes that for a number
        ("../a.jpg", "a.jpg"),
        ("x/../../a.jpg", "a.jpg"),
        (r"..\..\a.jpg", "a.jpg"),
        ("/", "a.jpg"),
        ("1e5", "100000.jpg"),
    ],
)
def test_what_only_looks_alike_is_not_found(name, file):
    assert found([name], [file]) == [None]


def test_encoded_folders_tell_namesakes_apart():
    files = ["New Folder/a.jpg", "Other Folder/a.jpg"]
    assert found(["New%20Folder/a.jpg", "Other%20Folder/a.jpg"], files) == files


def test_a_name_that_is_encoded_and_fits_two_files_is_in_doubt():
    assert match(["a%20b.jpg"], ["x/a b.jpg", "y/a b.jpg"]).doubtful == {0: (0, 1)}
    assert found(["a%20b.jpg", "a b.jpg"], ["a b.jpg"]) == [None, "a b.jpg"]  # the other name is the file's own
    assert found(["a%20b.jpg", "a b.jpg"], ["a%20b.jpg", "a b.jpg"]) == ["a%20b.jpg", "a b.jpg"]
    assert found(["what?.jpg", "100%.jpg"], ["x/what?.jpg", "x/100%.jpg"]) == ["x/what?.jpg", "x/100%.jpg"]


def test_names_are_seen_from_the_tables_folder_too():
    files = ["x.jpg", "deep/y.jpg"]
    names = ["train/x.jpg", "train/deep/y"]
    assert found(names, files) == files  # by a weaker rule
    matches = match_names(names, files, folder="/set/train", origin="/set")
    assert matches.files == [0, 1] and not matches.rules
    beside = match_names(["../images/z.jpg"], ["images/z.jpg"], folder="/set", origin="/set/meta")
    assert beside.files == [0] and not beside.rules


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("a", ["a.png", "a.bmp"]),
        ("a", ["x/a.png", "y/a.png"]),
        ("/data/a.png", ["x/a.png", "y/a.png"]),
        ("/data/a.png", ["a.png", "old/a.png"]),
        ("x.gif", ["x.jpg", "x.png"]),
        ("x.jpg", ["X.jpg", "x.JPG"]),
        ("7", ["07.jpg", "007.jpg"]),
        (f"{NFC}.jpg", [f"a/{NFD}.jpg", f"b/{NFD}.jpg"]),
    ],
)
def test_a_name_that_fits_two_files_is_found_in_neither(name, files):
    matches = match([name], files)
    assert matches.files == [None] and matches.doubtful == {0: (0, 1)}


def test_as_many_parts_of_a_path_count_as_tell_files_apart():
    files = ["p1/s1/v.jpg", "p2/s1/v.jpg", "p2/s2/v.jpg"]
    assert found([f"/mnt/set/{file}" for file in files], files) == files


@pytest.mark.parametrize(
    "names", [["a/1.jpg", "b/1.jpg"], ["/x/1.jpg", "/y/1.jpg"], ["1", "1.0"], ["1", "1.jpg"], ["1.png", "1.gif"]]
)
def test_two_names_never_share_a_file(names):
    matches = match(names, ["1.jpg"])
    assert len(set(matches.files)) == 2 or matches.shared == {0: [0, 1]}
    if not matches.shared:  # one is called so, and the other is missing
        assert sorted(matches.files, key=str) == [0, None] and not matches.rules


def test_a_rule_that_contradicts_the_names_that_are_found_finds_nothing():
    # A folder tells patients apart: the row of a patient who is not there gets no other's image.
    files = ["p1/v.jpg", "p2/v.jpg", "strays/v.jpg"]
    assert found(["p1/v.jpg", "p2/v.jpg", "p3/v.jpg"], files) == ["p1/v.jpg", "p2/v.jpg", None]
    # Masks lie beside the images: a row without its image does not get its mask.
    files = ["images/a.jpg", "masks/a.png", "masks/b.png"]
    assert found(["a.jpg", "b.jpg"], files) == ["images/a.jpg", None]
    # The same under a folder of another machine.
    files = ["set/p1/v.jpg", "set/p2/v.jpg", "strays/v.jpg"]
    names = [f"/mnt/set/p{patient}/v.jpg" for patient in (1, 2, 3)]
    assert found(names, files) == ["set/p1/v.jpg", "set/p2/v.jpg", None]


def test_several_rules_are_counted():
    names, files = ["a.jpg", "b.jpg", "c.jpg"], ["a.jpg", "B.jpg", "c.png"]
    assert found(names, files) == files
    assert words_of(match(names, files), names, files) == [
        "1 of 3 images found whatever their capitals: 'b.jpg' is B.jpg",
        "1 of 3 images found with another ending: 'c.jpg' is c.png",
    ]


# Few letters and many capitals, zeros and endings, so that files resemble one another.
parts = st.text("aA01é", min_size=1, max_size=2).flatmap(
    lambda text: st.sampled_from([text, unicodedata.normalize("NFD", text)])
)
endings = st.sampled_from(["", ".jpg", ".JPG", ".png", ".img"])
paths = st.builds(
    lambda folders, name, ending: "/".join([*folders, name]) + ending, st.lists(parts, max_size=2), parts, endings
)
trees = st.lists(paths, min_size=1, max_size=12, unique=True)
prefixes = st.sampled_from(["", "/data/", "s3://bucket/", "C:\\x\\", "0/"])


@given(files=trees, names=st.lists(paths, max_size=6, unique=True), data=st.data())
def test_a_whole_path_is_always_its_own_file_whatever_else_is_there(files, names, data):
    literal = data.draw(st.lists(st.sampled_from(files), min_size=1, unique=True))
    others = [name for name in names if name not in literal]
    assert found([*literal, *others], files)[: len(literal)] == literal


@given(files=trees, names=st.lists(st.builds("{}{}".format, prefixes, paths), min_size=1, max_size=6, unique=True))
def test_a_file_is_never_one_of_two_that_fit_nor_anothers(files, names):
    matches = match(names, files)
    given = [file for place, file in enumerate(matches.files) if file is not None and file not in matches.shared]
    assert len(set(given)) == len(given)
    for place, rule in matches.rules.items():
        last = names[place].replace("\\", "/").split("/")[-rule.num_parts :]
        fitting = [file for file in files if ends_as(file.split("/")[-rule.num_parts :], last, rule.words)]
        assert fitting == [files[matches.files[place]]]


def ends_as(path: list[str], last: list[str], words: str) -> bool:
    """Whether a file's path ends as a name does, by a plain reading of the words of a rule."""

    def plain(text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        return unicodedata.normalize("NFC", text.casefold()) if "capitals" in words or "numbers" in words else text

    if len(path) < len(last) or list(map(plain, path[:-1])) != list(map(plain, last[:-1])):
        return False
    (root, dot, ending), (name, _, of_name) = path[-1].rpartition("."), last[-1].rpartition(".")
    known = {"jpg", "png"}
    bare = root if dot else path[-1]
    name = name if of_name.lower() in known else last[-1]
    if "numbers" in words:
        return bare.isdecimal() and name.isdecimal() and int(bare) == int(name)
    if "ending" in words:
        return plain(bare) == plain(name)
    stem = root if ending.lower() in known else path[-1]
    return plain(last[-1]) in {plain(path[-1]), plain(stem)}
