"""Sample keys: members of a shard become samples by their names, and none is lost without a word."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.channels import open_channels
from lesion.data.sources.sample_keys import keys_of
from lesion.data.table import Columns
from sources import png_of

CASES = {
    "plain": ("a.png a.json b.png b.json", "a a b b"),
    "a folder with dots": ("x.y/a.png x.y/a.json", "x.y/a x.y/a"),
    "a key with a dot": ("s1_2.5x.png s1_2.5x.json s2.png s2.cls", "s1_2.5x s1_2.5x s2 s2"),
    "keys that differ after the dot": ("s_2.5x.png s_2.5x.cls s_2.0x.png s_2.0x.cls", "s_2.5x s_2.5x s_2.0x s_2.0x"),
    "pictures alone": ("s_2.5x.png s_2.0x.png", "s_2.5x s_2.0x"),
    "input and target": ("7.input.png 7.target.cls", "7 7"),
    "input, mask and target": ("7.input.png 7.target.png 7.output.cls", "7 - 7"),
    "a mask beside": ("a.png a.json a.seg.png", "a a -"),
    "a mask beside a picture alone": ("a.png a.seg.png", "a -"),
    "two pictures of one class": ("a.left.png a.right.png a.cls", "a a a"),  # refused as two files of one kind
}


@pytest.mark.parametrize("case", CASES)
def test_members_become_samples(case):
    members, keys = (text.split() for text in CASES[case])
    found = keys_of({path: path.endswith(".png") for path in members})
    assert [found[path] or "-" for path in members] == keys


endings = st.sampled_from([".png", ".json", ".cls", ".2.5x.png", ".2.5x.json", ".seg.png", ".input.png", ".target.cls"])


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "x/a"]), endings), unique=True))
def test_each_member_has_a_key_of_its_own_name_or_is_left_out(names):
    paths = {stem + ending: ending.endswith("png") for stem, ending in names}
    found = keys_of(paths)
    assert found.keys() == paths.keys()
    for path, key in found.items():
        assert key is None or path.startswith(f"{key}.")
        if key is None:  # then its sample has a picture without it
            assert any(other.startswith(path.partition(".")[0]) and paths[other] for other in paths if other != path)


def write_shard(path: Path, members: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, (name, text) in enumerate(members.items()):
            content = png_of(str(number)) if name.endswith("png") else text.encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def opened(folder: Path):
    wanted = Columns(targets=("target",), are_targets_needed=True)
    sets = open_channels({"training": folder}, wanted)
    assert not sets.problems
    return sets.training.table()


def test_members_that_no_sample_took_are_counted(tmp_path):
    members = {f"{key}.{ending}": key for key in "ab" for ending in ("png", "cls", "txt", "seg.png")}
    write_shard(tmp_path / "train.tar", members)
    (remark,) = opened(tmp_path).remarks
    assert remark.name == "members_not_read" and remark.level == "warning"
    assert "4 members of the shards are not read: 2 .txt, 2 .seg.png, such as a.txt" in remark.what


def test_keys_that_repeat_from_shard_to_shard_get_the_shards_name(tmp_path):
    for shard in range(2):
        write_shard(tmp_path / f"train-{shard}.tar", {"0.png": "", "0.cls": f"c{shard}", "1.png": "", "1.cls": "x"})
    table = opened(tmp_path)
    assert table.name_S.tolist() == ["train-0/0", "train-0/1", "train-1/0", "train-1/1"]
    assert table.targets["target"].tolist() == ["c0", "x", "c1", "x"]
    assert table.remarks[0].what.startswith("2 keys are in several shards")


def test_names_that_the_json_gives_stay(tmp_path):
    for shard in range(2):
        row = json.dumps({"image_name": f"IMG_{shard}", "target": "x"})
        write_shard(tmp_path / f"train-{shard}.tar", {"0.png": "", "0.json": row})
    assert opened(tmp_path).name_S.tolist() == ["IMG_0", "IMG_1"]


def test_two_pictures_of_one_sample_are_refused_by_its_key(tmp_path):
    write_shard(tmp_path / "train.tar", {"a.left.png": "", "a.right.png": "", "a.cls": "x"})
    problems = open_channels({"training": tmp_path}, Columns(targets=("target",), are_targets_needed=True)).problems
    assert "the sample 'a' has two files of one kind" in str(problems[0])
