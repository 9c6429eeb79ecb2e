"""The only module that touches the disk: the seam for faults in tests and, one day, for object storage.

- Names are relative to the library's folder, made of plain path parts; nothing is followed out of it, no symbolic link either.
- ``write`` returns when the bytes are on the disk; a folder's entries are durable after ``sync_folder``.
- ``put_exclusive`` is the one primitive commits rest on: complete, synced bytes appear under a name that did not exist.
  It is link(2), because rename(2) replaces silently and O_EXCL shows a name before its bytes. Whether it worked is told by
  the number of links, not by the reply, which a network may lose.
- Only plain files are opened: a pipe or device under a library's name is refused, not waited for.
- Whatever the system says becomes a LibraryError; only FileNotFoundError passes, since callers know what a missing name means.
"""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from db.errors import CommitUncertain, CorruptionError, LibraryError, WriteError

_READ_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK"))
_NO_LINK = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK}


class Files:
    """The files of one library folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, name: str) -> Path:
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
        path = self._path(name) if name else self.root
        try:
            return os.stat(path, follow_symlinks=not name).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise self._unreadable(path, error) from error

    def list(self, folder: str) -> list[str]:
        """Names in ``folder`` (the root for ""), sorted; empty when it is not there."""
        path = self._path(folder) if folder else self.root
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unreadable(path, error) from error

    def size(self, name: str) -> int:
        """Bytes of a file; FileNotFoundError when it is not there."""
        path = self._path(name)
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
            raise self._unreadable(self._path(name), error) from error

    def map(self, name: str) -> mmap.mmap:
        """A file as read-only memory; it may not be empty."""
        descriptor = self._open(name)
        try:
            return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise self._unreadable(self._path(name), error) from error
        finally:
            with suppress(OSError):  # nothing was written through it
                os.close(descriptor)

    def _open(self, name: str) -> int:
        path = self._path(name)
        try:
            descriptor = os.open(path, _READ_FLAGS)
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
        path = self._path(name) if name else self.root
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise self._failed("create the folder", path, error) from error

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Create a file that is not there with ``data`` and sync it; when that fails, nothing of it is left."""
        path = self._path(name)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise self._failed("write", path, error) from error
        try:
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.remove(name)
            raise self._failed("write", path, error) from error

    def sync_folder(self, name: str) -> None:
        """Make the entries of a folder durable; the root for the name ""."""
        path = self._path(name) if name else self.root
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failed("sync", path, error) from error

    def rename_folder(self, name: str, final: str) -> None:
        """Give a finished folder its unique final name."""
        try:
            os.rename(self._path(name), self._path(final))
        except OSError as error:
            raise self._failed("rename", self._path(name), error) from error

    def put_exclusive(self, name: str, data: bytes) -> bool:
        """Let ``name`` appear complete and synced; False when it exists already. Its folder is not yet synced."""
        folder = name.rpartition("/")[0]
        partial = f"{folder}/.tmp-{secrets.token_hex(8)}" if folder else f".tmp-{secrets.token_hex(8)}"
        self.write(partial, data)
        source, target = self._path(partial), self._path(name)
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if self._linked(source, target):  # only the reply was lost
                return True
            if isinstance(error, FileExistsError):
                return False
            if error.errno in _NO_LINK:
                raise WriteError(
                    f"{target}: this file system lacks hard links, which commits rest on; put the library on a local disk"
                ) from error
            raise self._failed("commit", target, error) from error
        finally:
            self.remove(partial)
        return True

    def _linked(self, source: Path, target: Path) -> bool:
        try:
            return os.stat(source).st_nlink == 2
        except OSError as error:
            raise CommitUncertain(
                f"cannot tell whether {target} was written ({error.strerror}); look at its history before trying again"
            ) from error

    def remove(self, name: str) -> None:
        """Delete a file; it is no error when it is gone or cannot be deleted (it is not referenced by anything)."""
        try:
            os.unlink(self._path(name))
        except OSError:
            return

    def remove_folder(self, name: str) -> None:
        """Delete an unreferenced folder and the files in it, as far as possible."""
        for entry in self.list(name):
            self.remove(f"{name}/{entry}")
        try:
            os.rmdir(self._path(name))
        except OSError:
            return

    def _unreadable(self, path: Path, error: OSError | ValueError) -> LibraryError:
        said = getattr(error, "strerror", None) or error
        shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
        return LibraryError(f"cannot read {shown}: {said}; check the path, its rights and the disk")

    def _failed(self, action: str, path: Path, error: OSError) -> WriteError:
        hint = {
            errno.ENOSPC: "free some space and try again",
            errno.EROFS: "it is on a read-only file system; copy the library elsewhere",
            errno.EACCES: "change its rights or use another library",
        }.get(error.errno or 0, "check the disk and its rights")
        return WriteError(f"cannot {action} {path}: {error.strerror or error}; {hint}")
