"""The graphics card's first pass, alone: is every answer the true one, and is it as fast as the card's memory?

``python -m benchmarks.gpu [--rows 1000000] [--device auto] [--json FILE]`` needs torch and numpy; no FAISS, no library.

- Data and questions are those of ``benchmarks.store``; some rows are doubles of one another. Truth is the double precision
  sum over the stored vectors, ties by id, found by numpy without the scanner.
- Asked: float32 and float16 blocks; alone and under filters that keep 50, 10, 1 and .1 %; one question and 256 at once.
- The floor is the time in which the card reads the vectors at the rate at which it copies a block of their size (it reads
  and writes that). ``share`` is the floor over the time of a whole first pass, from queries on the host to rows on the host.
- Exit 1 when an id differs, or a score by more than 1e-3.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.store import CHUNK, DIM, _chunk
from db import SpaceVectors
from db.plan import Part, best_rows, exact_scores
from encoders.device import choose_device
from remora.torch_search import TorchScanner, largest, products

K = 10
ASKED = 74  # candidates that a search for ten asks for
SHARES = {"all": 1.0, "50 %": 0.5, "10 %": 0.1, "1 %": 0.01, "0.1 %": 0.001}
PAIRS = 50


def data(rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vectors [rows, DIM] with doubles among them, and 256 queries, some of them rows."""
    vectors = np.empty((rows, DIM), np.float32)
    for number, start in enumerate(range(0, rows, CHUNK)):
        vectors[start : start + CHUNK] = _chunk(number, min(CHUNK, rows - start))
    queries = _chunk(10**6, 256)
    doubles = np.random.default_rng(5).choice(rows, 2 * PAIRS, replace=False)
    vectors[doubles[:PAIRS]] = vectors[doubles[PAIRS:]]
    queries[:8] = vectors[doubles[:8]]
    return vectors, queries


def names(rows: NDArray[np.int64]) -> list[str]:
    """Ids of rows."""
    return [f"row/{row:09d}" for row in rows.tolist()]


def truth(
    vectors: SpaceVectors, query: NDArray[np.float32], keep: NDArray[np.bool_], first: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores of the best ten: single precision names all within 1e-3 of the tenth, double precision ranks them."""
    kept = np.flatnonzero(keep)
    edge = np.partition(first[kept], -min(K, len(kept)))[-min(K, len(kept))]
    near = kept[first[kept] >= edge - 1e-3]
    scores = exact_scores([Part(vectors, query[None], 1.0)], 0, near)
    order = np.lexsort((near, -scores))[:K]
    return near[order], scores[order]


def milliseconds(call: Callable[[], Any], times: int) -> float:
    """The median of ``times`` calls, after three."""
    spent = []
    for number in range(times + 3):
        begin = time.perf_counter()
        call()
        if number >= 3:
            spent.append(1e3 * (time.perf_counter() - begin))
    return float(np.median(spent))


def measure(vectors: SpaceVectors, queries: NDArray[np.float32], device: str, asked: int, times: int) -> dict[str, Any]:
    """Whether answers are right, and every time, of one space."""
    begin = time.perf_counter()
    scanner = TorchScanner(vectors, device)
    figures: dict[str, Any] = {"rows": len(vectors), "device": scanner.name, "upload_s": time.perf_counter() - begin}
    figures["error_bound"] = scanner.error
    single = np.concatenate([queries[:asked] @ piece.T for _, piece in vectors.chunks()], axis=1)
    random = np.random.default_rng(9).random(len(vectors))
    wrong, apart = 0, 0.0
    for share, below in SHARES.items():
        keep = random < below
        for query in range(asked):
            part = Part(vectors, queries[query : query + 1], 1.0, scanner=scanner)
            answer = best_rows([part], keep, K, names, exact=True)
            rows, scores = truth(vectors, queries[query], keep, single[query])
            wrong += answer.method != "scanner" or answer.rows[0].tolist() != rows.tolist()
            apart = max(apart, float(np.abs(answer.scores[0] - scores).max()))
        first_pass = partial(scanner.best, queries[:1], ASKED, None if below == 1 else keep)
        figures[f"first pass ms, {share}"] = milliseconds(first_pass, times)
    everything = np.ones(len(vectors), bool)
    batch = best_rows([Part(vectors, queries, 1.0, scanner=scanner)], everything, K, names, exact=True)
    alone = [
        best_rows([Part(vectors, q[None], 1.0, scanner=scanner)], everything, K, names, exact=True) for q in queries
    ]
    wrong += sum(one.rows[0].tolist() != many.tolist() for one, many in zip(alone, batch.rows, strict=True))
    figures |= {"answers": asked * len(SHARES) + len(queries), "wrong": wrong, "scores_apart": apart}
    one = Part(vectors, queries[:1], 1.0, scanner=scanner)
    figures["whole answer ms"] = milliseconds(lambda: best_rows([one], everything, K, names, exact=True), times)
    figures["256 at once, first pass ms"] = milliseconds(lambda: scanner.best(queries, ASKED, None), times)
    figures |= _pieces(scanner, queries, times)
    figures["share of bandwidth"] = figures["floor ms"] / figures["first pass ms, all"]
    return figures


def _pieces(scanner: TorchScanner, queries: NDArray[np.float32], times: int) -> dict[str, float]:
    """What a first pass is made of, each ended by the copy of one number to the host."""
    import torch

    block = scanner._block
    asked = torch.from_numpy(queries[:1]).to(block.device, torch.float16)
    scores = products(asked, block)
    copy = milliseconds(lambda: float(block.clone()[0, 0]), times)
    return {
        "floor ms": copy / 2, "GB/s": 2 * block.nbytes / copy / 1e6,
        "roundtrip ms": milliseconds(lambda: float(block[0, 0]), times),
        "product ms": milliseconds(lambda: float(products(asked, block)[0, 0]), times),
        "torch.mv ms": milliseconds(lambda: float(torch.mv(block, asked[0])[0]), times),
        "best by groups ms": milliseconds(lambda: float(largest(scores, ASKED)[0][0, 0]), times),
        "torch.topk ms": milliseconds(lambda: float(scores.topk(ASKED, dim=1)[0][0, 0]), times),
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, keep; 1 when an answer is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--questions", type=int, default=24, help="whose answers are held against the truth, per filter"
    )
    parser.add_argument("--times", type=int, default=30, help="calls a median is of")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(argv)
    device = choose_device(given.device)
    sys.stdout.write(f"{device.name}: {device.reason}\n")
    vectors, queries = data(given.rows)
    found = {}
    for name, kind in (("f4", np.float32), ("f2", np.float16)):
        found[name] = measure(
            SpaceVectors([vectors.astype(kind)], DIM), queries, device.name, given.questions, given.times
        )
        for key, value in found[name].items():
            sys.stdout.write(f"{name} {key}: {value:.4g}\n" if isinstance(value, float) else f"{name} {key}: {value}\n")
    if given.json:
        given.json.write_text(json.dumps({"reason": device.reason, **found}, indent=1) + "\n", encoding="utf-8")
    return int(any(own["wrong"] or own["scores_apart"] > 1e-3 for own in found.values()))


if __name__ == "__main__":
    sys.exit(main())
