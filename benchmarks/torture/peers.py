"""The same for peers: one writer, killed at random; what it was told is done must be there, whole, when it is opened again.

``python -m benchmarks.torture.peers --python PEERS/bin/python``: the writers run by that interpreter, which needs lancedb,
chromadb, pymilvus and milvus-lite; Remora's runs by this one. A change writes two rows with one value by one call, as in the
crowd: only one of them there, or two values, is a torn change.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WRITER = """
import json, os, sys
import numpy as np
kind, path, log, begin = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
rng = np.random.default_rng(abs(begin))
def two():
    v = rng.standard_normal((2, 16)).astype("float32")
    return v / np.linalg.norm(v, axis=1, keepdims=True)
if kind == "lancedb":
    import lancedb, pyarrow as pa
    base = lancedb.connect(path)
    form = pa.schema([("id", pa.string()), ("value", pa.int64()), ("vector", pa.list_(pa.float32(), 16))])
    table = base.open_table("t") if "t" in base.list_tables().tables else base.create_table("t", schema=form)
    def put(ids, value):
        rows = [{"id": i, "value": value, "vector": v.tolist()} for i, v in zip(ids, two())]
        table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
    def everything():
        return {r["id"]: r["value"] for r in table.search().limit(10**6).to_list()}
elif kind == "chromadb":
    import chromadb
    base = chromadb.PersistentClient(path, settings=chromadb.Settings(anonymized_telemetry=False))
    table = base.get_or_create_collection("table", metadata={"hnsw:space": "ip"}, embedding_function=None)
    def put(ids, value):
        table.upsert(ids=ids, embeddings=two().tolist(), metadatas=[{"value": value}] * 2)
    def everything():
        found = table.get(include=["metadatas", "embeddings"])
        if found["ids"]:
            table.query(query_embeddings=two()[:1].tolist(), n_results=1)
        return {i: m["value"] for i, m in zip(found["ids"], found["metadatas"])}
elif kind == "milvus-lite":
    from pymilvus import DataType, MilvusClient
    base = MilvusClient(path + ".db")
    if not base.has_collection("t"):
        form = base.create_schema(auto_id=False)
        form.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        form.add_field("value", DataType.INT64)
        form.add_field("vector", DataType.FLOAT_VECTOR, dim=16)
        index = base.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        base.create_collection("t", schema=form, index_params=index)
    base.load_collection("t")
    def put(ids, value):
        base.upsert("t", [{"id": i, "value": value, "vector": v.tolist()} for i, v in zip(ids, two())])
    def everything():
        found = base.query("t", filter="value >= 0", output_fields=["id", "value"], limit=16000)
        return {r["id"]: r["value"] for r in found}
else:
    from pathlib import Path
    from benchmarks.torture.world import create, put as put_all, values_of
    library = create(Path(path))
    def put(ids, value):
        put_all(library, dict.fromkeys(ids, value))
    def everything():
        return values_of(library.snapshot())
if begin < 0:
    print("FOUND" + json.dumps(everything()))
    sys.exit()
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for turn in range(begin, 10**9):
    key = f"k{turn % 400}"
    os.write(out, f"begin {key} {turn}\\n".encode())
    put([f"{key}-a", f"{key}-b"], turn)
    os.write(out, f"done {key} {turn}\\n".encode())
"""
KINDS = ("remora", "lancedb", "chromadb", "milvus-lite")


def run(kind: str, python: str, folder: Path, begin: int) -> subprocess.Popen[str]:
    interpreter = sys.executable if kind == "remora" else python
    return subprocess.Popen(
        [interpreter, "-c", WRITER, kind, str(folder / "base"), str(folder / "log"), str(begin)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def lines(folder: Path) -> list[list[str]]:
    path = folder / "log"
    return (
        [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )


def torture(kind: str, python: str, *, seconds: float, seed: int = 0) -> dict[str, Any]:
    """Kill a writer again and again for some seconds; then hold what is there against its log."""
    folder, chance = Path(tempfile.mkdtemp(prefix=f"peer-{kind}-")), random.Random(seed)
    out: dict[str, Any] = {
        "what": kind,
        "kills": 0,
        "changes": 0,
        "opened": 0,
        "not opened": 0,
        "lost": 0,
        "torn": 0,
        "note": "",
    }
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            log = lines(folder)
            begin = int(log[-1][2]) + 1 if log else 0
            writer = run(kind, python, folder, begin)
            wanted, limit = len(log) + chance.randrange(2, 60), time.monotonic() + 40
            while len(lines(folder)) < wanted and writer.poll() is None and time.monotonic() < limit:
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.03))
            alive = writer.poll() is None
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            out["kills"] += alive
            out["not opened"] += not alive and len(lines(folder)) == len(log)
            judge(kind, python, folder, out)
        out["changes"] = sum(entry[0] == "done" for entry in lines(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return out


def judge(kind: str, python: str, folder: Path, out: dict[str, Any]) -> None:
    """Open in a process of its own and compare."""
    reader = run(kind, python, folder, -1)
    try:
        said = reader.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        reader.kill()
        said = ""
    if "FOUND" not in said:
        out["not opened"] += 1
        out["note"] = f"reader ended with {reader.returncode}"
        return
    out["opened"] += 1
    there = json.loads(said.partition("FOUND")[2])
    done, possible = {}, {}
    for word, key, turn in lines(folder):
        possible.setdefault(key, set()).add(int(turn))
        if word == "done":
            done[key], possible[key] = int(turn), {int(turn)}
    for key, turns in possible.items():
        pair = [there.get(f"{key}-{side}") for side in "ab"]
        out["torn"] += pair[0] != pair[1]
        out["lost"] += key in done and any(value not in turns for value in pair)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture.peers", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--seconds", type=float, default=60, help="for each")
    given = parser.parse_args(argv)
    print("| what | kills | changes acknowledged | opened again | not opened | lost | torn | note |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for kind in given.kinds:
        found = torture(kind, given.python, seconds=given.seconds)
        print("| " + " | ".join(map(str, found.values())) + " |", flush=True)


if __name__ == "__main__":
    main()
