"""The only module that touches the disk: the seam for faults in tests and, one day, for object storage.

- Names are relative to the library's folder, made of plain path parts; nothing is followed out of it, no symbolic
  link either.
- ``write`` returns when the bytes are on the disk; a folder's entries are durable after ``sync_folder``.
- ``put_exclusive`` is the one primitive commits rest on: complete, synced bytes appear under a name that did not
  exist. It is link(2), because rename(2) replaces silently and O_EXCL shows a name before its bytes. Whether it
  worked is told by the number of links, not by the reply, which a network may lose. Where there are no hard links
  (exFAT, some containers) it is renameat2(RENAME_NOREPLACE); where there is neither, nothing is written. Both refuse
  a name that exists, so they mix.
- Only plain files are opened: a pipe or device under a library's name is refused, not waited for.
- Whatever the system says becomes a LibraryError; only FileNotFoundError passes, since callers know what a missing
  name means.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import secrets
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from db.errors import CommitUncertain, CorruptionError, LibraryError, WriteError
from db.locks import READ_FLAGS, Busy, Hold, lock

_NO_LINK = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
BUFFER_BYTES = 1 << 18
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1


def _renameat2(source: Path, target: Path) -> int:
    """0, or the number of the error."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return errno.ENOSYS
    done = call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE)
    return 0 if done == 0 else ctypes.get_errno()


