"""Threads for work that can be shared: many questions to an index, and large scans of float16; as many as there are cores.

- Only where kernels that let go of the interpreter do most of the work and one core is the limit. Exact search of float32 is
  limited by the memory, which one core reads about as fast as two, and many exact questions are one matrix product.
- A worker's own FAISS uses one thread, so that they do not fight. ``OMP_NUM_THREADS``, where it is set, is the most there are.
- A forked child has none of its parent's threads; it makes its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Asked = TypeVar("Asked")
Found = TypeVar("Found")
LEAST = 4  # questions that are worth a thread

_here = threading.local()  # "worker" in threads of a pool: what they ask for themselves, they do themselves
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def workers() -> int:
    """How many questions are answered at a time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(cores, int(said)) if said.isdecimal() and int(said) > 0 else cores


def each(work: Callable[[Asked], Found], questions: Sequence[Asked], *, least: int = LEAST) -> list[Found]:
    """``work`` of every question, in their order, ``least`` or more a thread; the first error that one raises is raised."""
    count = min(workers(), len(questions) // least)
    if count < 2 or hasattr(_here, "worker"):
        return [work(question) for question in questions]
    own = os.getpid(), count
    if own not in _pools:
        _pools[own] = ThreadPoolExecutor(count, "search", initializer=_alone)
    size = -(-len(questions) // count)
    shares = [questions[start : start + size] for start in range(0, len(questions), size)]
    done = _pools[own].map(lambda share: [work(question) for question in share], shares)
    return [found for share in done for found in share]


def _alone() -> None:
    import faiss

    _here.worker = True
    faiss.omp_set_num_threads(1)  # of this thread alone
