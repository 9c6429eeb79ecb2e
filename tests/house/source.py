"""The source as the house rules see it: files, modules, syntax trees, and who imports whom."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("motion", "encoders", "db", "indexer", "retriever", "generator", "remora")
ENTRIES = ("remora.cli.app", "remora.__main__", *ROOMS)  # the command line, and what the packages offer


@dataclass(frozen=True)
class Module:
    """A module of the rooms: dotted name, path, syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def place(self) -> str:
        """Path from the repository's root, with forward slashes."""
        return self.path.relative_to(REPOSITORY).as_posix()

    @property
    def package(self) -> str:
        """The package that relative names count from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@cache
def modules() -> Mapping[str, Module]:
    """All modules of the rooms by dotted name."""
    found = {}
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
    return found


@cache
def tracked() -> tuple[str, ...]:
    """Paths that git knows; empty outside a repository."""
    if not (REPOSITORY / ".git").exists():
        return ()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return tuple(name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def strings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Text constants that are no docstrings."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node


def imports(module: Module, known: Mapping[str, Module]) -> set[str]:
    """Modules that ``module`` imports, anywhere in its code, also by name in a text ("motion.files.bvh:read")."""
    named: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.package.split(".")[: len(module.package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            named |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    named |= {str(text.value).partition(":")[0] for text in strings(module.tree)}
    above = {".".join(name.split(".")[:depth]) for name in named for depth in range(1, name.count(".") + 2)}
    return above & set(known)


def reachable(known: Mapping[str, Module], entries: tuple[str, ...]) -> set[str]:
    """Modules that are imported from ``entries``, at once or at last."""
    seen: set[str] = set()
    waiting = [name for name in entries if name in known]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports(known[name], known) - seen)
    return seen
