"""Provenance: prepared.json records what a folder was made from, so that nothing else is written into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from lesion.data.decode.reading import COPY_AGAIN, check_regular, file_text, parse_json, reading
from lesion.errors import UserError
from lesion.files import PART, make_folder, write_atomic

NAME = "prepared.json"
VERSION = 1
HEAD_BYTES = 2**20


def write_provenance(output: Path, made_with: Mapping[str, object]) -> None:
    """Records `made_with` in an empty folder, or accepts a folder whose record is equal, to resume there.

    Raises UserError for a folder that was made from something else, saying what differs, and for one of other things.
    """
    make_folder(output)
    path = output / NAME
    words = json.loads(json.dumps({"version": VERSION, **made_with}))
    if path.exists():
        before = _read(path)
        if differing := [name for name in words | before if words.get(name) != before.get(name)]:
            raise UserError(
                f"the folder was made with a different {', '.join(differing)}",
                where=path,
                do="Choose another --output, or remove this folder.",
            )
    elif any(entry.name != NAME + PART for entry in output.iterdir()):  # that a kill may have left
        raise UserError(
            "the folder is not empty, and not of this command", where=output, do="Choose an empty or a new --output."
        )
    else:
        write_atomic(path, json.dumps(words, indent=1).encode())


def fingerprint(paths: Iterable[Path]) -> str:
    """A digest of files: of the size and first MiB of each, since reading slides of gigabytes would take minutes."""
    digest = hashlib.sha256()
    for path in paths:
        check_regular(path)
        with reading(path, "the file cannot be read", do=COPY_AGAIN), path.open("rb") as file:
            digest.update(f"{path.stat().st_size}\0".encode() + file.read(HEAD_BYTES))
    return digest.hexdigest()


def _read(path: Path) -> dict[str, object]:
    what, do = "not what `lesion prepare` writes", "Choose another --output."
    text = file_text(path, what, do=do)
    with reading(path, what, do=do):
        return dict(parse_json(text))
