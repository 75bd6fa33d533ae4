"""Read ahead: what threads make of items, in the items' order, no more than some of them at once.

`Executor.map` makes a future of a kilobyte for each item before the first is done: 400 MB for 400,000 images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

AHEAD = 4  # items under way for each thread

In = TypeVar("In")
Out = TypeVar("Out")


def read_ahead(call: Callable[[In], Out], items: Iterable[In], *, num_threads: int) -> Iterator[Out]:
    """What `call` makes of each item. Its first error ends the iteration, and so does the caller: what has not begun is
    given up."""
    rest = iter(items)
    under_way: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(max(num_threads, 1), thread_name_prefix="read") as pool:
        try:
            under_way.extend(pool.submit(call, item) for item in islice(rest, AHEAD * max(num_threads, 1)))
            while under_way:
                result = under_way.popleft().result()
                under_way.extend(pool.submit(call, item) for item in islice(rest, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
