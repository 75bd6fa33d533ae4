"""Base: what an algorithm is to the rest of Lesion. A few small interfaces; registry.py has those that implement them.

The command line asks an `Algorithm` to check, train and load. What it loads is a `Predictor`, whose executors
(inference/batcher.py) compute an `Output` for each picture; the predictor turns it into the `Answer` that a client
reads.
"""

# N batch · F folds · V views · H, W pixels · K outputs · D features of a picture

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lesion.errors import LesionError

if TYPE_CHECKING:  # the command line opens without any of these
    import numpy as np
    from numpy.typing import NDArray

    from lesion.artifact import Manifest
    from lesion.check.report import Report
    from lesion.config import Hyperparameters
    from lesion.data.decode.images import FrameChoice, Pixels
    from lesion.data.metadata import Row
    from lesion.data.table import SampleTable
    from lesion.explain.picture_map import PictureMap
    from lesion.inference.batcher import Executor
    from lesion.job import Job
    from lesion.metric_lines import MetricLine

Device = Literal["auto", "cpu", "cuda"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]
AnswerPart = Literal["fields", "line", "cells", "bare"]  # of an Answer


class Algorithm(Protocol):
    """One way to learn from pictures, by the name that the hyperparameter `algorithm` gives."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> type[Hyperparameters]:
        """Its hyperparameters."""
        ...

    @property
    def metric_lines(self) -> Mapping[str, MetricLine]:
        """What it reports in the log for SageMaker, by name."""
        ...

    @property
    def objective(self) -> str | None:
        """The metric line that a tuner searches for unless it is told another; None if there is none that the log of
        each job has and that is worth searching for."""
        ...

    @property
    def out_of_memory(self) -> str:
        """What to lower when a training process is killed for memory, as the end of a sentence: "lower …"."""
        ...

    def check(
        self, config: Any, channels: Mapping[str, Path], *, output: Path, num_workers: int, show_progress: bool
    ) -> Report:
        """Checks the channels: the report of all that is wrong, also written below `output`."""
        ...

    def processes_on_cpu(self, config: Any, *, num_cores: int, memory_bytes: int) -> int:
        """How many processes train on a host without a GPU by processes=auto, from 1 to `num_cores`."""
        ...

    def train(self, job: Job, config: Any) -> None:
        """Leaves an artifact in `job.model_dir` and results in `job.output_dir`. Raises UserError for bad input."""
        ...

    def load(
        self,
        model_dir: Path,
        *,
        device: Device,
        num_cores: int,
        fold: int | None,
        precision: PrecisionChoice,
        operating_point: str | None,
    ) -> Predictor:
        """The predictor of an artifact, once it has answered a test picture. `operating_point` is the deployment's.

        Raises UserError for a wrong artifact, or an operating point that it cannot have.
        """
        ...

    def describe(self, what: Literal["recipes"]) -> str:
        """A Markdown table for `lesion describe`."""
        ...

    def export_onnx(self, model_dir: Path, output: Path, *, fold: int | None) -> None:
        """Writes the artifact's networks as an ONNX model. Raises UserError where the algorithm has none."""
        ...

    def evaluate(
        self,
        model_dir: Path,
        source_path: Path,
        *,
        output: Path,
        source: str,
        settings: Mapping[str, str],
        device: Device,
        num_cores: int,
        precision: PrecisionChoice,
        operating_point: str | None,
        show_progress: bool,
    ) -> str:
        """Judges an artifact on the labelled set at `source_path`, in the format `source`, and writes predictions,
        metrics and report to the folder `output`; what it found, as text for a terminal. `settings` are hyperparameters
        that say how the set's table is read.

        Raises UserError where the algorithm judges none, and for a set that has no labels or other classes.
        """
        ...

    def load_reference(self, model_dir: Path, *, operating_point: str | None) -> Reference:
        """What served answers and images are compared with; shares of answers are those at `operating_point`, the
        deployment's. Raises UserError where the algorithm keeps nothing to compare with, and for a wrong artifact."""
        ...

    def map_writer(self, predictor: Any, folder: Path, table: SampleTable) -> MapWriter:
        """What writes the maps of a set's predictions, made by a predictor of this algorithm, to `folder`; `table` has
        the set's rows. Raises UserError where its answers have no maps, and for a table that it cannot use."""
        ...

    def load_explainer(
        self,
        model_dir: Path,
        *,
        device: Device,
        num_cores: int,
        fold: int | None,
        class_name: str | None,
        method: str | None,
    ) -> Explainer:
        """What explains single pictures: the named class, or the one that is predicted; by the named method, or the one
        that training chose. Raises UserError where the algorithm has no explanations, and for unknown names."""
        ...


