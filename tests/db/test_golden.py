"""Libraries of every format there was open for ever, say what they said, and can be gone on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from db import Library
from tests.db.world import batch, names
from tests.golden.make import contents

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("[0-9]*"))


@pytest.fixture(params=GOLDEN, ids=[f"format {path.name}" for path in GOLDEN])
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden library, with what it must say beside it."""
    return Path(shutil.copytree(request.param, tmp_path / "golden"))


def test_every_version_says_what_it_said_when_it_was_made(golden: Path) -> None:
    library = Library.open(golden / "library")
    expected = json.loads((golden / "expected.json").read_text())
    assert [str(version.version) for version in library.versions()] == list(expected)
    for version in library.versions():
        said = {"kind": version.kind, **contents(library.snapshot(version.version))}
        assert said == expected[str(version.version)], version
    report = library.verify(all_versions=True)
    assert (report.problems, report.derived) == ((), ())
    newest = library.snapshot().manifest
    assert (dict(newest.tags), dict(newest.config)) == ({"six": 4}, {"search": {"kind": "flat"}})
    found = library.store.index_file(newest.indexes[0], "index.bin")
    assert found is not None
    assert found[:] == b"derived"


def test_it_can_be_gone_on_with(golden: Path) -> None:
    library = Library.open(golden / "library")
    before = library.snapshot()
    change = library.begin()
    change.upsert(*batch(names(2, 50), version=9))
    change.delete(ids=names(1))
    report = change.commit()
    assert (report.added, report.replaced, report.deleted) == (1, 1, 1)
    assert set(library.snapshot().ids()) == set(before.ids()) - set(names(1)) | set(names(50))
    del before  # a version that is held is kept
    library.compact(thorough=True)
    library.vacuum(keep=1, older_than_s=0, grace_s=0)
    assert [version.version for version in library.versions()] == [4, library.latest]
    assert library.snapshot().frames("clip-2") == b"clip-2/9"
    assert library.verify(all_versions=True).problems == ()
