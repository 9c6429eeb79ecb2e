"""Write the tables of a model card from what ``remora evaluate retrieval --json`` printed.

    remora evaluate retrieval --data ../shared/data/actions --json > test.json
    python -m benchmarks.model_card encoders/weights/part-momentum-small/README.md test=test.json

Each ``name=file`` replaces what stands between ``<!-- name -->`` and ``<!-- /name -->`` in the card.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def interval(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['clips']} clips of {found['classes']} classes, split `{found['split']}`, {found['interval']}.",
        "",
        f"| question | figure | queries | gallery | {found['encoder']} | chance | {found['baseline']} | difference |",
        "| --- | --- | ---: | ---: | --- | ---: | --- | --- |",
    ]
    for row in found["rows"]:
        chance = "" if row["chance"] is None or row["chance"] != row["chance"] else f"{row['chance']:.3f}"
        lines.append(
            f"| {row['name']} | {row['metric']} | {row['queries']} | {row['gallery']} | {interval(row)} | {chance} "
            f"| {interval(row['baseline'])} | {interval(row['difference'])} |"
        )
    return "\n".join(lines)


def main() -> None:
    card = Path(sys.argv[1])
    text = card.read_text(encoding="utf-8")
    for argument in sys.argv[2:]:
        name, _, file = argument.partition("=")
        found = re.search(rf"(<!-- {name} -->).*?(<!-- /{name} -->)", text, flags=re.DOTALL)
        if found is None:
            sys.exit(f"{card} has no place <!-- {name} --> ... <!-- /{name} -->")
        rows = table(json.loads(Path(file).read_text(encoding="utf-8")))
        text = f"{text[: found.start()]}{found[1]}\n{rows}\n{found[2]}{text[found.end() :]}"
    card.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
