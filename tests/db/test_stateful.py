"""A library against a dictionary: whatever is done in whatever order, both say the same; in every version, too."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import db.files
from db import Library, LibraryError, NewIndex
from tests.db.faults import FaultySystem
from tests.db.world import DIM, ENCODER, SPACES, batch, names, unit

NUMBERS = st.sets(st.integers(0, 9), min_size=1, max_size=4)
VERSIONS = st.integers(0, 2)
FILTERS = {
    "duration_s < 2": lambda n: n / 2 < 2, "source = 'kit'": lambda n: n % 2 == 1, "not mirrored": lambda n: n % 3 != 0,
    "n_frames between 20 and 60": lambda n: 20 <= 10 * n <= 60, "class_id in ('class1', 'class3')": lambda n: n % 5 in (1, 3),
}  # fmt: skip
Model = dict[int, int]  # clip number -> version of its content


class LibraryMachine(RuleBasedStateMachine):
    """The library, a dictionary beside it, and what the dictionary was in each version that is still there."""

    @initialize()
    def create(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="stateful-"))
        self.library = Library.create(self.folder / "lib", spaces=SPACES, encoder=ENCODER)
        self.now: Model = {}
        self.then: dict[int, Model] = {0: {}}
        self.tags: dict[str, int] = {}

    def teardown(self) -> None:
        db.files.os = __import__("os")
        shutil.rmtree(getattr(self, "folder", ""), ignore_errors=True)

    def done(self, new: Model) -> None:
        """The model is ``new`` from the newest version on."""
        for version in self.library.versions():
            self.then.setdefault(version.version, dict(new))
        self.now = new

    @rule(numbers=NUMBERS, version=VERSIONS, gone=st.sets(st.integers(0, 9), max_size=3))
    def upsert(self, numbers: set[int], version: int, gone: set[int]) -> None:
        change = self.library.begin()
        change.upsert(*batch(names(*sorted(numbers)), version=version))
        change.delete(ids=names(*gone))
        change.commit()
        self.done({**{n: v for n, v in self.now.items() if n not in gone}, **dict.fromkeys(numbers, version)})

    @rule(where=st.sampled_from(sorted(FILTERS)))
    def delete(self, where: str) -> None:
        change = self.library.begin()
        change.delete(where=where)
        change.commit()
        self.done({n: v for n, v in self.now.items() if not FILTERS[where](n)})

    @rule(thorough=st.booleans())
    def compact(self, thorough: bool) -> None:
        self.library.compact(thorough=thorough)
        self.done(self.now)

    @rule(name=st.sampled_from("abc"), data=st.data())
    def tag(self, name: str, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.then)))
        if name in self.tags:
            self.library.untag(name)
        self.library.tag(name, version)
        self.tags[name] = version
        self.done(self.now)

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.then)))
        self.library.restore(version)
        self.done(dict(self.then[version]))

    @precondition(lambda self: self.now)
    @rule(name=st.sampled_from("ij"))
    def index(self, name: str) -> None:
        entry = self.library.snapshot().manifest.segments[-1]
        self.library.change_indexes([NewIndex(name, "motion/whole", "t", [entry.id], entry.rows, {"a.bin": b"x"})])
        self.done(self.now)

    @rule(keep=st.integers(1, 4))
    def vacuum(self, keep: int) -> None:
        expected = set(sorted(self.then)[-keep:]) | set(self.tags.values())
        self.library.vacuum(keep=keep, older_than_s=0, grace_s=0)
        self.then = {version: model for version, model in self.then.items() if version in expected}

    @rule()
    def reopen(self) -> None:
        self.library = Library.open(self.library.path)

    @rule(numbers=NUMBERS, version=VERSIONS, at=st.integers(1, 130), after=st.booleans())
    def fail(self, numbers: set[int], version: int, at: int, after: bool) -> None:
        """A call to the system fails on the way: the change happened or it did not, and is made again under its id."""
        txn = f"{self.library.latest}/{at}"
        for system in (FaultySystem(at, after=after), __import__("os")):
            db.files.os = system
            try:
                library = Library.open(self.library.path)
                change = library.begin(txn_id=txn)
                change.upsert(*batch(names(*sorted(numbers)), version=version))
                change.commit()
            except LibraryError:
                assert isinstance(system, FaultySystem)
            finally:
                db.files.os = __import__("os")
        self.library = Library.open(self.library.path)
        self.done({**self.now, **dict.fromkeys(numbers, version)})

    @invariant()
    def every_version_is_its_model(self) -> None:
        if not hasattr(self, "library"):
            return
        assert {version.version for version in self.library.versions()} == set(self.then)
        assert dict(self.library.tags) == self.tags
        for version in {self.library.latest, min(self.then)}:
            self._agree(self.library.snapshot(version), self.then[version])
        assert self.library.verify().problems == ()

    def _agree(self, snapshot: Any, model: Model) -> None:
        ids = names(*sorted(model))
        assert sorted(snapshot.ids()) == sorted(ids)
        assert [snapshot.frames(name) for name in ids] == [f"{name}/{model[int(name[5:])]}".encode() for name in ids]
        query = unit((1, DIM), 7)
        meant = {name: batch([name], version=model[int(name[5:])])[2]["motion/whole"][0] for name in ids}
        scores = {
            name: float(vector.astype(np.float64) @ query[0].astype(np.float64)) for name, vector in meant.items()
        }
        for where, keep in {None: lambda n: True, **FILTERS}.items():
            wanted = sorted((name for name in ids if keep(int(name[5:]))), key=lambda name: (-scores[name], name))[:4]
            hits = snapshot.search("motion/whole", query, 4, where=where)
            assert hits.ids[0] == wanted
            np.testing.assert_allclose(hits.scores[0], [scores[name] for name in wanted], atol=1e-5)


TestLibrary = LibraryMachine.TestCase
TestLibrary.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
