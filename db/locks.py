"""Locks on files and folders of a library, for those who read and for a vacuum that deletes.

- A lock is the system's own on an open descriptor: it dies with its holder, needs no clock and works on read-only
  media. Locks spare work and keep ``vacuum`` off; that a commit is whole and alone under its number never rests on
  one.
- What is locked is what the name says: a file that was replaced between opening and locking counts as gone.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Any

READ_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
_BUSY = {errno.EAGAIN, errno.EACCES}


class Busy(Exception):
    """Somebody else has the lock."""


class Hold:
    """A lock on a file or folder of a library, until it is released or forgotten."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def __del__(self) -> None:
        self.release()


def lock(path: Path, *, exclusive: bool, system: Any) -> Hold | None:
    """Have a file or folder, shared or ``exclusive``, without waiting; None where there are no locks. ``system`` is ``os``.

    Raises:
        Busy: somebody holds it otherwise.  FileNotFoundError: it is gone or was replaced.  OSError: it cannot be opened.
    """
    descriptor = system.open(path, READ_FLAGS)
    hold = Hold(descriptor)
    try:
        flock(descriptor, (LOCK_EX if exclusive else LOCK_SH) | LOCK_NB)
    except OSError as error:
        hold.release()
        if error.errno in _BUSY:
            raise Busy from None
        return None
    try:
        mine, named = system.fstat(descriptor), system.stat(path, follow_symlinks=False)
    except OSError:
        hold.release()
        raise
    if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
        hold.release()
        raise FileNotFoundError(errno.ENOENT, "was replaced", str(path))
    return hold
