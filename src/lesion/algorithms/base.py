"""Base: what every algorithm is given and hands back: a job of paths and values comes in, a predictor goes out."""

# N batch · F folds · H, W pixels · K outputs · M metadata features

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lesion.stop import Stop

if TYPE_CHECKING:  # the parent of a training process reads a Job and nothing else: it stays light and quick
    import numpy as np
    from numpy.typing import NDArray

    from lesion.algorithms.classify.manifest import ClassifierRecord
    from lesion.artifact import Manifest
    from lesion.data.images import Pixels
    from lesion.data.metadata import Row


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
class Prepared:
    """One picture as the networks take it: the square's uint8 RGB pixels, and the features that each fold makes of its
    metadata.
    """

    pixels_HWC: Pixels
    features_FM: Sequence[NDArray[np.float32]]
    num_views: int  # flips and turns of it that are averaged


class Lane(Protocol):
    """Computes for one caller at a time: a GPU, or a share of the CPU's cores."""

    def __call__(self, batch: Sequence[Prepared]) -> NDArray[np.float64]:
        """Each fold's probabilities [N, F, K], averaged over the views."""
        ...


class Predictor(Protocol):
    """A loaded artifact. The one door of serving, `lesion predict` and the check at the end of training."""

    @property
    def manifest(self) -> Manifest: ...
    @property
    def model(self) -> ClassifierRecord: ...
    @property
    def folds(self) -> Sequence[int]:
        """Those that are asked."""
        ...

    @property
    def backend(self) -> str:
        """What computes, in words."""
        ...

    @property
    def lanes(self) -> Sequence[Lane]:
        """That may compute side by side."""
        ...

    @property
    def max_batch(self) -> int:
        """Pictures that a lane takes at once with profit."""
        ...

    def prepare(self, image: Pixels, row: Row, *, num_views: int | None = None) -> Prepared:
        """A picture (uint8 RGB, any size) and its metadata by column name. Raises UserError for a value that is wrong.

        `num_views` is the artifact's own unless given.
        """
        ...

    def predict(self, images: Sequence[Pixels], metadata: Sequence[Row]) -> NDArray[np.float32]:
        """Probabilities [N, K] of N pictures (uint8 RGB, any sizes) and their metadata by column name; thread-safe."""
        ...
