"""Fold advice: deals rows into folds, or says why that cannot be done and which settings can.

Causes are told apart, since each has its own remedy: no split can divide one group, or a class that is in one group
only. A setting is advised only if it was tried on these rows and gave folds that can be trained on.
"""

# S samples · F folds

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lesion.data.folds import Classes, Folds, assign_folds, lacking
from lesion.data.labels.typos import Typo
from lesion.errors import UserError
from lesion.words import listed

LOG_LOSS = "metric=log_loss, which does not need every class in validation"
ENSEMBLE = "final_model=ensemble, which holds no rows back"


@dataclass(frozen=True)
class Divided:
    """The rows that are divided into folds, and what each fold must have of them."""

    name_S: NDArray[np.str_]
    group_S: NDArray[np.str_] | None
    class_S: NDArray[np.intp]  # by which stratified splits balance
    learned: Classes  # each fold's training rows need one of each
    judged: Classes  # and its validation rows; none, where the metric is defined without
    where: str  # the table
    columns: str  # its target columns
    typos: Mapping[str, Typo] = field(default_factory=dict)  # classes that are probably another one, misspelt
    can_share_groups: bool = True  # False: on_leak refuses a group on both sides of a fold

    @property
    def place(self) -> str:
        """Where the classes stand."""
        return f"{self.where}, column '{self.columns}'"

    def units(self, plan: Plan) -> tuple[NDArray[np.str_], str]:
        """What the plan keeps whole [S], and its word: the rows' groups, or the rows themselves."""
        if plan.keeps_groups and self.group_S is not None:
            return self.group_S, "group"
        return self.name_S, "row"


@dataclass(frozen=True)
class Plan:
    """How rows are dealt: by which splitter, into how many folds that are trained, how often.

    With `holds_back` there is one fold more, the last, whose rows are held back from all.
    """

    split: str
    folds: int
    repeats: int
    seed: int
    holds_back: bool = False

    @property
    def num_dealt(self) -> int:
        return self.folds + self.holds_back

    @property
    def keeps_groups(self) -> bool:
        return "group" in self.split


def deal_folds(rows: Divided, plan: Plan) -> Folds:
    """The validation masks [F, S]. Raises UserError with the cause and the settings with which it can be done."""
    try:
        valid_FS = _assigned(rows, plan)
        lacks = lacking(valid_FS, rows.learned, rows.judged, is_last_held_back=plan.holds_back)
        if not lacks:
            return valid_FS
        held_back = len(valid_FS) - 1 if plan.holds_back else None
        problems = [(name, _lack(rows, fold, side, name, held_back)) for fold, side, name in lacks]
    except UserError as error:
        problems = [("", error.what)]
    units_S, unit = rows.units(plan)
    units = np.unique(units_S).tolist()
    if unit == "group" and len(units) == 1:
        raise UserError(
            f"all {len(units_S)} rows are of one group, {units[0]}: if it is held out, no row is left to train on",
            where=rows.where,
            do=f"Correct the groups, or set group_column to another column{_if_apart(rows, plan)}.",
        )
    scarce = [_scarce(rows, plan, name) for name in {**rows.learned, **rows.judged}]
    causes = [one for one in scarce if one is not None and (problems[0][0] == "" or one.name in dict(problems))]
    hopeless = {one.name for one in causes if one.is_hopeless}
    said = [*(one.what for one in causes), *(what for name, what in problems if name not in hopeless)]
    remedies = _corrected(rows, [*(one.name for one in causes), *dict(problems)])
    remedies += dict.fromkeys(one.do for one in causes)
    if not remedies:
        remedies = [f"add {unit}s" if len(units) < plan.num_dealt else "correct the groups or targets"]
    do = "; ".join(remedies)
    if not hopeless and (ways := list(_ways(rows, plan))):
        do += f", or set {' or '.join(ways)}"
    where = rows.where if problems[0][0] == "" and not causes else rows.place
    raise UserError(listed(said, most=6, separator="; "), where=where, do=f"{do[0].upper()}{do[1:]}.")


@dataclass(frozen=True)
class Scarce:
    """A class that has too few groups, or rows, for the folds."""

    name: str
    what: str
    do: str
    is_hopeless: bool = True  # for every split that keeps these groups, and every metric


def _scarce(rows: Divided, plan: Plan, name: str) -> Scarce | None:
    """What is wrong with a class; None if each fold can have some of it."""
    is_class_S = {**rows.learned, **rows.judged}[name]
    units_S, unit = rows.units(plan)
    num_units, found = len(np.unique(units_S)), np.unique(units_S[is_class_S]).tolist()
    wanted = 2 + plan.holds_back if plan.split == "leave_one_group_out" else min(plan.num_dealt, num_units)
    if len(found) >= wanted:
        return None
    num, names = int(is_class_S.sum()), rows.name_S[is_class_S].tolist()
    leave = ", or leave the class out" if len(rows.learned) > 2 else ""
    if not num:
        there = [other for other, is_other_S in rows.learned.items() if is_other_S.any()]
        alone = f"all {len(is_class_S)} rows are of class {there[0]}, and " if len(there) == 1 else ""
        do = f"add rows of class {name}, correct the targets, or set target_column to another column"
        return Scarce(name, f"{alone}no row is of class {name}", do)
    if num == 1:
        what = f"class {_called(rows, name)} has 1 row only, {names[0]}"
        return Scarce(name, what, "correct the targets or leave these rows out")
    if len(found) == 1:
        what = f"all {num} rows of class {_called(rows, name)} are of one group, {found[0]}"
        what += ", so no split has the class on both sides"
        do = f"add rows of class {name} of another group{leave}, or correct the groups{_if_apart(rows, plan)}"
        return Scarce(name, what, do)
    what = f"class {_called(rows, name)} has {len(found)} {unit}s only, {listed(found)}"
    return Scarce(name, what, f"add {unit}s of class {name}{leave}", is_hopeless=False)