@dataclass(frozen=True)
class Output:
    """What an executor computes for one picture: logits and features, not yet activated, averaged or thresholded."""

    logits_FVK: NDArray[np.float32]  # of each fold and view
    # Those of the picture that the last layer takes; None where the graph of an older artifact does not give them.
    features_FVD: NDArray[np.float32] | None = None
    notes: tuple[Any, ...] = ()  # what `Predictor.prepare` noted of the picture, or of each frame, for its `answer`
    map: PictureMap | None = None  # where the options ask for one


def joined(results: Iterable[Output | LesionError]) -> Output | LesionError:
    """What was computed of a file, of what was computed of its frames: one output, in which they are averaged as views
    are (each has the same number of them); or the first error of a frame, since a case without it is another case."""
    outputs: list[Output] = []
    error = None
    for result in results:
        if isinstance(result, LesionError):
            error = error or result
        else:
            outputs.append(result)
    if error is not None:
        return error
    if len(outputs) == 1:
        return outputs[0]
    import numpy as np

    features = [output.features_FVD for output in outputs if output.features_FVD is not None]
    return Output(
        np.concatenate([output.logits_FVK for output in outputs], axis=1),
        np.concatenate(features, axis=1) if len(features) == len(outputs) else None,
        tuple(note for output in outputs for note in output.notes),
        outputs[0].map,  # of several frames the first one's
    )


@dataclass(frozen=True)
class Options:
    """What a request can choose: test-time augmentation, and how much the answer holds."""

    views: int | None = (
        None  # test-time augmentation: flips and turns to average; the artifact's own number unless given
    )
    top_k: int | None = None  # of several classes only so many, the most probable first
    details: bool = False  # each fold's answer as well
    operating_point: str | None = (
        None  # what the label is decided by, such as sensitivity=0.95; the model's own unless given
    )
    map: str | None = None  # a map of what speaks for a class, by its name; "" for the class that is predicted
    map_method: str | None = None  # how the map is made; as training chose unless given
    # The one part of the Answer that will be read; None may be all. What it has no place for need not be computed.
    part: AnswerPart | None = None


@dataclass(frozen=True)
class Answer:
    """One picture's answer in the forms that serve and `lesion predict` write."""

    fields: dict[str, Any]  # the object of a JSON answer
    line: dict[str, Any]  # the object of a line of JSON Lines
    cells: Sequence[object]  # the row of a CSV without a header
    columns: dict[str, object]  # the row of a table, by the names of `Predictor.column_names`
    bare: object  # what a request for a single picture in the brief's form is answered with: a number, or `fields`
    # What the audit line of the answer says: label, operating point, warnings. Nothing that a client sent.
    audit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Explanation:
    """Why a picture got its answer: where in it, and which of its metadata.

    `metadata_changes` holds for each metadata column by how much the log-odds of the map's class would change, by the
    name of what the cell would be instead: `if_missing_…` and `if_usual_…`.
    """

    answer: Answer
    map: PictureMap
    log_odds: float  # of the map's class
    metadata_changes: Mapping[str, float]


class Explainer(Protocol):
    """A predictor that says why."""

    @property
    def predictor(self) -> Predictor: ...
    @property
    def change_names(self) -> Sequence[str]:
        """The names in `Explanation.metadata_changes`, in their order."""
        ...

    def explain(self, image: Pixels, row: Row) -> Explanation:
        """Of one picture (uint8 RGB [H, W, 3], any size) and its metadata. Raises UserError for a wrong value."""
        ...


