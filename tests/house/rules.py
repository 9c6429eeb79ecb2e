"""The rules that no linter has: each yields a line for every place that breaks it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from tests.house.source import Module, strings

DEVICE_HOMES = ("encoders/device.py", "remora/doctor.py")  # where a device is chosen, and where it is shown
MACHINE_PATH = re.compile(r"(?<![\w.:/~$}<-])/(?:home|work|root|Users|mnt|opt|farm|tmp|var)/\w")
SUFFIXES = {
    ".amc", ".asf", ".bvh", ".css", ".csv", ".gltf", ".html", ".ipynb", ".js", ".json", ".jsonl", ".md", ".mjs", ".npy",
    ".npz", ".parquet", ".png", ".py", ".safetensors", ".svg", ".toml", ".ts", ".tsx", ".txt", ".woff2", ".yaml", ".yml",
}  # fmt: skip
GOLDEN = {".bin", ".del", ".vec"}  # of the libraries in tests/golden, by which later formats are tried
PLAIN_NAMES = {
    ".dockerignore", ".gitattributes", ".gitignore", "Containerfile", "LICENSE", "Makefile", "NOTICE", "py.typed", "run",
}  # fmt: skip


def device_names(modules: Iterable[Module]) -> Iterator[str]:
    """A device that is written down, or asked of torch, where it is not decided."""
    for module in modules:
        if module.place in DEVICE_HOMES:
            continue
        for text in strings(module.tree):
            if text.value == "cuda" or str(text.value).startswith("cuda:"):
                yield f"{module.place}:{text.lineno} names a device; ask encoders.device"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == "cuda":
                yield f"{module.place}:{node.lineno} speaks to torch.cuda; ask encoders.device"


def machine_paths(place: str, text: str) -> Iterator[str]:
    """A path that exists on somebody's machine only."""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := MACHINE_PATH.search(line):
            yield f"{place}:{number} holds a path of one machine: {line[found.start() :][:40]}"


def foreign_files(names: Iterable[str]) -> Iterator[str]:
    """A tracked file of a kind that does not belong here."""
    for name in names:
        path = PurePosixPath(name)
        if path.parts[:2] == ("tests", "golden") and path.suffix in GOLDEN:
            continue
        if path.suffix not in SUFFIXES and path.name not in PLAIN_NAMES:
            yield f"{name}: files of this kind are not kept; see tests/house/rules.py"


def offered(module: Module) -> tuple[list[str], set[str]]:
    """(``__all__``, public names that the module binds at its top)."""
    listed: list[str] = []
    bound: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) and getattr(node, "module", "") != "__future__":
            bound |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "__all__":
                listed = list(ast.literal_eval(node.value))
            else:
                bound.add(node.targets[0].id)
    return listed, {name for name in bound if not name.startswith("_")}


def incomplete_fronts(packages: Iterable[Module], own: frozenset[str]) -> Iterator[str]:
    """A package whose ``__all__`` lists something twice, or leaves out what one of our rooms gave it."""
    for module in packages:
        listed, bound = offered(module)
        for name, times in Counter(listed).items():
            if times > 1:
                yield f"{module.place}: __all__ lists {name} twice"
        given = {
            alias.asname or alias.name
            for node in module.tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in own
            for alias in node.names
        }
        needed = {node.id for node in ast.walk(module.tree) if isinstance(node, ast.Name)}  # by the package itself
        if listed:
            for name in sorted((given & bound) - needed - set(listed)):
                yield f"{module.place}: {name} is not in __all__"


def unused_names(modules: Mapping[str, Module]) -> Iterator[str]:
    """A function, class or constant at the top of a module that nothing in the rooms speaks of."""
    used: Counter[str] = Counter()
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used[node.id] += 1
            elif isinstance(node, ast.Attribute):
                used[node.attr] += 1
            elif isinstance(node, ast.alias):
                used[node.name] += 1
        for text in strings(module.tree):  # in __all__, in a quoted annotation, in a registry ("motion.draw:strip")
            used.update(re.findall(r"[A-Za-z_]\w*", str(text.value)) if len(str(text.value)) < 100 else ())
    for module in modules.values():
        for node in module.tree.body:
            names = (
                [node.name]
                if isinstance(node, ast.FunctionDef | ast.ClassDef)
                else [target.id for target in node.targets if isinstance(target, ast.Name)]
                if isinstance(node, ast.Assign)
                else []
            )
            decorated = bool(getattr(node, "decorator_list", ()))  # registered by its decorator
            for name in names:
                if not used[name] and not name.startswith("__") and not decorated:
                    yield f"{module.place}:{node.lineno} {name} is used by nothing but, perhaps, tests"