def refuse_given_folds(valid_FS: Folds, rows: Divided, plan: Plan | None) -> None:
    """Raises UserError where the folds of a column lack a class on a side, or where a validation set does.

    `plan` is how the rows would be dealt without that column; None: there is a validation set.
    """
    holds_back = plan is not None and plan.holds_back
    lacks = lacking(valid_FS, rows.learned, rows.judged, is_last_held_back=holds_back)
    if not lacks:
        return
    ways = []
    if rows.judged and not lacking(valid_FS, rows.learned, {}, is_last_held_back=holds_back):
        ways.append(LOG_LOSS)
    if holds_back and not lacking(valid_FS, rows.learned, rows.judged):
        ways.append(ENSEMBLE)
    if plan is None:
        problems = [f"the {side} set has no row of class {_called(rows, name)}" for _, side, name in lacks]
        do = "Give each of the two sets rows of each class"
    else:
        held_back = len(valid_FS) - 1 if holds_back else None
        problems = [_lack(rows, fold, side, name, held_back) for fold, side, name in lacks]
        do = "Correct the column of folds, or the targets"
        ways = [f"split={plan.split}", *ways] if _works(rows, plan) else ways
    if typos := _corrected(rows, [name for _, _, name in lacks]):
        do = f"{'; '.join(typos)[:1].upper()}{'; '.join(typos)[1:]}. {do}"
    do += f", or set {' or '.join(ways)}" if ways else ""
    raise UserError(listed(problems, most=6, separator="; "), where=rows.place, do=f"{do}.")


def _lack(rows: Divided, fold: int, side: str, name: str, held_back: int | None) -> str:
    """What a fold lacks; `held_back` is the fold that no network is trained on."""
    without = "" if held_back is None or side == "validation" else f" (fold {held_back} is held back from all)"
    return f"fold {fold} has no {side} row of class {_called(rows, name)}{without}"


def _called(rows: Divided, name: str) -> str:
    """The class, and which other one it probably is."""
    typo = rows.typos.get(name)
    return name if typo is None else f"{name} (probably '{typo.meant}', which {typo.num_meant} rows have)"


def _corrected(rows: Divided, names: Iterable[str]) -> list[str]:
    """What to do about the typos among some classes."""
    typos = [typo for name in dict.fromkeys(names) if (typo := rows.typos.get(name)) is not None]
    return [f"in the table {typo.remedy}" for typo in typos]


def _assigned(rows: Divided, plan: Plan) -> Folds:
    return assign_folds(
        rows.group_S,
        rows.class_S,
        plan.num_dealt,
        seed=plan.seed,
        split=plan.split,
        repeats=plan.repeats,
        name_S=rows.name_S,
    )


def _works(rows: Divided, plan: Plan) -> bool:
    try:
        return not lacking(_assigned(rows, plan), rows.learned, rows.judged, is_last_held_back=plan.holds_back)
    except UserError:
        return False


def _if_apart(rows: Divided, plan: Plan) -> str:
    """A split without groups as advice, where it is possible and would not be refused as a leak."""
    can = rows.can_share_groups and _works(rows, replace(plan, split="stratified_kfold"))
    return ", or set split=stratified_kfold if the images are of different patients" if can else ""


def _ways(rows: Divided, plan: Plan) -> Iterator[str]:
    """The settings with which these rows can be divided, the nearest first."""
    stratified = "stratified_group_kfold" if plan.keeps_groups else "stratified_kfold"
    others = ["group_kfold", stratified] if plan.split == "leave_one_group_out" else [stratified]
    found = next((split for split in others if split != plan.split and _works(rows, replace(plan, split=split))), None)
    if found is not None:
        yield f"split={found}"
    elif plan.split != "leave_one_group_out" and (fewer := _fewer(rows, plan)):
        yield f"folds={fewer}"
    else:
        for split in others:
            if fewer := _fewer(rows, replace(plan, split=split)):
                yield f"split={split} and folds={fewer}"
                break
    if rows.judged and _works(replace(rows, judged={}), plan):
        yield LOG_LOSS
    if plan.holds_back and _works(rows, replace(plan, holds_back=False)):
        yield ENSEMBLE


def _fewer(rows: Divided, plan: Plan) -> int | None:
    """The largest number of folds below the plan's that works."""
    units_S, _ = rows.units(plan)
    most = [len(np.unique(units_S))]
    most += [len(np.unique(units_S[is_class_S])) for is_class_S in rows.judged.values()]  # each fold needs one of them
    numbers = range(min(plan.folds - 1, *(number - plan.holds_back for number in most)), 1, -1)
    return next((number for number in numbers if _works(rows, replace(plan, folds=number))), None)