class Sink:
    """A new file that is being written; its bytes are durable when the ``with`` block ends, and gone when that fails.

    ``bytes`` and ``blake2b`` tell what was written so far.
    """

    closed = False  # so that Arrow takes it for a file

    def __init__(self, files: Files, name: str) -> None:
        self._files, self._name = files, name
        self._path = files.path(name)
        self._hash = hashlib.blake2b(digest_size=32)
        self._waiting = bytearray()  # Arrow writes a few bytes at a time
        self.bytes = 0
        try:
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644
            )
        except OSError as error:
            raise files.failed("write", self._path, error) from error

    @property
    def blake2b(self) -> str:
        """The hash of what was written, hex."""
        return self._hash.hexdigest()

    def write(self, data: bytes | memoryview) -> int:
        """Append ``data``."""
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self.bytes += len(view)
        if len(self._waiting) + len(view) <= BUFFER_BYTES:
            self._waiting += view
        else:
            self.flush()
            self._write(view)
        return len(view)

    def flush(self) -> None:
        """Hand what is waiting to the system."""
        waiting, self._waiting = self._waiting, bytearray()
        self._write(memoryview(waiting))

    def _write(self, view: memoryview) -> None:
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise self._files.failed("write", self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        done = False
        try:
            try:
                if kind is None:
                    self.flush()
                    os.fsync(self._descriptor)
            finally:
                os.close(self._descriptor)
            done = kind is None
        except OSError as failure:
            raise self._files.failed("write", self._path, failure) from failure
        finally:
            if not done:
                self._files.remove(self._name)


class Files:
    """The files of one library folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where a file is; CorruptionError when the name leads out of the library."""
        parts = name.split("/")
        if not name or any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise CorruptionError(
                f"{self.root}: a manifest names {name!r}, which is outside the library; verify the library"
            )
        path = self.root
        for part in parts[:-1]:
            path /= part
            if path.is_symlink():
                raise CorruptionError(
                    f"{path} is a symbolic link; a library holds plain folders only, copy its target here"
                )
        return self.root.joinpath(*parts)

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name; the root for ""."""
        return self._mode(name) is not None

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder of that name; the root, which may be a link to one, for ""."""
        mode = self._mode(name)
        return mode is not None and stat.S_ISDIR(mode)

    def _mode(self, name: str) -> int | None:
        path = self.path(name) if name else self.root
        try:
            return os.stat(path, follow_symlinks=not name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error

    def list(self, folder: str) -> list[str]:
        """Names in ``folder`` (the root for ""), sorted; empty when it is not there."""
        path = self.path(folder) if folder else self.root
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(path, error) from error

    def is_second_name(self, name: str) -> bool:
        """Whether the bytes of a file also stand under another name."""
        return os.stat(self.path(name)).st_nlink > 1

    def size(self, name: str) -> int:
        """Bytes of a file; FileNotFoundError when it is not there."""
        path = self.path(name)
        try:
            return os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(path, error) from error

    def read(self, name: str) -> bytes:
        """The whole of a file; FileNotFoundError when it is not there."""
        descriptor = self._open(name)
        try:
            with os.fdopen(descriptor, "rb") as stream:
                return stream.read()
        except OSError as error:
            raise self._unreadable(self.path(name), error) from error

    def map(self, name: str) -> mmap.mmap:
        """A file as read-only memory; it may not be empty."""
        descriptor = self._open(name)
        try:
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise self._unreadable(self.path(name), error) from error
        finally:
            with suppress(OSError):  # nothing was written through it
                os.close(descriptor)

    def _open(self, name: str) -> int:
        path = self.path(name)
        try:
            descriptor = os.open(path, READ_FLAGS)
            plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CorruptionError(
                    f"{path} is a symbolic link, which is not followed; copy its target here"
                ) from error
            raise self._unreadable(path, error) from error
        if not plain:
            with suppress(OSError):
                os.close(descriptor)
            raise CorruptionError(f"{path} is not a plain file; move it away and restore the right one from a copy")
        return descriptor

    def make_folder(self, name: str) -> None:
        """Create a folder where there is none; the root too, for the name ""."""
        path = self.path(name) if name else self.root
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise self.failed("create the folder", path, error) from error

    def create(self, name: str) -> Sink:
        """A file that is not there, to be written piece by piece."""
        return Sink(self, name)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Create a file that is not there with ``data`` and sync it; when that fails, nothing of it is left."""
        with self.create(name) as sink:
            sink.write(data)

    def sync_folder(self, name: str) -> None:
        """Make the entries of a folder durable; the root for the name ""."""
        path = self.path(name) if name else self.root
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self.failed("sync", path, error) from error

    def rename(self, name: str, final: str) -> None:
        """Give a finished file or folder a final name that nobody has."""
        try:
            os.rename(self.path(name), self.path(final))
        except OSError as error:
            raise self.failed("rename", self.path(name), error) from error

    def put_exclusive(self, name: str, data: bytes) -> bool:
        """Let ``name`` appear complete and synced; False when it exists already. Its folder is not yet synced."""
        folder = name.rpartition("/")[0]
        partial = f"{folder}/.tmp-{secrets.token_hex(8)}" if folder else f".tmp-{secrets.token_hex(8)}"
        self.write(partial, data)
        source, target = self.path(partial), self.path(name)
        try:
            return self._link(source, target)
        finally:
            self.remove(partial)

    def _link(self, source: Path, target: Path) -> bool:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if self._linked(source, target):  # only the reply was lost
                return True
            if isinstance(error, FileExistsError):
                return False
            if error.errno in _NO_LINK:
                return self._rename_new(source, target)
            raise self.failed("commit", target, error) from error
        return True

    def _rename_new(self, source: Path, target: Path) -> bool:
        """The same by renameat2, for a file system without hard links."""
        code = _renameat2(source, target)
        if code == 0 or (code != errno.EEXIST and not source.exists() and target.exists()):
            return True
        if code == errno.EEXIST:
            return False
        raise WriteError(
            f"{target}: this file system has neither hard links nor exclusive renames, which commits rest on; "
            "put the library on a local disk"
        )

    def _linked(self, source: Path, target: Path) -> bool:
        try:
            return os.stat(source).st_nlink == 2
        except OSError as error:
            raise CommitUncertain(
                f"cannot tell whether {target} was written ({error.strerror}); look at its history before trying again"
            ) from error

    def hold(self, name: str) -> Hold | None:
        """Share a file or folder with others who hold it, so that nobody ``seize``s it; None where there are no locks.

        Raises:
            FileNotFoundError: it is not there, or somebody has seized it to delete it.
        """
        path = self.path(name)
        try:
            return self._lock(path, exclusive=False)
        except Busy:
            raise FileNotFoundError(errno.ENOENT, "is being deleted", str(path)) from None

    def seize(self, name: str) -> Hold | None:
        """Have a file or folder alone; None where there are no locks.

        Raises:
            Busy: somebody holds it.  FileNotFoundError: it is gone.
        """
        return self._lock(self.path(name), exclusive=True)

    def wait_for(self, name: str, seconds: float) -> Hold | None:
        """Have a file or folder alone, after waiting for others; None when that took too long or there are no locks."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                return self.seize(name)
            except Busy:
                time.sleep(random.uniform(0, 0.004))
        return None

    def _lock(self, path: Path, *, exclusive: bool) -> Hold | None:
        try:
            return lock(path, exclusive=exclusive, system=os)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(path, error) from error

    def age_s(self, name: str, now: float) -> float:
        """Seconds from the last change of a file or folder to ``now``; FileNotFoundError when it is gone."""
        path = self.path(name)
        try:
            return now - os.stat(path, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(path, error) from error

    def adopt(self, name: str, other: Files) -> None:
        """Have a file of another library under the same name: linked where that works, else copied."""
        try:
            os.link(other.path(name), self.path(name), follow_symlinks=False)
        except OSError:
            with self.create(name) as sink:
                sink.write(other.read(name))

    def total(self) -> int:
        """Bytes of all files there are."""
        found = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(FileNotFoundError):
                    found += os.lstat(os.path.join(folder, name)).st_size
        return found

    def delete(self, name: str) -> None:
        """Delete a file that names others; WriteError when it stays, for then what it names must stay too."""
        path = self.path(name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.failed("delete", path, error) from error

    def remove(self, name: str) -> None:
        """Delete a file; it is no error when it is gone or cannot be deleted (it is not referenced by anything)."""
        try:
            os.unlink(self.path(name))
        except OSError:
            return

    def remove_folder(self, name: str) -> None:
        """Delete an unreferenced folder and the files in it, as far as possible."""
        for entry in self.list(name):
            self.remove(f"{name}/{entry}")
        try:
            os.rmdir(self.path(name))
        except OSError:
            return

    def _unreadable(self, path: Path, error: OSError | ValueError) -> LibraryError:
        said = getattr(error, "strerror", None) or error
        shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
        return LibraryError(f"cannot read {shown}: {said}; check the path, its rights and the disk")

    def failed(self, action: str, path: Path, error: OSError) -> WriteError:
        """What to say when the system refuses to change a file."""
        hint = {
            errno.ENOSPC: "free some space and try again",
            errno.EROFS: "it is on a read-only file system; copy the library elsewhere",
            errno.EACCES: "change its rights or use another library",
        }.get(error.errno or 0, "check the disk and its rights")
        return WriteError(f"cannot {action} {path}: {error.strerror or error}; {hint}")