class Reference(Protocol):
    """What the held-out rows of training were answered, and what their images are like: what `lesion drift` compares
    with. Values and shares have the same names here and in what the methods return."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def values(self) -> Mapping[str, NDArray[np.float32]]:
        """A sample of training, by the name of what was measured: each score, each measure of an image."""
        ...

    @property
    def scores(self) -> Sequence[str]:
        """Which of the values are scores, and not measures of an image."""
        ...

    @property
    def shares(self) -> Mapping[str, tuple[int, int]]:
        """How many rows of training had something, of how many: a positive answer, a warning."""
        ...

    @property
    def titles(self) -> Mapping[str, str]:
        """What each value and share is, for people."""
        ...

    @property
    def gaps(self) -> Sequence[str]:
        """What the artifact does not hold and cannot be compared, as sentences."""
        ...

    @property
    def metadata_columns(self) -> Sequence[str]:
        """The metadata that a request may have beside an image."""
        ...

    @property
    def dicom_frames(self) -> FrameChoice: ...
    @property
    def decode_px(self) -> int | None: ...
    def read_answer(self, told: object) -> tuple[Mapping[str, float], Mapping[str, bool]]:
        """The values and shares of one answer: an object of JSON, the cells of a CSV row as a list, or a bare number.
        What this form of answer leaves out is left out. Raises ValueError for an answer of another model."""
        ...

    def read_image(self, image: Pixels, whole_px: tuple[int, int]) -> tuple[Mapping[str, float], Mapping[str, bool]]:
        """The values and shares of one image (uint8 RGB [H, W, 3]), which was `whole_px` (height, width) large before
        it was decoded."""
        ...


class MapWriter(Protocol):
    """Where the predictions of a set lie in its pictures, as files."""

    def write(self, row: int, output: Output, read: Callable[[int], Pixels]) -> None:
        """The files of a row of the set. `read` gives its picture (uint8 RGB [H, W, 3]) by the number of the view in
        `output`. Raises UserError for one that cannot be read."""
        ...

    def finish(self) -> None:
        """Writes what is said of the whole set."""
        ...


class Predictor(Protocol):
    """A loaded artifact. The one door of serving, `lesion predict` and the check at the end of training."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def backend(self) -> str:
        """What computes, as text for people: "openvino cpu bf16"."""
        ...

    @property
    def executors(self) -> Sequence[Executor[Output]]:
        """The executors, which may run in parallel."""
        ...

    @property
    def max_batch(self) -> int:
        """The largest batch that makes an executor faster."""
        ...

    @property
    def metadata_columns(self) -> Sequence[str]:
        """The metadata that it takes beside a picture, by column name."""
        ...

    @property
    def metadata_words(self) -> Mapping[str, Container[str]]:
        """Of the columns that hold words those that mean one that training had."""
        ...

    @property
    def num_cells(self) -> int:
        """How many cells `Answer.cells` has."""
        ...

    @property
    def column_names(self) -> Sequence[str]:
        """The columns of `Answer.columns`, in their order."""
        ...

    @property
    def image_column(self) -> str:
        """What training's table called the column of pictures."""
        ...

    @property
    def dicom_frames(self) -> FrameChoice:
        """Which frames of a DICOM file it answers for: of all, the mean over them."""
        ...

    @property
    def decode_px(self) -> int | None:
        """How many pixels of a JPEG's shorter side it needs, so that a large one is decoded smaller; None: all."""
        ...

    def prepare(self, image: Pixels, row: Row, options: Options = ...) -> Any:
        """A picture (uint8 RGB, any size) and its metadata by column name, as an executor takes it.

        Raises UserError for a value that is wrong.
        """
        ...

    def answer(self, output: Output, options: Options) -> Answer:
        """The prediction of one picture, in the forms that a client can read."""
        ...

    def describe(self) -> dict[str, Any]:
        """Its task, classes, inputs and metrics for /model, in JSON types and without file names."""
        ...
