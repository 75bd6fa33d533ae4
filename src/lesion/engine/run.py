"""Run: the frame of a job in one process, the same for every algorithm: processes, device, cache, checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from tqdm import tqdm

from lesion.check.outcome import check_once
from lesion.check.run import Checked, Questions, T
from lesion.data.cache import Cache, Pictures
from lesion.data.transforms import Preprocess
from lesion.engine.checkpoint import Checkpoints, refuse_foreign
from lesion.engine.device import Precision, limit_threads, pick_device, pick_precision
from lesion.engine.distributed import DataParallelGroup, JobProcesses, join_job_processes
from lesion.engine.training_log import Machine
from lesion.errors import PlatformError, UserError
from lesion.files import ensure_writable, write_whole
from lesion.job import STEP_FILE, Job

log = logging.getLogger(__name__)


class RunSettings(Protocol):
    """The hyperparameters that the run needs, for every algorithm."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]: ...
    @property
    def precision(self) -> Literal["auto", "fp32", "bf16"]: ...
    @property
    def num_workers(self) -> Literal["auto"] | int: ...
    @property
    def cache(self) -> Literal["auto", "off"]: ...
    @property
    def checkpoint_interval_s(self) -> float: ...
    @property
    def on_foreign_checkpoint(self) -> Literal["error", "set_aside"]: ...


@dataclass
class Run:
    """One process's part in a job, with what it computes on."""

    job: Job
    settings: RunSettings
    processes: JobProcesses
    cache: Cache
    device: torch.device
    precision: Precision
    num_cores: int  # those that it has now, of its host's
    _steps: list[str] = field(default_factory=list)  # those that have begun, each a part of the one before it

    @property
    def num_workers(self) -> int:
        """How many threads read images: one a core, unless the user set a number."""
        return self.num_cores if self.settings.num_workers == "auto" else self.settings.num_workers

    def take_cores(self, num_cores: int) -> None:
        """From here on this process computes, and reads images, with so many of its host's cores."""
        limit_threads(num_cores)
        self.num_cores = num_cores

    def machine(self) -> Machine:
        """What the speed of training depends on, now."""
        return Machine(self.device, self.num_workers, self.num_cores)

    def checkpoints(self, fingerprint: Mapping[str, Any], data_parallel: DataParallelGroup) -> Checkpoints:
        """The job's states, those of this process or of its data-parallel group. Raises UserError for foreign ones."""
        return Checkpoints(
            self.job.checkpoint_dir,
            fingerprint,
            self.job.stop,
            interval_s=self.settings.checkpoint_interval_s,
            on_foreign=self.settings.on_foreign_checkpoint,
            data_parallel=data_parallel,
            sets_aside=self.job.process == 0,
        )

    def refuse_foreign_checkpoints(self, known: Mapping[str, Any]) -> None:
        """Raises UserError for states of another job, as far as the fingerprint is `known` before the data is checked,
        unless they are to be set aside."""
        if self.settings.on_foreign_checkpoint == "error":
            refuse_foreign(self.job.checkpoint_dir, known)

    @contextmanager
    def step(self, what: str, *, remedy: str) -> Iterator[None]:
        """Inside, `what` is done, such as "training fold 2": an out-of-memory error names it, and the `remedy`.

        Where the kernel kills this process for it, the parent reads what it was doing from a file. Raises UserError of
        kind `memory` where a GPU's memory is too small, MemoryError where the machine's is.
        """
        self._steps.append(f"{what}\n{remedy}")
        self._note_step()
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the GPU ran out of memory while {what}: {str(error).split('. ')[0]}",
                do=_sentence(remedy),
                kind="memory",
            ) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):  # torch's word on a CPU
                raise
            raise PlatformError(f"out of memory while {what}", do=_sentence(remedy), kind="memory") from error
        self._steps.pop()  # what it is a part of goes on
        self._note_step()

    def check(self, questions: Questions[T], *, fingerprint: Mapping[str, Any]) -> tuple[Checked[T], Pictures]:
        """The data, checked by the first process of each host, and the decoded images; `check_once` says more."""
        job = self.job
        with self.step("checking the data", remedy="choose an instance with more memory"):
            return check_once(
                questions,
                job.channels,
                self.cache,
                process=job.process,
                processes=job.processes,
                shared_dir=job.shared_dir,
                output=job.output_dir if self.processes.is_leader else None,
                kept_in=job.checkpoint_dir,
                fingerprint=fingerprint,
                num_workers=self.num_workers,
                show_progress=job.show_progress,
            )

    def progress(self, num_pictures: int) -> tqdm[Any]:
        """A progress bar over `num_pictures`, hidden unless the job shows progress."""
        return tqdm(total=num_pictures, unit="image", disable=not self.job.show_progress)

    def describe(self) -> str:
        """What computes, for the log."""
        return (
            f"device={self.device} precision={self.precision} torch={torch.__version__} workers={self.num_workers} "
            f"threads={torch.get_num_threads()}"
        )

    def _note_step(self) -> None:
        text = self._steps[-1] if self._steps else ""
        if self.job.shared_dir is not None:
            with suppress(PlatformError):  # where the disk refuses, the step is not known, and that is all
                write_whole(self.job.shared_dir / f"{STEP_FILE}_{self.job.process}", text.encode())


@contextmanager
def open_run(job: Job, settings: RunSettings, preprocess: Preprocess, *, writes: list[Path]) -> Iterator[Run]:
    """The job's processes joined, its cache opened, its device picked. `writes` are files that the leader will write.

    Raises PlatformError where the processes do not find each other or a file cannot be written, and UserError for a
    device that is not there.
    """
    shared_dir = job.shared_dir if len(job.hosts) == 1 else None
    with (
        join_job_processes(
            job.process_names, job.process_index, job.stop, address=job.hosts[0], shared_dir=shared_dir
        ) as processes,
        Cache(job.cache_dir, preprocess, is_wanted=settings.cache == "auto") as cache,
    ):
        for path in writes if processes.is_leader else []:  # two that try at once would take away each other's file
            ensure_writable(path)
        yield create_run(job, settings, processes, cache)


def create_run(job: Job, settings: RunSettings, processes: JobProcesses, cache: Cache) -> Run:
    """The run of processes that were joined and a cache that is open. Holds torch to this process's cores."""
    device = pick_device(settings.device, process=job.process)
    run = Run(job, settings, processes, cache, device, pick_precision(settings.precision, device), job.num_cores)
    run.take_cores(job.num_cores)
    return run


def _sentence(remedy: str) -> str:
    return f"{remedy[:1].upper()}{remedy[1:]}."
