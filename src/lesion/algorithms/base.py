"""Base: what every algorithm is given and hands back: a job of paths and values comes in, a predictor goes out."""

# N batch · F folds · V views · H, W pixels · K outputs · D features

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lesion.stop import Stop

if TYPE_CHECKING:  # the parent of a training process reads a Job and nothing else: it stays light and quick
    import numpy as np
    from numpy.typing import NDArray

    from lesion.artifact import Manifest
    from lesion.data.images import Pixels
    from lesion.data.metadata import Row
    from lesion.inference.batcher import Executor


@dataclass(frozen=True)
class Job:
    """One training job: where its channels are mounted, what the user set, where results go, who takes part.

    This is the view of one process: several may train on a host, and a job may have several hosts.
    """

    channels: Mapping[str, Path]
    hyperparameters: Mapping[str, object]
    model_dir: Path
    output_dir: Path
    checkpoint_dir: Path
    cache_dir: Path  # for pictures that were decoded; made when it is needed, and never uploaded
    tensorboard_dir: Path
    num_cores: int  # this process's share of the host's
    hosts: Sequence[str] = ("localhost",)  # of the whole job, sorted: the first leads
    rank: int = 0  # this host's place among them
    processes: int = 1  # on each host
    process: int = 0  # this one's number among its host's
    shared_dir: Path | None = None  # a folder of this host's processes alone, where there are several
    stop: Stop = field(default_factory=Stop)
    show_progress: bool = False

    @property
    def peers(self) -> list[str]:
        """The names of all processes of the job, the same everywhere: of a host that has one, the host's."""
        if self.processes == 1:
            return list(self.hosts)
        return [f"{host}/{process}" for host in self.hosts for process in range(self.processes)]

    @property
    def peer(self) -> int:
        """This process's place among `peers`."""
        return self.rank * self.processes + self.process


@dataclass(frozen=True)
class Output:
    """What an executor computes of one picture, before anything is made of it."""

    logits_FVK: NDArray[np.float32]  # of each fold and view
    features_FVD: NDArray[np.float32] | None = (
        None  # that the last layer takes; None where the graph does not give them
    )


@dataclass(frozen=True)
class Options:
    """How a request wants its pictures looked at and its answers to look."""

    views: int | None = None  # flips and turns to average; the artifact's own number unless given
    top_k: int | None = None  # of several classes only so many, the likeliest first
    details: bool = False  # each fold's answer and how far they differ


@dataclass(frozen=True)
class Answer:
    """One picture's answer in each of the forms that serve can write; numbers are Python's own, ready for JSON."""

    fields: dict[str, Any]  # the JSON object, {"probability": …, "label": …}
    line: dict[str, Any]  # the object of a JSON line, {"prediction": [...], …}
    cells: Sequence[object]  # the row of CSV
    bare: object  # what the brief's single payload is answered with: a number, or the object `fields`


class Predictor(Protocol):
    """A loaded artifact. The one door of serving, `lesion predict` and the check at the end of training."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def backend(self) -> str:
        """What computes, in words."""
        ...

    @property
    def executors(self) -> Sequence[Executor[Output]]:
        """That may compute side by side."""
        ...

    @property
    def max_batch(self) -> int:
        """Pictures that an executor takes at once with profit."""
        ...

    @property
    def metadata_columns(self) -> Sequence[str]:
        """The names of the columns beside the picture that the networks see, in the order of training."""
        ...

    @property
    def metadata_words(self) -> Mapping[str, Collection[str]]:
        """The words that the networks know, by column; columns of numbers have none."""
        ...

    @property
    def num_cells(self) -> int:
        """How many cells an answer's row of CSV has."""
        ...

    def prepare(self, image: Pixels, row: Row, options: Options = ...) -> Any:
        """A picture (uint8 RGB, any size) and its metadata by column name, as the executors take it.

        Raises UserError for a value that is wrong.
        """
        ...

    def answer(self, output: Output, options: Options) -> Answer:
        """What a client is told of one picture."""
        ...

    def describe(self) -> dict[str, Any]:
        """What /model tells of the algorithm's part: JSON's own types, no names of files."""
        ...

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of N pictures (uint8 RGB, any sizes) and their metadata by column name; thread-safe."""
        ...
