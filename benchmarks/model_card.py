"""Write the tables of a model card from what ``remora evaluate ... --json`` or ``benchmarks.generate`` printed.

    remora evaluate retrieval --data ../shared/data/actions --json > test.json
    python -m benchmarks.model_card encoders/weights/part-momentum-small/README.md test=test.json

Each ``name=file`` replaces what stands between ``<!-- name -->`` and ``<!-- /name -->`` in the card; what kind of table it is
follows from what the file holds; the place ``protocols`` takes the protocols of pairs out of the same file as ``test``.
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


def protocols(found: dict[str, Any]) -> str:
    """Rows of the field's protocols of pairs; a ceiling stands beside R@1 where equal captions set one."""
    metrics = ("R@1", "R@3", "R@5", "R@10", "MedR")
    rows = []
    for row in found["pairs"]:
        ceiling = (row.get("ceiling") or {}).get("R@1")
        cells = [f"{row['metrics'][m]['value']:.3f}" for m in metrics]
        if ceiling is not None:
            cells[0] += f" of {ceiling:.3f}"
        name = f"{row['protocol']}, {row['ties']} ties"
        rows.append([name, row["direction"], row["encoder"], row["queries"], row["gallery"], *cells])
    return rows_of(["protocol", "direction", "encoder", "queries", "gallery", *metrics], rows)


def rows_of(columns: list[str], rows: list[list[Any]]) -> str:
    cells = [[f"{x:.3f}" if isinstance(x, float) else str(x) for x in row] for row in rows]
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tokens(found: dict[str, Any]) -> str:
    """How well motion comes back from tokens: by source, use of the codes, and what a search by text loses."""
    errors = ["mpjpe_mm", "pa_mpjpe_mm", "global_mm", "acceleration"]
    columns = ["source", "clips", "MPJPE mm", "PA-MPJPE mm", "with the path, mm", "acceleration m/s²"]
    rows = [[n, found["clips"][n], *(f"{r[e]:.1f}" for e in errors)] for n, r in found["sources"].items()]
    levels = range(len(next(iter(found["use"].values()))))
    used = [
        [kind, *(f"{100 * found['use'][kind][q]:.0f} % ({found['perplexity'][kind][q]:.0f})" for q in levels)]
        for kind in found["use"]
    ]
    recall = [[name, *pair, f"{100 * (pair[1] - pair[0]):+.1f}"] for name, pair in found["recall"].items()]
    return "\n\n".join(
        [
            rows_of(columns, rows),
            rows_of(["codes used (perplexity)", *(f"level {q}" for q in levels)], used),
            rows_of(["R@1 in the retriever's space", "real", "rebuilt", "points"], recall),
        ]
    )


def generation(found: dict[str, Any]) -> str:
    """The control ladder of one judge."""

    def both(x: dict[str, float] | None) -> str:
        return "" if x is None else f"{x['value']:.3f} ± {(x['high'] - x['low']) / 2:.3f}"

    names = ["mm_dist", "fid", "kid", "diversity", "multimodality"]
    columns = ["row", "N", "top-1", "top-2", "top-3", "MM-Dist", "FID", "KID", "Diversity", "MultiModality"]
    rows = [[r["name"], r["count"], *map(both, r["r_precision"]), *(both(r[n]) for n in names)] for r in found["rows"]]
    physics = list(found["rows"][0]["physics"])
    moved = [[r["name"], *r["physics"].values(), f"{r['nearest_mm']:.0f}", r["copied"]] for r in found["rows"]]
    blocks = [
        f"Judge: {found['judge']}. {found['neighbours']} neighbours, "
        + ("lengths of the real clips." if found["real_lengths"] else "estimated lengths."),
        rows_of(columns, rows),
        rows_of(["row", *(p.replace("_", " ") for p in physics), "nearest train clip, mm", "copied"], moved),
    ]
    if found["gains"]:
        signed = ["top3", "distance"]
        gained = [
            [
                g["over"],
                *(f"{g[k]['value']:+.3f} [{g[k]['low']:+.3f}, {g[k]['high']:+.3f}]" for k in signed),
                g["fid_ratio"],
            ]
            for g in found["gains"]
        ]
        blocks.append(rows_of(["neighbours against", "top-3", "distance to caption", "FID ratio"], gained))
    if found["events"]:
        aspects = list(next(iter(found["events"].values())))
        told = [[n, *("" if x is None else x for x in row.values())] for n, row in found["events"].items()]
        blocks.append(rows_of(["events kept", *aspects], told))
    return "\n\n".join(blocks)


def speed(found: dict[str, Any]) -> str:
    """Cost of a motion, by batch."""
    batches = {name: at for name, at in found.items() if name.startswith("batch")}
    rows = [
        [
            name, f"{at['ms_per_clip']:.0f}", f"{at['clips_per_s']:.2f}", f"{100 * at['share_of_gemm_peak']:.0f} %",
            at["ratio_to_peer"], ", ".join(f"{k} {100 * v:.0f} %" for k, v in at["share_of_time"].items()),
        ]
        for name, at in batches.items()
    ]  # fmt: skip
    head = (
        f"{found['machine']}, {found['threads']} thread(s), GEMM {found['gemm_gmac_s']:.1f} Gmac/s. The best of "
        f"{found['candidates']} candidates of one sentence: {found['candidates_ms']:.0f} ms."
    )
    return head + "\n\n" + rows_of(["", "ms a clip", "clips/s", "of GEMM peak", "time / peer's", "share of time"], rows)


def kind_of(found: dict[str, Any]) -> Any:
    """The function that makes a table of ``found``."""
    kinds = {"judge": generation, "sources": tokens, "gemm_gmac_s": speed}
    return next((make for key, make in kinds.items() if key in found), table)


def main() -> None:
    card = Path(sys.argv[1])
    text = card.read_text(encoding="utf-8")
    for argument in sys.argv[2:]:
        name, _, file = argument.partition("=")
        found = re.search(rf"(<!-- {name} -->).*?(<!-- /{name} -->)", text, flags=re.DOTALL)
        if found is None:
            sys.exit(f"{card} has no place <!-- {name} --> ... <!-- /{name} -->")
        data = json.loads(Path(file).read_text(encoding="utf-8"))
        rows = protocols(data) if name == "protocols" else kind_of(data)(data)
        text = f"{text[: found.start()]}{found[1]}\n{rows}\n{found[2]}{text[found.end() :]}"
    card.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
