"""Compared runs: two models' predictions of labelled images, out of fold or of an evaluation, read from their files and
made one set of images and groups."""

# N rows of a table · S samples · Q outputs that are judged

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError
from lesion.words import listed, number_of, shortened

if TYPE_CHECKING:
    import pandas as pd

    from lesion.evaluation.judgement import Rows

# In a folder of results, of a job, of its output, of an evaluation.
PLACES = ("oof.csv", "output/data/oof.csv", "data/oof.csv", "predictions.csv")
PREFIX, JUDGED = "probability_", "judged_"
HALF = 0.5


@dataclass(frozen=True)
class Run:
    """A job's predictions, one row an image, in the order of the images' names."""

    path: Path
    name_S: NDArray[np.str_]
    unit: str  # what its groups are called
    rows: Rows
    threshold: str  # how its labels were made, in words


def read_run(path: Path) -> Run:
    """The predictions of a job's folder, of its output's, of an oof.csv, or of what `lesion evaluate` wrote. A row an
    image: the mean over folds that repeat it. Images that an evaluation could not answer are left out.
    """
    from lesion.data.sources.tables.csv_table import read_csv
    from lesion.evaluation.judgement import Rows

    table = path if path.is_file() else next((path / place for place in PLACES if (path / place).is_file()), None)
    if table is None:
        do = "Give a job's folder, its oof.csv, or a folder that `lesion evaluate` wrote."
        raise UserError("no predictions of labelled images", where=path, do=do)
    frame = _answered(read_csv(table), table)
    if "anomaly_score" in frame:
        raise UserError(
            "these are scores of anomaly detection, whose jobs are not compared: there is no probability of a class",
            where=table,
            do="Compare the ROC AUC and the false-positive rate in the jobs' metrics.json, with their intervals.",
        )
    classes = [name.removeprefix(PREFIX) for name in map(str, frame.columns) if name.startswith(PREFIX)]
    is_binary = "probability" in frame
    needed = {"group"} | ({"target"} if is_binary or f"target_{next(iter(classes), '')}" not in frame else set())
    if not (is_binary or classes) or not needed <= set(frame):
        raise UserError(
            "no table of out-of-fold predictions: it needs an image column, group, target and probability",
            where=table,
            do="Give the oof.csv that training wrote.",
        )
    image_column = str(frame.columns[0])
    frame = frame.sort_values(image_column, kind="stable")
    name_S, start_S = np.unique(frame[image_column].to_numpy(dtype=str), return_index=True)
    names = [_positive_class(table)] if is_binary else classes
    is_multiclass = not is_binary and "target" in frame
    target_NQ = _targets(frame, names, table, is_multiclass=is_multiclass)
    columns = ["probability"] if is_binary else [PREFIX + name for name in names]
    judged = [JUDGED + name for name in columns]  # of the epochs that others chose; earlier versions had none
    prob_NQ = _numbers(frame, judged if set(judged) <= set(frame) else columns, table)
    index_N = np.repeat(np.arange(len(name_S)), np.diff(start_S, append=len(frame)))
    group_N = frame["group"].to_numpy(dtype=str)
    for what, value_NX in (("targets", target_NQ), ("groups", group_N[:, None])):
        if (is_unlike_N := (value_NX != value_NX[start_S][index_N]).any(axis=1)).any():
            unlike = listed(name_S[np.unique(index_N[is_unlike_N])].tolist())
            raise UserError(f"an image has several {what}: {unlike}", where=table, do="Give a job's oof.csv.")
    _refuse_copied_rows(frame, image_column, table)
    raw = [f"{JUDGED}raw_{name}" for name in columns]  # before calibration: what rows are ranked by
    score_NQ = _numbers(frame, raw, table) if set(raw) <= set(frame) else None
    times_S = np.bincount(index_N)
    prob_SQ = np.stack([np.bincount(index_N, prob_N) / times_S for prob_N in prob_NQ.T], axis=1)
    label_SQ, threshold = _labels(prob_SQ, table, is_multiclass=is_multiclass)
    positive = [JUDGED + ("positive" if is_binary else f"positive_{name}") for name in names]
    if set(positive) <= set(frame):
        label_SQ = _numbers(frame, positive, table)[start_S] == 1
        threshold = "as served" if "error" in frame else "as other groups chose"  # of an evaluation; out of fold
    score_SQ = None if score_NQ is None else score_NQ[start_S]
    rows = Rows(target_NQ[start_S], prob_SQ, group_N[start_S], names, is_multiclass, label_SQ, score_SQ=score_SQ)
    return Run(table, name_S, str(_summary(table).get("unit") or "group"), rows, threshold)


def refuse_unlike(a: Run, b: Run) -> None:
    """Raises UserError unless both hold the same images, with the same targets and classes."""
    places = f"{a.path} and {b.path}"
    if list(a.rows.name_Q) != list(b.rows.name_Q) or a.rows.is_multiclass != b.rows.is_multiclass:
        said = " and ".join(f"({listed(list(run.rows.name_Q))})" for run in (a, b))
        raise UserError(
            f"the runs answer other questions: {said}", where=places, do="Compare runs with the same classes."
        )
    only_a, only_b = np.setdiff1d(a.name_S, b.name_S), np.setdiff1d(b.name_S, a.name_S)
    if len(only_a) or len(only_b):
        parts = [
            f"{number_of(len(only), 'image')} only in {side} ({listed(list(only), most=3)})"
            for side, only in (("A", only_a), ("B", only_b))
            if len(only)
        ]
        shared = len(np.intersect1d(a.name_S, b.name_S))
        raise UserError(
            f"the runs held out different images: {'; '.join(parts)}; {shared} in both",
            where=places,
            do="Compare runs of the same table.",
        )
    unlike_S = (a.rows.target_SQ != b.rows.target_SQ).any(axis=1)
    if unlike_S.any():
        raise UserError(
            f"{number_of(int(unlike_S.sum()), 'image')} with different targets: {listed(list(a.name_S[unlike_S]))}",
            where=places,
            do="Compare runs of the same table.",
        )


