"""How a change becomes a version: worked out on the newest one, linked under the next number, worked out anew when it
lost.

- The link of a manifest under a number that nobody has is the commit. Everything it names is on the disk before, its
  folder after; only then is it reported. An error that is not CommitUncertain means that nothing happened.
- A writer that lost once waits for its turn by a lock, so that few work in vain. It is a courtesy: a writer that does
  not get it in time goes on without, and nothing but time is lost.
- Tries end at a deadline, not at a count: how often a writer loses says nothing of how long it should wait.
- Changes merge, whatever came in between, but for a version that took all rows from an older one (restore, repair):
  who began before it must begin again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from db.errors import CommitUncertain, ConflictError, LibraryError, WriteError
from db.manifest import KNOWN_TRANSACTIONS, Manifest, file_name, now
from db.snapshot import Snapshot
from db.versions import Versions

if TYPE_CHECKING:
    from db.locks import Hold

DEADLINE_S = 30.0
TURN_S = 2.0


@dataclass(frozen=True)
class CommitReport:
    """What a commit did; ``version`` is the old one when there was nothing to do."""

    version: int
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0
    bytes: int = 0


class Change(Protocol):
    """What is to be done, worked out on each version that it meets."""

    def rebase(self, base: Snapshot) -> Manifest | None:
        """The manifest of ``base`` with the change in it, its files written; None when there is nothing to do.

        What describes the commit (number, time, transaction) is filled in later, ``op`` has ``kind`` and the counts.
        """

    def lost(self) -> None:
        """Another writer took the number: remove the files that fit this base only."""

    def discard(self) -> None:
        """It is given up: remove all files that were written."""

    def release(self) -> None:
        """It is over: let go of the files, which either belong to a version now or are removed."""


@dataclass(frozen=True)
class Terms:
    """Under which conditions a change may be published.

    ``txn_id`` makes it happen once; with ``expect`` only on that very version; ``since`` is the version it began at, where it
    matters whether all rows were replaced after that.
    """

    txn_id: str | None = None
    note: str = ""
    expect: int | None = None
    since: int | None = None


@dataclass(frozen=True)
class Published:
    """The version that has the change, and whether this call made it."""

    version: int
    made: bool


def publish(library: Versions, change: Change, terms: Terms) -> Published:
    """Make ``change`` a version.

    Raises:
        ConflictError: other writers' versions cannot be merged with it, or were faster until the deadline.
        WriteError: the disk refused; the library is as it was.  CommitUncertain: it failed at the very last step.
    """
    began, tries = time.monotonic(), 0
    turn: Hold | None = None
    try:
        while True:
            base = library.newest_for_writing()
            known = dict(base.manifest.recent_txns).get(terms.txn_id or "")
            if known is None:
                _check_merges(library, base.manifest, terms)
            new = change.rebase(base) if known is None else None
            if new is None:
                change.discard()
                return Published(base.version if known is None else known, made=False)
            new = _stamped(new, base.manifest, library.writer, terms)
            if library.files.put_exclusive(file_name(new.version), new.to_bytes()):
                break
            change.lost()
            tries += 1
            if time.monotonic() - began > DEADLINE_S:
                raise ConflictError(
                    f"other writers were faster {tries} times in {DEADLINE_S:.0f} s; try again when they are done"
                )
            turn = turn or library.files.wait_for("manifests", TURN_S)
            if turn is None:
                time.sleep(random.uniform(0, min(0.5, 0.005 * 2 ** min(tries, 10))))
    except CommitUncertain:
        raise  # a manifest may name the files
    except LibraryError:
        change.discard()
        raise
    finally:
        change.release()
        if turn is not None:
            turn.release()
    try:
        library.files.sync_folder("manifests")
    except WriteError as error:
        raise CommitUncertain(
            f"version {new.version} of {library.path} was written but the disk did not confirm it ({error}); "
            f"look for it with `remora library history` before trying again"
        ) from error
    return Published(new.version, made=True)


def _check_merges(library: Versions, base: Manifest, terms: Terms) -> None:
    if terms.expect is not None and base.version != terms.expect:
        raise ConflictError(
            f"{library.path} is at version {base.version}, not {terms.expect} as expected; look at what changed, then try again"
        )
    if terms.since is not None and base.replaced_in > terms.since:
        raise ConflictError(
            f"version {base.replaced_in} of {library.path} took its rows from an older one after this change was begun; "
            "begin it again on the newest version"
        )


def _stamped(new: Manifest, base: Manifest, writer: str, terms: Terms) -> Manifest:
    """``new`` with all that tells one commit from another."""
    version, txns = base.version + 1, base.recent_txns
    if terms.txn_id is not None:
        txns = (*txns, (terms.txn_id, version))[-KNOWN_TRANSACTIONS:]
    op: Mapping[str, Any] = {"added_rows": 0, "deleted_rows": 0, **new.op, "txn_id": terms.txn_id, "note": terms.note}
    return replace(new, version=version, parent=base.version, time=now(), writer=writer, op=op, recent_txns=txns)
