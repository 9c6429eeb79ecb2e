"""``python -m tests.house.sizes``: what has grown long. Places to look at, not limits to dodge; it fails nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from tests.house.source import Module, modules

FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 50, 8


def long_places(module: Module) -> Iterator[str]:
    """A line for each file, function and list of parameters that asks which concept wants its own name."""
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        yield f"{module.place}: {lines} lines"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        parameters = sum(argument.arg not in ("self", "cls") for argument in taken)
        if length > FUNCTION_LINES:
            yield f"{module.place}:{node.lineno} {node.name}: {length} lines"
        if parameters > PARAMETERS and not module.name.startswith("remora.cli."):  # there a parameter is an option
            yield f"{module.place}:{node.lineno} {node.name}: {parameters} parameters"


def main() -> None:
    """Print the report."""
    places = [place for module in modules().values() for place in long_places(module)]
    heading = (
        f"{len(places)} places over {FILE_LINES} lines a file, {FUNCTION_LINES} a function, {PARAMETERS} parameters"
    )
    sys.stdout.write("\n  ".join([heading, *places]) + "\n")


if __name__ == "__main__":
    main()
