"""Worker pool: runs tasks in processes of this machine or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Literal, TypeVar

from lesion.errors import UserError

Engine = Literal["processes", "ray"]
Task = TypeVar("Task")
Result = TypeVar("Result")


def run_all(
    function: Callable[..., Result], tasks: Sequence[tuple[object, ...]], *, engine: Engine, num_workers: int
) -> Iterator[Result]:
    """Results of `function` for each task's arguments, in the order of completion. The first error ends the run.

    Ray finds its cluster by RAY_ADDRESS, or else starts one on this machine; all its nodes must see the same folders.
    """
    return {"processes": _by_processes, "ray": _by_ray}[engine](function, tasks, num_workers)


def _by_processes(
    function: Callable[..., Result], tasks: Sequence[tuple[object, ...]], num_workers: int
) -> Iterator[Result]:
    if num_workers <= 1:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # threads of OpenCV and BLAS do not survive a fork
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        futures = [pool.submit(function, *task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _by_ray(function: Callable[..., Result], tasks: Sequence[tuple[object, ...]], num_workers: int) -> Iterator[Result]:
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed", do="pip install 'lesion[ray]', or set --engine processes.") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=3)(function)  # a lost node does not end the run
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
    finally:
        if is_ours:
            ray.shutdown()
