"""Familiarity: how much a picture is like those of training, by its features; an out-of-distribution score.

Two Gaussian models of held-out training pictures, one of each fold's penultimate features and one of the appearance,
each reduced to its principal components. Which scores were compared, and why this one: docs/decisions/0046. Fitting
and scoring need NumPy alone.
"""

# N rows or pictures · F folds · V views · D features · A numbers of appearance · R components

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

RANK = 32  # components. AUROC with 16, 32 and 64 differs by less than .001 (benchmarks/results/*familiarity*)
MIN_ROWS = 100  # held-out rows of all folds: fewer say nothing of the rarest hundredth
MIN_ROWS_OF_FOLD = 24
RARE = 0.01  # pictures that are less familiar than this share of the held-out ones are called unfamiliar
NUM_KEPT = 1024  # scores of held-out rows that are kept to compare with
PARTS = 5  # of the groups: each is scored by models of the others


@dataclass(frozen=True)
class Components:
    """A Gaussian with R principal components and one variance for all other directions; float32.

    Probabilistic PCA, Tipping & Bishop 1999, eq. 8; its Mahalanobis distance is that of a shrunk covariance. `middle`
    and `spread` are the median and the interquartile range of the distances of pictures that it was not fitted on.
    """

    mean_D: Array
    basis_RD: Array
    variance_R: Array
    rest: float | Array  # variance of each direction outside the basis
    middle: float | Array = 0.0
    spread: float | Array = 1.0

    @classmethod
    def fit(cls, values_ND: Array) -> Self:
        """Of two rows or more. As many components as RANK, and at most half as many as rows."""
        values_ND = values_ND.astype(np.float64)
        num_rows, width = values_ND.shape
        mean_D = values_ND.mean(axis=0)
        variance, basis = _principal(values_ND - mean_D)
        rank = max(min(RANK, num_rows // 2, width - 1), 1)
        # A floor: features that are constant leave no variance to divide by.
        least = max(1e-6 * float(variance.sum()) / width, 1e-12)
        rest = max(float(variance[rank:].sum()) / max(width - rank, 1), least)
        return cls(
            mean_D.astype(np.float32),
            basis[:rank].astype(np.float32),
            np.maximum(variance[:rank], least).astype(np.float32),
            rest,
        )

    @classmethod
    def stacked(cls, models: Sequence[Components]) -> Components:
        """Several models of equal width as one with a dimension more, the first; shorter bases end in zeros."""
        rank = max(len(model.variance_R) for model in models)
        padding = [(0, rank - len(model.variance_R)) for model in models]
        rest, middle, spread = (
            np.array([[getattr(model, name)] for model in models], np.float32) for name in ("rest", "middle", "spread")
        )
        return cls(
            np.stack([model.mean_D for model in models])[:, None],
            np.stack([np.pad(model.basis_RD, (pad, (0, 0))) for model, pad in zip(models, padding, strict=True)]),
            np.stack([np.pad(m.variance_R, pad, constant_values=1) for m, pad in zip(models, padding, strict=True)])[
                :, None
            ],
            rest,
            middle,
            spread,
        )

    def distance(self, values: Array) -> Array:
        """The Mahalanobis distance of values [..., D]."""
        centred = values - self.mean_D
        along = centred @ self.basis_RD.swapaxes(-1, -2)
        squares = along * along
        residual = np.maximum(np.vecdot(centred, centred) - squares.sum(axis=-1), 0)
        return np.asarray(np.sqrt((squares / self.variance_R).sum(axis=-1) + residual / self.rest))

    def score(self, values: Array) -> Array:
        """The distance of values [..., D], standardised: 0 for a usual picture, larger for a stranger one."""
        return np.asarray((self.distance(values) - self.middle) / self.spread)


@dataclass(frozen=True)
class Familiarity:
    """What familiarity is told by: a model of each fold's features, one of the appearance, and held-out scores."""

    folds: Mapping[int, Components]  # by the fold's number
    appearance: Components
    held_out_N: Array  # the scores of held-out rows, ascending; float32
    _stacks: dict[tuple[int, ...], Components] = field(default_factory=dict, repr=False, compare=False)

    def of(self, features_FVD: Array, appearance_NA: Array, folds: Sequence[int]) -> float | None:
        """The share of held-out training pictures that are no more familiar than this one: 0 strange to 1 usual.

        `features_FVD` are those of the `folds`, and `appearance_NA` the appearance of the picture or of its frames.
        None where a fold has no model. The mean over folds varies less than the score of one fold that it is compared
        with, so that of usual pictures fewer than RARE lie below RARE.
        """
        if any(fold not in self.folds for fold in folds):
            return None
        of_folds = self._together(tuple(folds)).score(unit_roots(features_FVD)).mean(axis=1).tolist()
        total = sum(of_folds) / len(of_folds) + self.appearance.score(appearance_NA).mean()
        return 1.0 - float(np.searchsorted(self.held_out_N, total, side="left")) / len(self.held_out_N)

    def _together(self, folds: tuple[int, ...]) -> Components:
        """The models of some folds as one, whose arrays begin with the folds; made once for the folds that are used."""
        if folds not in self._stacks:
            self._stacks[folds] = Components.stacked([self.folds[fold] for fold in folds])
        return self._stacks[folds]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """All of it as named arrays, for a file."""
        named = {"appearance": self.appearance, **{f"fold_{fold}": model for fold, model in self.folds.items()}}
        arrays = {"held_out": self.held_out_N.astype(np.float32)}
        for name, model in named.items():
            arrays |= {
                f"{name}.mean": model.mean_D.astype(np.float32),
                f"{name}.basis": np.ascontiguousarray(model.basis_RD, dtype=np.float32),
                f"{name}.variance": model.variance_R.astype(np.float32),
                f"{name}.scale": np.array([model.rest, model.middle, model.spread], dtype=np.float32),
            }
        return arrays

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.float32]], folds: Sequence[int]) -> Self:
        """The inverse of `arrays`. Raises ValueError, with the array's name, for arrays that cannot be used."""
        held_out_N = _array(arrays, "held_out", 1)
        if len(held_out_N) == 0 or (np.diff(held_out_N) < 0).any():
            raise ValueError("held_out is empty or not ascending")
        return cls({fold: _model(arrays, f"fold_{fold}") for fold in folds}, _model(arrays, "appearance"), held_out_N)


