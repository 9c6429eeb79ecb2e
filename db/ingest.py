"""Group commit: changes that wait while one is being committed go into the next version together.

- A commit costs some dozen syncs however small it is. Whoever has many small changes, from one thread or many, hands them in
  here and gets a promise; the promise is kept when the change is durable, never before.
- Of two changes of one clip the later one counts. A change that cannot be is refused where it is handed in and spoils no other.
- What waits is bounded: who is faster than the disk waits at the door.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from numpy import floating
from numpy.typing import NDArray

from db.commit import Transaction
from db.errors import RequestError
from db.publish import CommitReport
from db.versions import Versions

if TYPE_CHECKING:
    import pyarrow as pa


GROUP_ROWS = 20_000  # clips of one version
BACKLOG_ROWS = 40_000  # clips that may wait


class Ingest:
    """Takes upserts and commits them in groups; leaving the ``with`` block waits for all of them."""

    def __init__(self, library: Versions, note: str = "") -> None:
        self._library, self._note = library, note
        self._waiting: deque[tuple[Transaction, Future[CommitReport]]] = deque()
        self._rows, self._closed = 0, False
        self._turn = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="ingest", daemon=True)
        self._worker.start()

    def upsert(
        self,
        rows: pa.Table,
        captions: pa.Table,
        vectors: Mapping[str, NDArray[floating[Any]]],
        frames: Sequence[bytes] | None = None,
    ) -> Future[CommitReport]:
        """Hand in clips, as to :meth:`Transaction.upsert`; the future has the report of the version they are in, or its error.

        Raises:
            RequestError: the clips do not fit the library, or the group is closed.
        """
        change, promise = Transaction(self._library, note=self._note), Future[CommitReport]()
        change.upsert(rows, captions, vectors, frames)
        with self._turn:
            self._turn.wait_for(lambda: self._rows < BACKLOG_ROWS or self._closed)
            if self._closed:
                raise RequestError("this group is closed; open another with Library.ingest")
            self._waiting.append((change, promise))
            self._rows += len(change)
            self._turn.notify_all()
        return promise

    def close(self) -> None:
        """Commit what waits, and take nothing more."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        self._worker.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while group := self._next():
            try:
                first, *others = [change for change, _ in group]
                first.absorb(others)
                report = first.commit()
            except BaseException as error:  # it belongs to those who wait, whatever it is
                for _, promise in group:
                    promise.set_exception(error)
            else:
                for _, promise in group:
                    promise.set_result(report)

    def _next(self) -> list[tuple[Transaction, Future[CommitReport]]]:
        """What goes into the next version; nothing when it is closed and all is done."""
        with self._turn:
            self._turn.wait_for(lambda: self._waiting or self._closed)
            group, rows = [], 0
            while self._waiting and rows < GROUP_ROWS:
                group.append(self._waiting.popleft())
                rows += len(group[-1][0])
            self._rows -= rows
            self._turn.notify_all()
            return group
