"""The house is in order; and each rule is shown something that breaks it."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import rules
from tests.house.source import ENTRIES, REPOSITORY, ROOMS, Module, modules, reachable, tracked

LINTED = "ERA001,T20,E722,F403,RUF022"  # commented-out code, print, bare except, import *, unsorted __all__
TEXTS = {".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml", ""}


def module(text: str, name: str = "motion.thing") -> Module:
    """A module that is not there."""
    return Module(name, REPOSITORY / (name.replace(".", "/") + ".py"), ast.parse(text))


def lint(*paths: Path) -> list[str]:
    """Codes of what ruff finds by the rules of the house."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", LINTED, "--output-format", "json", *paths],
        capture_output=True, text=True, cwd=REPOSITORY, check=False,
    )  # fmt: skip
    return [f"{Path(row['filename']).name}:{row['location']['row']} {row['code']}" for row in json.loads(done.stdout)]


def test_no_dead_comments_prints_bare_excepts_or_star_imports() -> None:
    assert lint(*(REPOSITORY / room for room in ROOMS if (REPOSITORY / room).is_dir())) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("# x = compute(1)\n", "ERA001"),
        ("print('a')\n", "T201"),
        ("try:\n    pass\nexcept:\n    pass\n", "E722"),
        ("from os import *\n", "F403"),
        ("__all__ = ['b', 'a']\n", "RUF022"),
    ],
)
def test_the_linter_sees_each_of_them(text: str, code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(text)
    assert [row.rpartition(" ")[2] for row in lint(tmp_path)] == [code]


def test_devices_are_named_in_one_place() -> None:
    assert list(rules.device_names(modules().values())) == []
    bad = module(
        'def f(model):\n    "Runs on cuda."\n    return model.to("cuda:0")\n\n\nimport torch\ntorch.cuda.empty_cache()\n'
    )
    assert len(list(rules.device_names([bad]))) == 2


def test_no_path_of_a_machine() -> None:
    texts = [name for name in tracked() if Path(name).suffix in TEXTS and not name.startswith("tests/house/")]
    found = [
        line for name in texts for line in rules.machine_paths(name, (REPOSITORY / name).read_text("utf-8", "replace"))
    ]
    assert found == []
    assert len(list(rules.machine_paths("x", "a = '/home/me/data'\nb = 'out/home/x'\nc = 'https://x.org/tmp/a'"))) == 1


def test_only_known_kinds_of_files_are_tracked() -> None:
    assert list(rules.foreign_files(tracked())) == []
    assert len(list(rules.foreign_files(["a.pkl", "b/c.pt", "LICENSE", "a.py"]))) == 2


def test_every_module_is_reached_from_command_line_or_public_names() -> None:
    known = modules()
    empty = {name for name, found in known.items() if len(found.tree.body) <= 1}  # folders of data
    assert sorted(set(known) - reachable(known, ENTRIES) - empty) == []
    lonely = {"motion": module("from motion.a import f", "motion"), "motion.a": module("", "motion.a")}
    lonely["motion.b"] = module("import motion.a", "motion.b")
    assert set(lonely) - reachable(lonely, ("motion",)) == {"motion.b"}


def test_nothing_is_defined_for_nobody() -> None:
    assert list(rules.unused_names(modules())) == []
    pair = {"a": module("def used(): ...\ndef lost(): ...\nused()\n", "a")}
    assert [line.split()[1] for line in rules.unused_names(pair)] == ["lost"]


def test_packages_list_what_they_offer_and_offer_what_they_list() -> None:
    fronts = [known for known in modules().values() if known.path.name == "__init__.py"]
    assert list(rules.incomplete_fronts(fronts, frozenset(ROOMS))) == []
    bad = module("from motion.clip import Clip, Source\n__all__ = ['Clip', 'Clip']", "motion")
    assert len(list(rules.incomplete_fronts([bad], frozenset(ROOMS)))) == 2
    for front in fronts:
        loaded = importlib.import_module(front.name)
        missing = [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)]
        assert missing == [], front.name
