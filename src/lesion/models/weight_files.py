"""Weight files: which file of the `pretrained` channel, or of a path, holds the weights; why others do not, and what to
do about it.

Only safetensors: loading runs no code.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lesion.errors import UserError
from lesion.words import listed, shortened

ENDING = ".safetensors"
PICKLES = {".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl", ".pickle", ".th"}
SHARD = re.compile(r"-\d{3,}-of-\d{3,}$")  # how the Hub's libraries name the parts of one large file
NOT_WEIGHTS = {"__MACOSX"}  # of macOS's zip files

HOW = "Give a `pretrained` channel with the model's .safetensors file, set pretrained to a path, or pretrained=false."


@dataclass(frozen=True)
class WeightsFile:
    """The file that pretrained weights were read from, as results tell it: no path of this machine, and the digest that
    `sha256sum` prints."""

    name: str
    sha256: str

    @classmethod
    def of(cls, path: Path, name: str) -> Self:
        with path.open("rb") as file:
            return cls(name, hashlib.file_digest(file, "sha256").hexdigest())

    def as_json(self) -> dict[str, str]:
        return {"file": self.name, "sha256": self.sha256}


def find_weights(pretrained: bool | str, channel: Path | None) -> Path | None:
    """The safetensors file to start from: the path given, else the channel's only file; None: from timm's hub.

    Hidden files and folders, such as `._weights.safetensors`, are no weights. Raises UserError that names what is there
    instead of one file.
    """
    if pretrained is False or (pretrained is True and channel is None):
        return None
    place = Path(pretrained) if isinstance(pretrained, str) else channel
    assert place is not None
    if not place.exists():
        if place is channel:
            raise _refused("the pretrained channel's folder does not exist", place, HOW)
        what = f"pretrained={shortened(str(pretrained), 80)}: no such file or folder exists"
        raise _refused(what, place.absolute(), "Correct the path, or set pretrained to true or false.")
    files = [place] if place.is_file() else _files(place)
    weights = [path for path in files if path.suffix.lower() == ENDING]
    if len(weights) == 1 and not SHARD.search(weights[0].stem):
        return weights[0]
    if weights and any(SHARD.search(path.stem) for path in weights):
        raise _refused(
            f"the weights are in parts, and one file is needed: {_names(weights, place)}", place, _how_to_join(weights)
        )
    if weights:
        do = "Leave one there, or set pretrained to the path of the one that is meant."
        what = f"{len(weights)} weight files found, and one is needed: {_names(weights, place)}"
        raise _refused(what, place, do)
    if pickles := [path for path in files if path.suffix.lower() in PICKLES]:
        what = f"{_names(pickles, place)}: only {ENDING} files are read, because others can run a program when read"
        raise _refused(what, place, _how_to_convert(pickles[0]))
    there = f"the files there are {_names(files, place)}" if files else "no file is there"
    raise _refused(f"no {ENDING} file was found: {there}", place, HOW)


def _files(folder: Path) -> list[Path]:
    """The files below a folder, without those that are hidden or in a hidden folder."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if not any(part.startswith(".") or part in NOT_WEIGHTS for part in path.relative_to(folder).parts)
        and path.is_file()
    ]


def _names(files: Sequence[Path], place: Path) -> str:
    return listed(
        [shortened(path.name if path == place else path.relative_to(place).as_posix(), 80) for path in files], most=3
    )


def _how_to_convert(path: Path) -> str:
    """A command that turns a pickle into safetensors. `weights_only` refuses programs, but has had holes."""
    return (
        'If you trust it, run in its folder, in an environment with torch and safetensors: python -c "import torch, '
        f"safetensors.torch as s; d = torch.load('{path.name}', map_location='cpu', weights_only=True); "
        "d = d.get('state_dict', d.get('model', d)); s.save_file({k: v.clone().contiguous() for k, v in d.items() "
        f"if torch.is_tensor(v)}}, '{path.stem}{ENDING}')\""
    )


def _how_to_join(parts: Sequence[Path]) -> str:
    """A command that makes one file of several parts."""
    start = SHARD.sub("", parts[0].stem)
    return (
        'Run in their folder: python -c "import glob, safetensors.torch as s; s.save_file({k: v for f in '
        f"sorted(glob.glob('{start}-*-of-*{ENDING}')) for k, v in s.load_file(f).items()}}, '{start}{ENDING}')\", and "
        f"leave only {start}{ENDING} there."
    )


def _refused(what: str, where: object, do: str) -> UserError:
    return UserError(what, where=where, do=do, kind="weights")
