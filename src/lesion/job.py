"""Job: one training job as plain paths and values. sagemaker.py reads it from SageMaker's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lesion.stop import Stop

CHECKED_FILE = "checked.json"  # in the folder of a host's processes: the outcome of the check, for all but the first
STEP_FILE = "step"  # in the folder of a host's processes: what each does just now, for the parent of one that is killed


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
    def host_cores(self) -> int:
        """The cores of all of this host's processes together."""
        return self.num_cores * self.processes

    @property
    def process_names(self) -> list[str]:
        """Of all processes of the job, the same everywhere: of a host that has one, the host's."""
        if self.processes == 1:
            return list(self.hosts)
        return [f"{host}/{process}" for host in self.hosts for process in range(self.processes)]

    @property
    def process_index(self) -> int:
        """This process's place among `process_names`."""
        return self.rank * self.processes + self.process
