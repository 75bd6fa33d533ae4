"""Channel names: what each channel of a job is read as, and what is said of one that nothing reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from lesion.data.remark import Remark
from lesion.data.sources.folders.set_names import is_in_doubt, set_of
from lesion.errors import UserError

CHANNEL_OF = {"train": "training", "validation": "validation", "test": "test"}  # by set
LISTS = "_lst"  # the ending of a channel with .lst files
LIST_OF = {"train": "train_lst", "validation": "validation_lst", "test": "test_lst"}
KNOWN = (*CHANNEL_OF.values(), *LIST_OF.values(), "pretrained")
ALIKE = 0.8  # of difflib: from there on a name is a misspelt one


@dataclass(frozen=True)
class ChannelNames:
    """The folder of each known channel that is there, what is said of the others, and what is wrong."""

    folders: dict[str, Path] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    problems: list[UserError] = field(default_factory=list)


def read_channel_names(channels: Mapping[str, Path]) -> ChannelNames:
    """What each channel is: `training`, or train, Training, training_set …; a name that is misspelt is a problem."""
    names = ChannelNames()
    taken: dict[str, str] = {}
    for name, folder in channels.items():
        known = name if name in KNOWN else _meant(name)
        if known is None:
            _say_unread(name, folder, names)
        elif known in taken:
            what = f"channels '{taken[known]}' and '{name}' are both {known}"
            names.problems.append(UserError(what, where=folder, do="Give one of them, or join them.", kind="channel"))
        else:
            taken[known], names.folders[known] = name, folder
            if name not in (known, "train"):  # README names both
                names.remarks.append(Remark("channel_name", f"channel '{name}' is read as {known}", where=str(folder)))
    return names


def training_is_missing(channels: Mapping[str, Path], folder: Path | None = None) -> UserError:
    """What is said where no channel is the training channel; `folder` is that of a job's channels."""
    present = ", ".join(sorted(channels)) or "none"
    do = "Give it the folder with the images and their table."
    where = f"channels present: {present}" if folder is None else f"{folder}; channels present: {present}"
    return UserError("channel 'training' is missing", where=where, do=do, kind="channel")


def _meant(name: str) -> str | None:
    """The channel that a name in another form is: "val", "Testing", "val_lst"."""
    split = set_of(name.removesuffix(LISTS))
    return None if split is None else (LIST_OF if name.endswith(LISTS) else CHANNEL_OF)[split]


def _say_unread(name: str, folder: Path, names: ChannelNames) -> None:
    near = get_close_matches(name.casefold(), KNOWN, 1, ALIKE)
    if near:
        what = f"channel '{name}' is not known; did you mean '{near[0]}'?"
        do = f"Rename it, or leave it out: the channels are {', '.join(KNOWN)}."
        names.problems.append(UserError(what, where=folder, do=do, kind="channel"))
        return
    do = f"The channels are {', '.join(KNOWN)}. Rename it if it is one of them."
    if is_in_doubt(name):
        do = "Call it validation or test, as it is meant."
    names.remarks.append(Remark("channel_not_read", f"channel '{name}' is not read", do, str(folder), "warning"))
