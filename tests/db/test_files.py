"""Disks without hard links, libraries of an earlier layout, and what a reader is told of a broken newest version."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

import db.files
from db import CorruptionError, FormatError, Library, WriteError
from db.manifest import parse
from remora.cli.app import main
from tests.db.world import ENCODER, SPACES, batch, names


class Linkless:
    """``os`` of a file system without hard links."""

    def __init__(self) -> None:
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def link(self, *_: Any, **__: Any) -> None:
        self.asked += 1
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.fixture
def linkless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Linkless:
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    if db.files._renameat2(tmp_path / "one", tmp_path / "other") != errno.EEXIST:
        pytest.skip("this system has no renameat2 that refuses a name that exists")
    system = Linkless()
    monkeypatch.setattr(db.files, "os", system)
    return system


def add(library: Library, *numbers: int) -> int:
    change = library.begin()
    change.upsert(*batch(names(*numbers)))
    return change.commit().version


def test_without_hard_links_commits_rest_on_an_exclusive_rename(linkless: Linkless, tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    assert [add(library, 1, 2), add(library, 3)] == [1, 2]
    assert sorted(library.snapshot().ids()) == names(1, 2, 3)
    assert library.verify(all_versions=True).ok
    assert linkless.asked >= 4  # the card and every manifest
    assert not list((tmp_path / "lib").rglob(".tmp-*"))


def test_an_exclusive_rename_never_replaces_a_version_and_writers_still_merge(
    linkless: Linkless, tmp_path: Path
) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    change = library.begin()
    change.upsert(*batch(names(1)))
    add(Library.open(tmp_path / "lib"), 2)  # has version 1 now
    kept = (tmp_path / "lib" / "manifests" / f"{1:020d}.json").read_bytes()
    assert not library.files.put_exclusive(f"manifests/{1:020d}.json", b"mine")
    assert change.commit().version == 2
    assert (tmp_path / "lib" / "manifests" / f"{1:020d}.json").read_bytes() == kept
    assert sorted(Library.open(tmp_path / "lib").snapshot().ids()) == names(1, 2)


def test_with_neither_nothing_is_written(linkless: Linkless, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    monkeypatch.setattr(db.files, "_renameat2", lambda *_: errno.EINVAL)
    with pytest.raises(WriteError, match="neither hard links nor exclusive renames"):
        add(library, 1)
    assert Library.open(tmp_path / "lib").latest == 0
    assert not list((tmp_path / "lib" / "manifests").glob(".tmp-*"))


def test_a_rename_whose_reply_was_lost_counts(
    linkless: Linkless, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    real = db.files._renameat2

    def silent(source: Path, target: Path) -> int:
        real(source, target)
        return errno.EIO

    monkeypatch.setattr(db.files, "_renameat2", silent)
    assert add(library, 1) == 1
    assert Library.open(tmp_path / "lib").verify().ok


def test_a_library_of_the_earlier_frames_says_index_it_again(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    add(library, 1, 2)
    path = tmp_path / "lib" / "manifests" / f"{1:020d}.json"
    manifest = parse(path.read_bytes(), path.name)
    for entry in manifest.segments[0].files:
        if entry.name == "frames.bin":
            folder = tmp_path / "lib" / "segments" / manifest.segments[0].id
            (folder / "frames.bin").rename(folder / "frames.arrow")
            object.__setattr__(entry, "name", "frames.arrow")
    path.write_bytes(manifest.to_bytes())
    opened = Library.open(tmp_path / "lib")
    assert opened.snapshot().ids() == names(1, 2)  # all but the frames can be read
    with pytest.raises(FormatError, match=r"frames.arrow.*index it again: remora index"):
        opened.snapshot().frames("clip-1")
    assert any("index it again" in problem for problem in opened.verify().problems)


def test_a_damaged_newest_manifest_is_named_with_what_is_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    library = Library.create(tmp_path / "lib", spaces=SPACES, encoder=ENCODER)
    add(library, 1)
    add(library, 2)
    path = tmp_path / "lib" / "manifests" / f"{2:020d}.json"
    path.write_bytes(path.read_bytes()[:-40])
    opened = Library.open(tmp_path / "lib")
    for _ in range(3):
        assert opened.snapshot().version == 1
    (said,) = [record.getMessage() for record in caplog.records]
    assert path.name in said
    assert "version 1 is shown" in said and "repair --rollback" in said
    with pytest.raises(CorruptionError, match=path.name):
        opened.begin()
    assert main(["library", "info", str(tmp_path / "lib"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["version"] == 1