def fit_familiarity(
    features_of_fold: Mapping[int, Array],
    appearance_of_fold: Mapping[int, Array],
    group_of_fold: Mapping[int, NDArray[np.generic]],
) -> Familiarity | str:
    """The familiarity of held-out rows, by the fold that did not train on them; or why there is none, in words.

    Features [N, D] are those of that fold's network; beside them the appearance [N, A] and the group (patient) [N] of
    the same rows. The scores to compare with come from rows of groups that the compared model was not fitted on: each
    fifth of the groups is scored by a model of the others. The models that are kept are fitted on all rows.
    """
    folds = [fold for fold, features in features_of_fold.items() if len(features) >= MIN_ROWS_OF_FOLD]
    num_rows = sum(len(features_of_fold[fold]) for fold in folds)
    if num_rows < MIN_ROWS:
        return f"{num_rows} held-out images in folds of at least {MIN_ROWS_OF_FOLD}, fewer than {MIN_ROWS}"
    if not all(np.isfinite(features_of_fold[fold]).all() for fold in folds):
        return "features that are NaN or infinite"
    part_of: dict[object, int] = {}
    for fold in folds:  # the groups of each fold by turns, so that it has all parts
        for number, group in enumerate(np.unique(group_of_fold[fold]).tolist()):
            part_of.setdefault(group, number % PARTS)
    parts = {fold: np.array([part_of[group] for group in group_of_fold[fold].tolist()]) for fold in folds}
    for fold, part_N in parts.items():
        if len(np.unique(part_N)) < 2:
            return f"too few groups among the held-out images of fold {fold}"
    appearance, scores_N = _cross_fitted(
        np.concatenate([appearance_of_fold[fold] for fold in folds]), np.concatenate(list(parts.values()))
    )
    models: dict[int, Components] = {}
    start = 0
    for fold, part_N in parts.items():
        models[fold], of_fold_N = _cross_fitted(unit_roots(features_of_fold[fold]), part_N)
        scores_N[start : start + len(part_N)] += of_fold_N
        start += len(part_N)
    kept = np.linspace(0, num_rows - 1, min(NUM_KEPT, num_rows)).round().astype(int)
    return Familiarity(models, appearance, np.sort(scores_N)[kept].astype(np.float32))


