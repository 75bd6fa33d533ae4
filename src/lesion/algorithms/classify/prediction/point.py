"""Point: the operating point, which makes labels of probabilities: the artifact's, the deployment's or a request's.

Resolved on the artifact's ROC curves, so it can be changed without training again. Needs NumPy alone.
"""

# Q outputs that are judged

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lesion.errors import UserError
from lesion.evaluation.operating_points import OperatingPoint, RocCurve, parse_spec, resolve
from lesion.targets import Target

MOST_KEPT = 256  # points of requests: each client asks for the same few


@dataclass(frozen=True)
class Point:
    """An operating point: what was asked for, and the threshold of each judged output.

    `spec` is None where there is nothing to choose: the most probable of several classes is the answer.
    """

    spec: str | None
    points_Q: tuple[OperatingPoint, ...]

    @property
    def thresholds_Q(self) -> tuple[float, ...]:
        """The probabilities from which an answer is positive."""
        return tuple(point.threshold for point in self.points_Q)

    def as_json(self, target: Target) -> dict[str, Any] | None:
        """What was asked for, and the threshold: one, or one a label; None where there is nothing to choose."""
        if self.spec is None:
            return None
        thresholds: Any = self.thresholds_Q[0]
        if target.kind == "multilabel":
            thresholds = dict(zip(target.class_names, self.thresholds_Q, strict=True))
        return {"asked": self.spec, "threshold": thresholds}


class Points:
    """The operating points of an artifact. `spec` is what the artifact or the deployment chose."""

    def __init__(
        self,
        target: Target,
        *,
        spec: str,
        thresholds_Q: Sequence[float],
        curves_Q: Sequence[RocCurve | None],
        prevalences_Q: Sequence[float | None],
    ) -> None:
        """`thresholds_Q` are those of `spec`; `curves_Q` is empty where an older artifact has none."""
        self._target, self._curves_Q, self._prevalences_Q = target, tuple(curves_Q), tuple(prevalences_Q)
        chosen = tuple(OperatingPoint(spec, threshold, None, None) for threshold in thresholds_Q)
        self.default = Point(None if target.has_multiclass_answer else spec, chosen)
        self._kept: dict[str, Point] = {} if self.default.spec is None else {spec: self.default}

    def of(self, text: str | None, *, where: str | None = None) -> Point:
        """The operating point that a text such as `sensitivity=0.95` asks for; without one the default.

        Raises UserError of kind `custom_attributes` for one that cannot be.
        """
        if text is None:
            return self.default
        if (known := self._kept.get(text)) is not None:
            return known
        point = self._resolved(text, where)
        if len(self._kept) < MOST_KEPT:
            self._kept[text] = point
        return point

    def with_default(self, text: str | None, *, where: str) -> Points:
        """The same points with another default, that of a deployment. Raises UserError as `of` does."""
        if text is not None:
            self.default = self.of(text, where=where)
        return self

    def _resolved(self, text: str, where: str | None) -> Point:
        try:
            spec = parse_spec(text, is_multiclass=self._target.has_multiclass_answer, where=where)
        except UserError as error:
            raise UserError(error.what, where=error.where, do=error.do, kind="custom_attributes") from error
        num_outputs = len(self.default.points_Q)
        if not self._curves_Q and spec.kind != "threshold":
            raise UserError(
                f"the operating point {spec} needs the ROC curve, and this model's artifact has none",
                where=where,
                do="Say threshold=T, or train again with this version.",
                kind="custom_attributes",
            )
        curves_Q = self._curves_Q or (None,) * num_outputs
        prevalences_Q = self._prevalences_Q or (None,) * num_outputs
        found = [resolve(c, spec, prevalence=p) for c, p in zip(curves_Q, prevalences_Q, strict=True)]
        return Point(str(spec), tuple(found))
