"""Speed and memory of a studio under load: ``python -m benchmarks.serve [--json FILE]``.

- A library of synthetic clips with frames is served by ``remora studio`` in a process of its own; this process is the load, on
  loopback only, bounded in requests and in seconds.
- Steady: so many questions a second are asked at fixed times, each another sentence, whatever the answers do (an open
  loop: a slow answer does not slow the asking). Saturated: eight clients ask one after the other.
- Frames: what a page of hits asks for. Memory: the server's own memory before and after many requests of all kinds.
- The peer answers as TMR's demo does: embed the sentence, compare with all, sort all, draw one video for every hit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

import remora
from benchmarks.slice import Row, report, row, setting
from remora import Engine

WHO = (
    "a person",
    "somebody",
    "a man",
    "a woman",
    "a tired person",
    "an old man",
    "a child",
    "a dancer",
    "a boxer",
    "she",
)
WHAT = (
    "walks", "runs", "waves", "kicks", "jumps", "sits down", "turns around", "bows", "throws a ball", "raises both arms",
    "dances", "claps", "looks around", "crouches", "stretches", "stumbles", "punches", "steps back", "spins", "points",
)  # fmt: skip
HOW = (
    "slowly",
    "quickly",
    "with the left side",
    "with the right side",
    "twice",
    "carefully",
    "angrily",
    "happily",
    "then stops",
)
SENTENCES = [" ".join(words) for words in product(WHO, WHAT, HOW)]


def fill(path: Path, engine: Engine, clips: int, distinct: int = 200) -> list[str]:
    """A library of ``clips`` clips, ``distinct`` synthetic motions with their frames and vectors near theirs; its ids."""
    from db import Library
    from indexer.rows import StampedClip, caption_table, frame_block, row_table
    from indexer.target import encoder_card, spaces_of

    spec = engine.encoder.spec
    library = Library.create(path, spaces=spaces_of(spec), encoder=encoder_card(spec))
    motions = remora.synthesise(min(clips, distinct), seed=0, fps=20.0)
    made = engine.encoder.encode_motion(motions)
    texts = engine.encoder.encode_text([clip.captions[0].text for clip in motions]).whole
    blocks = [frame_block(clip) for clip in motions]
    rng, ids = np.random.default_rng(0), []
    for numbers in np.array_split(np.arange(clips), max(1, clips // 1000)):
        rows = numbers % len(motions)
        named = [
            replace(motions[r], clip_id=f"synthetic/take_{n:05d}.bvh#0.00-6.00")
            for n, r in zip(numbers, rows, strict=True)
        ]
        vectors = {"motion/whole": _near(made.whole[rows], rng), "text/whole": texts[rows]}
        vectors |= {f"motion/{part}": _near(made.parts[rows, at], rng) for at, part in enumerate(spec.parts)}
        stamped = [StampedClip(replace(clip, captions=clip.captions[:1]), str(n), "") for n, clip in enumerate(named)]
        with library.begin() as change:
            change.add(row_table(stamped), caption_table(stamped), vectors, [blocks[row] for row in rows])
            change.commit()
        ids += [clip.clip_id for clip in named]
    return ids


def _near(vectors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    moved = vectors + 0.02 * rng.standard_normal(vectors.shape)
    return (moved / np.linalg.norm(moved, axis=1, keepdims=True)).astype(np.float32)


# ---- the server ----------------------------------------------------------------------------------------------------


@contextmanager
def served(library: Path, *options: str) -> Iterator[tuple[str, int, float]]:
    """A studio in a process of its own: host and port, process id, seconds from its start to the first answer."""
    begin = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "remora",
        "studio",
        "--library",
        str(library),
        "--no-browser",
        "--json",
        "--port",
        "0",
    ]
    # Where Python is told to write no compiled modules it would compile all of them at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "remora-serve-pycache")
    process = subprocess.Popen(
        [*command, "--rate", "10000", *options], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        place = urlsplit(json.loads(process.stdout.readline())["url"]).netloc
        while ask(place, "/api/library")[0] != 200:
            time.sleep(0.01)
        yield place, process.pid, time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait(20)


class Client:
    """One connection that stays open, as a browser's does."""

    def __init__(self, place: str) -> None:
        self._connection = http.client.HTTPConnection(place, timeout=30)

    def ask(self, path: str, body: Any = None) -> tuple[int, int, float]:
        """Status, bytes of the answer, seconds; status 0 when there was no answer."""
        headers = {"accept-encoding": "gzip, zstd"} | ({"content-type": "application/json"} if body is not None else {})
        begin = time.perf_counter()
        try:
            self._connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
            answer = self._connection.getresponse()
            size = len(answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, 0, time.perf_counter() - begin
        return answer.status, size, time.perf_counter() - begin


def ask(place: str, path: str, body: Any = None) -> tuple[int, int, float]:
    """One request on a connection of its own."""
    return Client(place).ask(path, body)


def question(number: int, k: int = 24) -> tuple[str, Any]:
    """The ``number``-th question; no two of a run are alike."""
    return "/api/search", {"text": f"{SENTENCES[number % len(SENTENCES)]}, {number}", "k": k}


def memory_mb(pid: int) -> float:
    """Memory of a process that is its own: files of the library that are mapped belong to the system's cache."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in text.splitlines() if line.startswith("RssAnon")).split()[1]) / 1024


# ---- the load ------------------------------------------------------------------------------------------------------


def steady(place: str, rate: float, count: int, first: int) -> list[tuple[int, int, float]]:
    """``count`` questions at fixed times, ``rate`` a second; the time of each runs from when it was due."""
    answers: list[tuple[int, int, float]] = [(0, 0, 0.0)] * count
    begin = time.perf_counter() + 0.1
    turn = iter(range(count))
    lock = threading.Lock()

    def client() -> None:
        mine = Client(place)
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            status, size, _ = mine.ask(*question(first + number))
            answers[number] = (status, size, time.perf_counter() - due)

    _together(client, 8)
    return answers


def saturated(place: str, seconds: float, clients: int, first: int) -> tuple[list[tuple[int, int, float]], float]:
    """As many questions as ``clients`` get answered one after the other in ``seconds``; and the seconds it took."""
    answers: list[tuple[int, int, float]] = []
    turn = iter(range(first, first + 100_000))
    begin = time.perf_counter()

    def client() -> None:
        mine = Client(place)
        while time.perf_counter() - begin < seconds:
            answers.append(mine.ask(*question(next(turn))))

    _together(client, clients)
    return answers, time.perf_counter() - begin


def mixed(place: str, count: int, ids: Sequence[str], first: int) -> list[tuple[int, int, float]]:
    """``count`` requests of all kinds, four clients: mostly frames, then clips, lists, questions."""
    answers: list[tuple[int, int, float]] = []
    turn = iter(range(count))

    def client() -> None:
        mine = Client(place)
        for number in turn:
            clip = quote(ids[number * 7919 % len(ids)], safe="")
            kinds: tuple[tuple[str, Any], ...] = (
                (f"/api/frames/{clip}?fps=30", None), (f"/api/clips/{clip}", None), (f"/api/frames/{clip}", None),
                (f"/api/clips?offset={number % 1000}&limit=24", None), (f"/api/frames/{clip}", None), question(first + number),
                (f"/api/frames/{clip}", None), ("/healthz", None), ("/api/search", {"clip": ids[number % len(ids)], "k": 24}),
                (f"/api/frames/{clip}", None),
            )  # fmt: skip
            answers.append(mine.ask(*kinds[number % len(kinds)]))

    _together(client, 4)
    return answers


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def milliseconds(answers: Sequence[tuple[int, int, float]], share: float) -> float:
    """A quantile of the times."""
    return 1000 * float(np.quantile([seconds for _, _, seconds in answers], share))


def failed(answers: Sequence[tuple[int, int, float]]) -> int:
    """How many were not answered well."""
    return sum(status != 200 for status, _, _ in answers)


# ---- figures -------------------------------------------------------------------------------------------------------


def page_and_frames(place: str, ids: Sequence[str]) -> list[Row]:
    """Time and size of frames, size of the page's scripts."""
    client = Client(place)
    answers, frames, error = [], 0, 0.0
    for number in range(200):
        clip = quote(ids[number * 7919 % len(ids)], safe="")
        answers.append(client.ask(f"/api/frames/{clip}"))
        head = json.loads(_frames(place, clip))
        frames += head["frames"]
        error = max(error, head["max_error_m"])
    bytes_a_frame = sum(size for _, size, _ in answers) / frames
    scripts = [path.name for path in (Path(remora.__file__).parent / "web/static/assets").glob("*.js")]
    size = sum(client.ask(f"/assets/{name}")[1] for name in scripts)
    return [
        row("frames of a clip, p50", milliseconds(answers, 0.5), "ms", "<= 30"),
        row("frames of a clip, bytes a frame with header", bytes_a_frame, "bytes", "<= 120"),
        row("frames of a clip, largest stated error", 1000 * error, "mm", "<= 1"),
        row("scripts of the page, compressed", size / 1000, "kB", "<= 600", f"{len(scripts)} files"),
    ]


def _frames(place: str, clip: str) -> bytes:
    connection = http.client.HTTPConnection(place, timeout=30)
    connection.request("GET", f"/api/frames/{clip}")
    data = connection.getresponse().read()
    connection.close()
    return data[8 : 8 + int.from_bytes(data[4:8], "little")]


def peer(engine: Engine, texts: Sequence[str], hits: int) -> list[Row]:
    """Embed, compare with all, sort all, draw a video for each hit: seconds of a question."""
    snapshot = engine.snapshot
    ids = snapshot.ids()
    gallery = snapshot.vectors(ids, "motion/whole")
    found, drawn = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            begin = time.perf_counter()
            order = np.argsort(-(gallery @ engine.encoder.encode_text([text]).whole[0]))[:hits]
            found.append(time.perf_counter() - begin)
            for rank, at in enumerate(order):
                remora.write(engine.clip(ids[at]), Path(folder) / f"{number}-{rank}.mp4")
            drawn.append(time.perf_counter() - begin)
    return [
        row(f"peer: embed and sort all, {len(ids)} clips", 1000 * statistics.median(found), "ms"),
        row(f"peer: and {hits} videos", 1000 * statistics.median(drawn), "ms"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=10_000, help="clips of the library")
    parser.add_argument(
        "--library", type=Path, metavar="DIR", help="keep the library there, or take the one that is there"
    )
    parser.add_argument("--rate", type=float, default=20.0, help="questions a second of the steady load")
    parser.add_argument("--questions", type=int, default=400, help="questions of the steady load")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the saturated load")
    parser.add_argument("--requests", type=int, default=10_000, help="of the memory test; 0 leaves it out")
    parser.add_argument("--hits", type=int, default=8, help="hits that the peer draws")
    parser.add_argument("--peer-questions", type=int, default=3, help="questions to the peer; 0 leaves it out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    asked = parser.parse_args(argv)
    where = setting()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(asked.library or Path(folder) / "library", device="cpu")
        ids = engine.snapshot.ids() if engine.exists() else fill(engine.path, engine, asked.clips)
        rows = measured(engine.path, ids, asked)
        if asked.peer_questions:
            rows += peer(engine, SENTENCES[: asked.peer_questions], asked.hits)
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json.dumps({"setting": where, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    report(where, rows)


def measured(library: Path, ids: Sequence[str], asked: argparse.Namespace) -> list[Row]:
    """All figures of the server."""
    with served(library):  # once, so that the disk is warm
        pass
    with served(library) as (place, pid, start):
        rows = [row("start to the first answer of the library", start, "s", "<= 3")]
        begin = time.perf_counter()
        while ask(place, *question(0))[0] != 200:
            time.sleep(0.05)
        rows.append(row("  and to the first answer to a sentence", start + time.perf_counter() - begin, "s"))
        steady(place, asked.rate, 20, 1_000_000)  # warm
        told = steady(place, asked.rate, asked.questions, 0)
        name = f"search by text, {asked.rate:g} a second, {len(ids)} clips"
        rows += [
            row(f"{name}, p50", milliseconds(told, 0.5), "ms", "<= 40"),
            row(f"{name}, p99", milliseconds(told, 0.99), "ms", "<= 150", f"{failed(told)} of {len(told)} failed"),
        ]
        told, seconds = saturated(place, asked.seconds, 8, 100_000)
        rows.append(
            row(
                "search by text, 8 clients",
                len(told) / seconds,
                "1/s",
                ">= 60",
                f"{failed(told)} of {len(told)} failed",
            )
        )
        rows += page_and_frames(place, ids)
        if asked.requests:
            mixed(place, min(1000, asked.requests), ids, 200_000)
            before = memory_mb(pid)
            told = mixed(place, asked.requests, ids, 300_000)
            after = memory_mb(pid)
            note = f"{failed(told)} of {len(told)} failed"
            rows += [
                row("memory of the server, warm", before, "MB"),
                row(f"  after {len(told)} requests more", after, "MB", "flat", note),
            ]
    return rows


if __name__ == "__main__":
    main()