def grouped_alike(a: Run, b: Run) -> tuple[Run, Run, str]:
    """Both runs by the coarser of their groups, and in words what was chosen: nothing where they are the same.

    Raises UserError where neither run's groups each lie within one of the other's.
    """
    from lesion.evaluation.comparison import crossing_groups, lie_within

    does_a, does_b = (
        lie_within(*pair) for pair in ((a.rows.group_S, b.rows.group_S), (b.rows.group_S, a.rows.group_S))
    )
    if does_a and does_b:
        return a, b, ""
    if not does_a and not does_b:
        of_a, of_b = (
            f"{side}'s {shortened(group, 40)} has images of {listed([shortened(name, 40) for name in others], most=3)}"
            for side, (group, others) in (
                ("A", crossing_groups(a.rows.group_S, b.rows.group_S)),
                ("B", crossing_groups(b.rows.group_S, a.rows.group_S)),
            )
        )
        raise UserError(
            f"the groups of A ({a.unit}) and of B ({b.unit}) cross, so no interval is by either: {of_a}; {of_b}",
            where=f"column group of {a.path} and of {b.path}",
            do="Train both with the same group_column, or write the same groups into column group of both files.",
        )
    coarse, fine, side, other = (b, a, "B", "A") if does_a else (a, b, "A", "B")
    said = (
        f"The runs have different groups. Intervals are by those of {side} ({coarse.unit}): each of {other} lies "
        f"within one. {other}'s folds may have had one of {side}'s groups on both sides, which flatters {other}."
    )
    fine = replace(fine, unit=coarse.unit, rows=replace(fine.rows, group_S=coarse.rows.group_S))
    return (fine, coarse, said) if does_a else (coarse, fine, said)


def _answered(frame: pd.DataFrame, table: Path) -> pd.DataFrame:
    """Of an evaluation's rows those with an answer, each image a group of its own where the set has no groups."""
    if "error" not in frame:
        return frame
    frame = frame[frame["error"].isna()]
    if frame.empty:
        raise UserError("no image was answered", where=table, do="Its column error has the reason of each.")
    return frame if "group" in frame else frame.assign(group=frame.iloc[:, 0])


def _refuse_copied_rows(frame: pd.DataFrame, image_column: str, table: Path) -> None:
    """Raises UserError for an image in two rows, but for those of different folds: these are repeats."""
    key = [image_column, *(["fold"] if "fold" in frame else [])]
    copied = frame[image_column][frame.duplicated(key)].astype(str).unique().tolist()
    if copied:
        where_twice = "in more than one row of a fold" if "fold" in frame else "in more than one row"
        raise UserError(
            f"{number_of(len(copied), 'image')} {where_twice}: {listed(copied)}",
            where=table,
            do="Keep one row of each. Only repeated folds write an image several times, each with its own fold.",
        )


def _targets(frame: pd.DataFrame, names: list[str], table: Path, *, is_multiclass: bool) -> NDArray[np.float64]:
    if is_multiclass:
        found = np.stack([(frame["target"] == name).to_numpy() for name in names], axis=1).astype(np.float64)
        if not (found.sum(axis=1) == 1).all():
            unknown = sorted({str(word) for word in frame["target"][found.sum(axis=1) != 1]})
            raise UserError(
                f"targets without a probability: {listed(unknown)}", where=table, do="Give a job's oof.csv."
            )
        return found
    return _numbers(frame, ["target"] if "target" in frame else [f"target_{name}" for name in names], table)


def _numbers(frame: pd.DataFrame, columns: list[str], table: Path) -> NDArray[np.float64]:
    """The columns as numbers in 0 to 1. Raises UserError with the line of one that is none."""
    try:
        found = frame[columns].astype(float).to_numpy()
    except (KeyError, ValueError) as error:
        raise UserError(f"not numbers: {error}", where=table, do="Give the oof.csv that training wrote.") from error
    outside = np.flatnonzero(~((found >= 0) & (found <= 1)).all(axis=1))
    if len(outside):
        where = f"{table}, line {frame.index[int(outside[0])]}"
        raise UserError(
            f"{', '.join(columns[:3])} not in 0 to 1", where=where, do="Give the oof.csv that training wrote."
        )
    return found


def _summary(table: Path) -> dict[str, Any]:
    """metrics.json beside the table, or nothing."""
    try:
        found = json.loads((table.parent / "metrics.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _positive_class(table: Path) -> str:
    return str((_summary(table).get("question") or {}).get("positive_class") or "positive")


def _labels(prob_SQ: NDArray[np.float64], table: Path, *, is_multiclass: bool) -> tuple[NDArray[np.bool_], str]:
    """What the job's endpoint answers, and how that is decided, in words."""
    if is_multiclass:
        return np.arange(prob_SQ.shape[1]) == prob_SQ.argmax(axis=1)[:, None], "the most probable class"
    thresholds = (_summary(table).get("overall") or {}).get("thresholds") or []
    if len(thresholds) != prob_SQ.shape[1]:
        return prob_SQ >= HALF, "0.5: no metrics.json with thresholds lies beside it"
    return prob_SQ >= np.asarray(thresholds, dtype=float), listed([f"{value:.4g}" for value in thresholds])
