"""Frames: which frames of a set's DICOM files are its pictures, as `dicom_frames` says, and how many are not read."""

# S samples

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from lesion.data.decode import dicom, images
from lesion.data.decode.dicom import Frame
from lesion.data.decode.images import FrameChoice
from lesion.data.decode.reading import (
    COPY_AGAIN,
    MAX_PICTURE_BYTES,
    check_regular,
    file_content,
    reading,
    unpacked_head,
)
from lesion.data.remark import Remark
from lesion.data.table import Readable, SampleTable, Source
from lesion.errors import UserError

HEAD_BYTES = 2**17  # in which most headers end; a whole file may have a gigabyte
OTHER_SUFFIXES = images.SUFFIXES - dicom.SUFFIXES


@runtime_checkable
class OfFiles(Protocol):
    """A source of which each picture is a file."""

    @property
    def paths(self) -> Sequence[Path | None]:
        """The file of each row; None where there is none."""
        ...


class FramesOf:
    """The pictures of `source` where files have one frame, and the frames of the others that `choice` names.

    `places` says of each picture its row in `source`, and its frame. A file is DICOM by its content, unless its ending
    is another picture's.
    """

    def __init__(self, source: Readable, paths: Sequence[Path | None], choice: FrameChoice) -> None:
        """Raises UserError for a file that states far too many frames, if all are to be read."""
        self._source, self._paths, self._choice = source, paths, choice
        self.counts = [_num_frames(path) for path in paths]
        for path, count in zip(paths, self.counts, strict=True):
            if choice == "all" and count > dicom.MAX_FRAMES:
                what = f"a DICOM file of {count:,} frames, of which up to {dicom.MAX_FRAMES:,} are read"
                raise UserError(what, where=path, do="Cut it, or set dicom_frames=middle.")
        self.places: list[tuple[int, Frame]] = [
            (row, frame)
            for row, count in enumerate(self.counts)
            for frame in (range(count) if choice == "all" else [choice])
        ]

    def read(self, index: int) -> images.Pixels:
        """One picture as uint8 RGB [H, W, 3]. Raises UserError that names the file."""
        row, frame = self.places[index]
        path = self._paths[row]
        return self._source.read(row) if path is None or self.counts[row] == 1 else images.read(path, frame=frame)

    def remark(self, where: str) -> Remark | None:
        """How many frames are not read; None if all are."""
        num_left = sum(self.counts) - len(self.places)
        if not num_left:
            return None
        what = (
            f"{sum(count > 1 for count in self.counts)} of {len(self.counts)} images are DICOM files of more than one "
            f"frame (up to {max(self.counts)}): the {self._choice} one of each is read, {num_left} frames are not"
        )
        return Remark("frames_not_read", what, "Set dicom_frames to first, middle or all.", where, level="warning")


def with_frames(source: Source, choice: FrameChoice) -> Source:
    """The same set with the frames that `choice` names: with "all", a row for each frame, called `NAME#NUMBER`.

    DICOM counts frames from 1. The frames of a file are one group, unless the table says theirs. What is not read is
    among the table's remarks.
    """
    table = source.table()
    if not isinstance(source, OfFiles):
        what = f"dicom_frames={choice} counts for files in folders: of a DICOM file in {table.where} the first is read"
        remark = None if choice == "first" else Remark("frames_not_read", what, level="warning")
        return source if remark is None else _Set(source, replace(table, remarks=(*table.remarks, remark)))
    frames = FramesOf(source, source.paths, choice)
    if max(frames.counts, default=1) == 1:
        return source
    if choice != "all":
        remark = frames.remark(table.where)
        assert remark is not None  # a file has more than one frame
        return _Set(frames, replace(table, remarks=(*table.remarks, remark)))
    rows = table.rows(np.array([row for row, _ in frames.places], dtype=np.intp))
    names = [
        f"{name}#{int(frame) + 1}" if frames.counts[row] > 1 else name
        for name, (row, frame) in zip(rows.name_S.tolist(), frames.places, strict=True)
    ]
    has_several_S = np.array([frames.counts[row] > 1 for row, _ in frames.places])
    is_own_S = None if rows.is_own_S is None else rows.is_own_S & ~has_several_S
    group_S, remarks = rows.group_S, rows.remarks
    if group_S is None:
        what = "the frames of a DICOM file are one group; which files are of the same patient is not known"
        do = "Set group_column if it is: else patients may be on both sides of a fold."
        group_S = rows.name_S
        remarks = (*remarks, Remark("files_as_groups", what, do, table.where, level="warning"))
    table = replace(rows, name_S=np.array(names), group_S=group_S, is_own_S=is_own_S, remarks=remarks)
    return _Set(frames, table)


class _Set:
    """Pictures under a table of their own."""

    def __init__(self, pictures: Readable, table: SampleTable) -> None:
        self._pictures, self._table = pictures, table

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        return self._pictures.read(index)


def _num_frames(path: Path | None) -> int:
    """How many frames a file holds; 1 for a file that is not DICOM, or that cannot be read: reading it says why."""
    if path is None or path.suffix.lower() in OTHER_SUFFIXES:
        return 1
    try:
        check_regular(path)
        with reading(path, "the file cannot be read", do=COPY_AGAIN), path.open("rb") as file:
            head = unpacked_head(file.read(HEAD_BYTES), most=HEAD_BYTES)
        if not dicom.is_dicom(head):
            return 1
        with suppress(ValueError):  # the header is longer
            return dicom.frame_count(head)
        return dicom.frame_count(file_content(path, max_bytes=MAX_PICTURE_BYTES))
    except (UserError, ValueError):
        return 1
