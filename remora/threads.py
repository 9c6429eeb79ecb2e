"""The one place that decides about threads, so that faiss and torch do not fight.

- OpenMP workers sleep between jobs (``OMP_WAIT_POLICY=passive``): two runtimes that spin for each other's cores cost
  more than either gains (200 clips embedded on two cores that others use too: 0.5 s passive, 3.4 s by default). The
  variable is read when a runtime is loaded, so this comes with ``import remora``, before any heavy import.
- A single question is searched by one thread: at the size of a gallery on a desk, waking more costs more than it
  saves.
- ``OMP_NUM_THREADS``, where the user has set it, is respected by everybody.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Threads:
    """Cores this process may use, and what the two big runtimes do with them."""

    cores: int
    wait_policy: str
    omp_num_threads: str  # empty when not set


def settle_threads() -> Threads:
    """Set the thread policy of this process; call it before torch or faiss is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return threads()


def threads() -> Threads:
    """The policy as it stands."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Threads(cores, os.environ.get("OMP_WAIT_POLICY", ""), os.environ.get("OMP_NUM_THREADS", ""))


def search_threads(count: int = 1) -> None:
    """How many threads a vector search may use from here on."""
    import faiss

    faiss.omp_set_num_threads(count)
