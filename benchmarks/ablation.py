"""The ablation ladder of the retriever: every rung with the same data, steps and seeds, and one table of all.

    python -m benchmarks.ablation --data ../shared/data/actions --wordings ../shared/data/texts --out runs/ablation

- A rung is the one before it with one thing more; the first is a whole-body contrastive baseline, the last what is shipped.
  Beside it stand the first with reconstruction, the first with the mask (the control of the model card), and the last
  without the queue. ``--steps`` and ``--batch`` are those of every run.
- Runs go one after the other, rungs within seeds, and resume: stop it at any time, the same command goes on where it was.
- ``--draws 3`` adds classes never trained: baseline, control and last rung without ten classes (and their mirror
  images), three times, asked about those.
- Figures are of the test split (nothing is selected on it), mean and range over the seeds that are finished; --validation
  gives the criterion of selection instead. Every run folder keeps its own in ``figures.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from encoders import load_encoder
from encoders.part_momentum.config import CONFIGS, TrainConfig, control
from encoders.part_momentum.train import train_retriever
from encoders.wordings import read_wordings
from motion.geometry import swap_sides
from retriever import evaluate_retrieval

COLUMNS = {
    "classes": ("class_id, all", "mAP"),
    "new wording": ("new wording", "mAP"),
    "class x style": ("class_id x style", "mAP"),
    "styles never trained": ("styles never trained", "mAP"),
    "persons never seen": ("persons never seen", "mAP"),
    "captions R@1": ("human captions", "R@1"),
    "captions R@10": ("human captions", "R@10"),
    "left or right": ("left or right, synthetic", "right"),
    "order": ("order of two events, synthetic", "right"),
    "classes never trained": ("classes never trained", "mAP"),
}
Rung = tuple[str, Callable[[TrainConfig], TrainConfig]]


def rungs() -> list[Rung]:
    """Names and what each adds to the one before; those with "beside" stand beside the ladder, on the rung that they name."""
    bare = {"momentum": 0.0, "queue": 0, "styles": False, "hard": False, "mask": False}

    def whole(c: TrainConfig, **changes: Any) -> TrainConfig:
        return replace(control(replace(c, model=CONFIGS["whole-body"])), **changes)

    def rebuilt(c: TrainConfig) -> TrainConfig:
        c = whole(c, mask=False, reconstruction=0.5)
        return replace(c, model=replace(c.model, decoder=True))

    return [
        ("whole-body contrastive baseline", lambda c: whole(c, mask=False)),
        ("beside: baseline + reconstruction", rebuilt),
        ("beside: baseline + mask (the control)", whole),
        ("beside: final without the queue", lambda c: replace(c, queue=0)),
        ("+ parts", lambda c: replace(c, **bare)),
        ("+ slow copy", lambda c: replace(c, **(bare | {"momentum": c.momentum}))),
        ("+ queue of its keys", lambda c: replace(c, **(bare | {"momentum": c.momentum, "queue": c.queue}))),
        ("+ false-negative mask", lambda c: replace(c, styles=False, hard=False)),
        ("+ styles as negatives", lambda c: replace(c, hard=False)),
        ("+ hard negatives: final", lambda c: c),
    ]


@dataclass(frozen=True)
class Run:
    """One run of the ladder."""

    rung: str
    config: TrainConfig
    untrained: tuple[str, ...] = ()

    @property
    def figures(self) -> Path:
        return Path(self.config.out) / "figures.json"


def runs(base: TrainConfig, seeds: int, draws: int) -> Iterator[Run]:
    """All runs, a whole ladder a seed; then the baseline, control and last rung without ten classes, ``draws`` times."""
    ladder = rungs()
    for seed in range(seeds):
        for number, (name, change) in enumerate(ladder):
            out = str(Path(base.out) / f"seed{seed}" / f"{number}")
            yield Run(name, change(replace(base, seed=seed, out=out, name=f"rung-{number}-seed-{seed}")))
    names = sorted(read_wordings(Path(base.wordings)).classes) if draws else []
    for draw in range(draws):
        drawn = np.random.default_rng(draw).choice(names, 10, replace=False).tolist()
        left_out = tuple(sorted({*drawn, *map(swap_sides, drawn)}))  # a mirror image would teach its twin
        for number in (0, 2, len(ladder) - 1):
            name, change = ladder[number]
            out = str(Path(base.out) / f"draw{draw}" / f"{number}")
            config = change(replace(base, out=out, name=f"rung-{number}-draw-{draw}", exclude_classes=left_out))
            yield Run(f"{name}, ten classes left out", config, left_out)


def perform(run: Run, data: Path) -> dict[str, float]:
    """Figures of a run: read where they are, trained and evaluated where not."""
    if not run.figures.is_file():
        report = train_retriever(run.config)
        encoder = load_encoder(report.weights, device=run.config.device)
        found = evaluate_retrieval(data, encoder=encoder, chosen=("classes",), untrained=run.untrained)
        values = {(row.name, row.metric): row.value.value for row in found}
        figures = {"validation": report.best_score, "parameters": report.parameters, "seconds": report.seconds}
        figures |= {name: values[key] for name, key in COLUMNS.items() if key in values}
        run.figures.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    loaded: dict[str, float] = json.loads(run.figures.read_text(encoding="utf-8"))
    return loaded


def table(found: dict[str, list[dict[str, float]]], columns: list[str]) -> str:
    """Mean and range over what is finished, a line a rung."""
    lines = ["| rung | runs | " + " | ".join(columns) + " |", "| --- | ---: |" + " --- |" * len(columns)]
    for rung, figures in found.items():
        cells = []
        for column in columns:
            values = [f[column] for f in figures if column in f]
            spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
            cells.append(f"{mean(values):.3f}{spread}" if values else "")
        lines.append(f"| {rung} | {len(figures)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wordings", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=0, metavar="N", help="of ten classes left out whole")
    parser.add_argument("--steps", type=int, default=TrainConfig(data=(), out="").steps)
    parser.add_argument("--batch", type=int, default=TrainConfig(data=(), out="").batch)
    parser.add_argument("--validation", action="store_true", help="print the criterion of selection alone")
    parser.add_argument("--show", action="store_true", help="print what is finished, train nothing")
    options = parser.parse_args()
    base = TrainConfig(
        data=(str(options.data),),
        out=str(options.out),
        wordings=str(options.wordings),
        steps=options.steps,
        batch=options.batch,
    )
    columns = ["validation"] if options.validation else list(COLUMNS)
    found: dict[str, list[dict[str, float]]] = {}
    for run in runs(base, options.seeds, options.draws):
        if options.show and not run.figures.is_file():
            continue
        found.setdefault(run.rung, []).append(perform(run, options.data))
        if not options.show:
            print(table(found, columns), end="\n\n", flush=True)
    if options.show:
        print(table(found, columns))


if __name__ == "__main__":
    main()
