"""A batch of motions to make: one folder each, what is complete is not made again, and a drawn seed is remembered.

- A folder is complete when its ``run.json`` says it answers this very request (:mod:`remora.results`).
- A batch without ``--seed`` draws one and keeps it in ``unfinished-<request>.json`` beside its folders until the last of them
  is complete: the same command after a full disk or Ctrl-C goes on, instead of starting another batch.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remora.errors import RemoraError
from remora.output import progress_bar, say
from remora.results import folder_name, is_done, request_key, write_result

if TYPE_CHECKING:
    from generator import ExemplarClip, Generated, Prompt, Sampling
    from remora.engine import Engine

SIZE = 16  # prompts between two looks at the disk


@dataclass(frozen=True)
class Wanted:
    """One motion to make and where it goes."""

    prompt: Prompt
    folder: Path
    run: dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A seed that was drawn, and the note of it that is left while its batch is unfinished."""

    seed: int
    note: Path | None = None

    def forget(self) -> None:
        """The batch is complete."""
        if self.note is not None:
            self.note.unlink(missing_ok=True)


def seed_for(request: dict[str, Any], out: Path, seed: int | None) -> Drawn:
    """``seed`` itself, that of an unfinished batch of the same ``request`` in ``out``, or a new one, kept there first.

    Raises:
        RemoraError: the folder cannot be written.
    """
    if seed is not None:
        return Drawn(seed)
    note = out / f"unfinished-{request_key(request)}.json"
    try:
        found = int(json.loads(note.read_text(encoding="utf-8"))["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        found = random.SystemRandom().randrange(1, 2**31)
        try:
            out.mkdir(parents=True, exist_ok=True)
            note.write_text(json.dumps({"seed": found, "request": request}, default=str) + "\n", encoding="utf-8")
        except OSError as error:
            raise RemoraError(f"{error.filename or out}: {error.strerror}; choose another --out") from error
    else:
        say(f"going on with the unfinished batch of seed {found} in {out}")
    return Drawn(found, note)


def want(
    engine: Engine,
    text: str,
    seconds: float | None,
    seed: int,
    found: tuple[ExemplarClip, ...],
    sampling: Sampling,
    out: Path,
    number: int,
    candidates: int = 1,
) -> Wanted:
    """One motion to make; GeneratorError where it cannot be made."""
    from generator import Prompt
    from generator.model import check

    prompt = Prompt(text=text, seconds=seconds, seed=seed, exemplars=found)
    check(prompt)
    run = run_of(engine, prompt, sampling) | ({"of_candidates": candidates} if candidates > 1 else {})
    return Wanted(prompt, out / folder_name(number, text, seed), run | {"key": request_key(run)})


def run_of(engine: Engine, prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    """Everything that decides the result: sentence, seed, scales, versions and hits."""
    from remora import __version__

    hits = [
        {"clip_id": x.clip.clip_id, "score": x.score, "caption": x.caption, "parts": x.parts} for x in prompt.exemplars
    ]
    library = {"path": str(engine.path), "version": engine.snapshot.version} if hits and engine.exists() else None
    return {
        "text": prompt.text, "seconds": prompt.seconds, "seed": prompt.seed, "sampling": asdict(sampling),
        "generator": {"name": engine.generator.name, "fingerprint": engine.generator.fingerprint},
        "library": library, "hits": hits, "remora": __version__,
    }  # fmt: skip


def make(
    engine: Engine,
    wanted: Sequence[Wanted],
    sampling: Sampling,
    formats: Sequence[str],
    *,
    candidates: int = 1,
    quiet: bool = False,
) -> dict[str, list[Any]]:
    """Make what is not complete: a line for every motion made, and the folders that were complete before.

    Raises:
        RemoraError: a folder cannot be written; what is finished stays.
    """
    todo = [w for w in wanted if not is_done(w.folder, w.run["key"])]
    if len(todo) < len(wanted):
        say(f"{len(wanted) - len(todo)} of {len(wanted)} are complete already")
    made: list[dict[str, Any]] = []
    with progress_bar("generate", quiet=quiet) as move:
        for start in range(0, len(todo), SIZE):
            chunk = todo[start : start + SIZE]
            results = engine.generate(
                [w.prompt for w in chunk], sampling=sampling, candidates=candidates,
                progress=lambda stage, at, total: move(stage, at, total),
            )  # fmt: skip
            for one, result in zip(chunk, results, strict=True):
                run = one.run | {"estimate_s": result.seconds_estimated, "read": len(result.exemplars)} | result.notes
                for note in write_result(one.folder, result, run=run, formats=formats):
                    say(f"note: {note}")
                made.append(_line(one, result))
                move(f"{len(made)} of {len(todo)} written", len(made), len(todo))
    return {"made": made, "complete": [str(w.folder) for w in wanted if w not in todo]}


def _line(one: Wanted, result: Generated) -> dict[str, Any]:
    return {
        "folder": str(one.folder), "text": one.prompt.text, "seed": one.prompt.seed, **result.notes,
        "seconds": result.clip.duration_s, "exemplars": len(result.exemplars), "hits": one.run["hits"],
    }  # fmt: skip
