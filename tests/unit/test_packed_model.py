"""Packed model: the folder of an artifact, whether it is packed or not, and nothing outside of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from lesion.errors import UserError
from lesion.packed_model import unpacked


def packed(path: Path, name: str = "manifest.json") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    return path


def test_a_folder_is_itself_and_an_archive_lies_unpacked_for_as_long_as_it_is_needed(tmp_path):
    (tmp_path / "model").mkdir()
    with unpacked(tmp_path / "model") as folder:
        assert folder == tmp_path / "model"
    archive = packed(tmp_path / "mounted/model.tar.gz")
    for place in (archive, archive.parent):  # a Processing job mounts the archive in a folder
        with unpacked(place) as folder:
            assert (folder / "manifest.json").read_text() == "{}"
        assert not folder.exists()
    (archive.parent / "manifest.json").write_text("an artifact beside its archive")
    with unpacked(archive.parent) as folder:
        assert folder == archive.parent


@pytest.mark.parametrize("kind", ["no archive", "cut off", "outside", "link"])
def test_what_cannot_be_unpacked_is_refused(tmp_path, kind):
    archive = packed(tmp_path / "model.tar.gz", "../outside.json" if kind == "outside" else "manifest.json")
    if kind == "no archive":
        archive.write_bytes(b"no archive")
    if kind == "link":
        with tarfile.open(archive, "w:gz") as tar:
            member = tarfile.TarInfo("manifest.json")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(member)
    if kind == "cut off":
        archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(UserError, match="not an archive that can be unpacked"), unpacked(archive):
        pass
    assert not (tmp_path.parent / "outside.json").exists()