def _principal(centred_ND: Array) -> tuple[Array, Array]:
    """The variances of all principal components, the largest first, and their directions, a row each.

    By the smaller of the two matrices of products: of 300 rows of 1,280 features ten times as fast as an SVD.
    """
    num_rows, width = centred_ND.shape
    if num_rows >= width:
        variance, vectors = np.linalg.eigh(centred_ND.T @ centred_ND / num_rows)
        return np.maximum(variance[::-1], 0), vectors[:, ::-1].T
    variance, vectors = np.linalg.eigh(centred_ND @ centred_ND.T / num_rows)
    variance = np.maximum(variance[::-1], 0)
    length = np.sqrt(num_rows * np.maximum(variance, 1e-12 * max(float(variance[0]), 1e-300)))
    return variance, (vectors[:, ::-1] / length).T @ centred_ND


def unit_roots(features: Array) -> Array:
    """Features [..., D] as points on a sphere: the root of each, with its sign, divided by the length.

    Of features that are not negative this is their Hellinger embedding: what counts is which are on, not how strongly.
    """
    absolute = np.abs(features)
    length = np.sqrt(absolute.sum(axis=-1, keepdims=True))  # of the roots
    return np.asarray(np.copysign(np.sqrt(absolute), features) / np.maximum(length, 1e-12))


def _cross_fitted(values_ND: Array, part_N: NDArray[np.intp]) -> tuple[Components, NDArray[np.float64]]:
    """The model of all rows, with the scale of scores that are honest; and these scores [N], standardised."""
    distance_N = np.zeros(len(values_ND))
    for part in np.unique(part_N).tolist():
        is_own_N = part_N == part
        distance_N[is_own_N] = Components.fit(values_ND[~is_own_N]).distance(values_ND[is_own_N])
    low, middle, high = np.quantile(distance_N, [0.25, 0.5, 0.75])
    spread = max(float(high - low), 1e-6 * max(float(middle), 1.0))
    whole = Components.fit(values_ND)
    model = Components(whole.mean_D, whole.basis_RD, whole.variance_R, whole.rest, float(middle), spread)
    return model, (distance_N - middle) / spread


def _model(arrays: Mapping[str, NDArray[np.float32]], name: str) -> Components:
    mean_D, basis_RD = _array(arrays, f"{name}.mean", 1), _array(arrays, f"{name}.basis", 2)
    variance_R, scale = _array(arrays, f"{name}.variance", 1), _array(arrays, f"{name}.scale", 1)
    if basis_RD.shape != (len(variance_R), len(mean_D)) or len(scale) != 3:
        raise ValueError(f"the arrays of {name} do not fit each other")
    rest, middle, spread = scale.tolist()
    if not (rest > 0 and spread > 0 and (variance_R > 0).all()):
        raise ValueError(f"a variance of {name} is not above 0")
    return Components(mean_D, basis_RD, variance_R, rest, middle, spread)


def _array(arrays: Mapping[str, NDArray[np.float32]], name: str, num_dimensions: int) -> NDArray[np.float32]:
    array = arrays.get(name)
    if array is None or array.ndim != num_dimensions or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"{name} is missing, or no finite float32 array of {num_dimensions} dimensions")
    return array
