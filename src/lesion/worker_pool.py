"""Worker pool: runs tasks in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Literal, TypeVar

from lesion.errors import PlatformError, UserError

Engine = Literal["processes", "ray"]
Task = TypeVar("Task")
Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1  # prctl(2): the signal that the kernel sends when the parent has ended


def run_all(
    function: Callable[..., Result],
    tasks: Sequence[tuple[object, ...]],
    *,
    engine: Engine,
    num_workers: int,
    needs_gpu: bool = False,
) -> Iterator[Result]:
    """Results of `function` for each task's arguments, in the order of completion. The first error ends the run.

    Processes end with the one that started them, however it ends. Ray finds its cluster by RAY_ADDRESS, or else starts
    one on this machine; all its nodes must see the same folders. `needs_gpu` reserves one of its GPUs for each task.
    Raises PlatformError where workers are lost.
    """
    if engine == "ray":
        return _by_ray(function, tasks, num_workers, needs_gpu)
    return _by_processes(function, tasks, num_workers)


def _by_processes(
    function: Callable[..., Result], tasks: Sequence[tuple[object, ...]], num_workers: int
) -> Iterator[Result]:
    if num_workers <= 1:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # threads of OpenCV and BLAS do not survive a fork
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=_end_with_parent) as pool:
        futures = [pool.submit(function, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise _lost("a process was killed, most likely out of memory") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """A command that is started again must not meet the workers of the one that was killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _by_ray(
    function: Callable[..., Result], tasks: Sequence[tuple[object, ...]], num_workers: int, needs_gpu: bool
) -> Iterator[Result]:
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed", do="pip install 'lesion[ray]', or set --engine processes.") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(log_to_driver=False)
    try:
        # A lost node does not end the run: its tasks are done elsewhere.
        remote = ray.remote(num_cpus=1, num_gpus=int(needs_gpu), max_retries=3)(function)
        waiting = list(tasks)
        running: list[object] = []
        num_cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        while waiting or running:
            while waiting and len(running) < max(num_workers, num_cpus):
                running.append(remote.remote(*waiting.pop(0)))
            (done, *_), running = ray.wait(running)
            try:
                yield ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                raise _lost(f"a Ray task was lost four times: {error}") from error
    finally:
        if is_ours:
            ray.shutdown()


def _lost(what: str) -> PlatformError:
    return PlatformError(what, do="Take fewer workers, or a machine with more memory; what is done is kept.")
