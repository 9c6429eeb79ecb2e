"""The stores that Remora's is held against, each with the calls of :mod:`benchmarks.store_systems`: build, open, query, and
where it has them batch, upsert, delete. Nothing is imported before it is used: each lives in an environment of peers. Builds
that may take long tell how many rows they have by calling ``told``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

K = 10
SHARES = {"50 %": 500, "10 %": 100, "1 %": 10, "0.1 %": 1}  # of the rows, and the bucket that they lie below
INSTALL = {
    "faiss-flat": "faiss-cpu", "faiss-hnsw": "faiss-cpu", "usearch": "usearch", "lancedb-flat": "lancedb",
    "lancedb-ivfpq": "lancedb", "chroma": "chromadb", "qdrant-local": "qdrant-client",
    "milvus-lite": "pymilvus milvus-lite", "duckdb": "duckdb",
}  # fmt: skip


class Faiss:
    """Plain FAISS: a flat index or a graph in a file, filters by a bitmap made beforehand."""

    def __init__(self, folder: Path, graph: bool = False) -> None:
        self.path, self.graph, self.folder = folder / "index.faiss", graph, folder

    def build(self, vectors: Any, buckets: Any) -> None:
        import faiss

        faiss.omp_set_num_threads(os.cpu_count() or 1)
        dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexHNSWFlat(dim, 16, metric) if self.graph else faiss.IndexFlatIP(dim)
        for start in range(0, len(vectors), 50_000):
            index.add(np.ascontiguousarray(vectors[start : start + 50_000]))
        faiss.write_index(index, str(self.path))
        np.save(self.folder / "kept.npy", np.asarray(buckets))

    def open(self) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(self.path))
        kept = np.load(self.folder / "kept.npy")
        self.bits = {below: np.packbits(kept < below, bitorder="little") for below in SHARES.values()}

    def query(self, query: Any, below: int | None = None) -> Any:
        import faiss

        selector = None if below is None else faiss.IDSelectorBitmap(self.bits[below])
        if self.graph:
            given = faiss.SearchParametersHNSW(efSearch=64, **({} if selector is None else {"sel": selector}))
        else:
            given = None if selector is None else faiss.SearchParameters(sel=selector)
        return self.index.search(query[None], K, params=given)[1][0]

    def batch(self, queries: Any) -> Any:
        return self.index.search(queries, K)


class Usearch:
    """usearch, half precision, mapped from disk; no filters in Python."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.usearch"

    def build(self, vectors: Any, buckets: Any) -> None:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=100)
        for start in range(0, len(vectors), 50_000):
            piece = np.ascontiguousarray(vectors[start : start + 50_000])
            index.add(np.arange(start, start + len(piece)), piece, threads=os.cpu_count() or 1)
            self.told(start + len(piece))
        index.save(str(self.path))

    def open(self) -> None:
        from usearch.index import Index

        self.index = Index(ndim=self.dim, metric="ip", dtype="f16")
        self.index.view(str(self.path))
        self.index.expansion_search = 64

    def query(self, query: Any, below: int | None = None) -> Any:
        if below is not None:
            raise NotImplementedError
        return np.asarray(self.index.search(query, K).keys)


class Lance:
    """LanceDB, flat or IVF_PQ."""

    def __init__(self, folder: Path, index: bool = False) -> None:
        self.path, self.indexed = folder / "lance", index

    def _table(self, numbers: Any, vectors: Any, buckets: Any) -> Any:
        import pyarrow as pa

        lists = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors).ravel()), vectors.shape[1])
        return pa.table({"id": pa.array(numbers), "bucket": pa.array(np.asarray(buckets)), "vector": lists})

    def build(self, vectors: Any, buckets: Any) -> None:
        import lancedb

        rows = np.arange(len(vectors))
        table = lancedb.connect(str(self.path)).create_table(
            "t", self._table(rows[:50_000], vectors[:50_000], buckets[:50_000])
        )
        for start in range(50_000, len(vectors), 50_000):
            part = slice(start, start + 50_000)
            table.add(self._table(rows[part], vectors[part], buckets[part]))
            self.told(min(part.stop, len(rows)))
        if self.indexed:
            parts = max(16, int(len(vectors) ** 0.5) // 2)
            table.create_index(metric="dot", index_type="IVF_PQ", num_partitions=parts, num_sub_vectors=128)

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(str(self.path)).open_table("t")

    def query(self, query: Any, below: int | None = None) -> Any:
        asked = self.table.search(query).distance_type("dot").limit(K).select(["id"])
        if self.indexed:
            asked = asked.nprobes(32).refine_factor(10)
        if below is not None:
            asked = asked.where(f"bucket < {below}", prefilter=True)
        return asked.to_arrow()["id"].to_numpy()

    def upsert(self, numbers: Any, vectors: Any) -> None:
        rows = self._table(numbers, vectors, np.zeros(len(numbers), np.int64))
        self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def delete(self, numbers: Any) -> None:
        self.table.delete(f"id in ({', '.join(map(str, numbers))})")


class Chroma:
    """Chroma, its graph with the settings of the others."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "chroma"

    def _client(self) -> Any:
        import chromadb

        return chromadb.PersistentClient(str(self.path), settings=chromadb.Settings(anonymized_telemetry=False))

    def build(self, vectors: Any, buckets: Any) -> None:
        graph = {"hnsw:space": "ip", "hnsw:M": 16, "hnsw:construction_ef": 100, "hnsw:search_ef": 64}
        self.table = self._client().create_collection("motions", metadata=graph)
        for start in range(0, len(vectors), 5000):
            self._put(
                np.arange(start, min(start + 5000, len(vectors))),
                vectors[start : start + 5000],
                buckets[start : start + 5000],
            )
            self.told(min(start + 5000, len(vectors)))

    def _put(self, numbers: Any, vectors: Any, buckets: Any) -> None:
        metadata = [{"bucket": int(bucket)} for bucket in buckets]
        self.table.upsert(ids=[str(n) for n in numbers], embeddings=np.asarray(vectors), metadatas=metadata)

    def open(self) -> None:
        self.table = self._client().get_collection("motions")

    def query(self, query: Any, below: int | None = None) -> Any:
        where = None if below is None else {"bucket": {"$lt": below}}
        found = self.table.query(query_embeddings=[query], n_results=K, where=where, include=["distances"])
        return [int(name) for name in found["ids"][0]]

    def upsert(self, numbers: Any, vectors: Any) -> None:
        self._put(numbers, vectors, np.zeros(len(numbers), int))

    def delete(self, numbers: Any) -> None:
        self.table.delete(ids=[str(n) for n in numbers])


class Qdrant:
    """Qdrant's client in its local mode."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "qdrant"

    def build(self, vectors: Any, buckets: Any) -> None:
        from qdrant_client import QdrantClient, models

        client = QdrantClient(path=str(self.path))
        client.create_collection(
            "t", vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
        )
        for start in range(0, len(vectors), 1000):
            numbers = range(start, min(start + 1000, len(vectors)))
            payload = [{"bucket": int(buckets[n])} for n in numbers]
            client.upload_collection(
                "t", vectors=np.asarray(vectors[start : numbers.stop]), payload=payload, ids=numbers
            )
            self.told(numbers.stop)
        client.close()

    def open(self) -> None:
        from qdrant_client import QdrantClient

        self.client = QdrantClient(path=str(self.path))

    def query(self, query: Any, below: int | None = None) -> Any:
        from qdrant_client import models

        kept = None
        if below is not None:
            kept = models.Filter(must=[models.FieldCondition(key="bucket", range=models.Range(lt=below))])
        found = self.client.query_points("t", query=query, limit=K, query_filter=kept, with_payload=False)
        return [point.id for point in found.points]

    def upsert(self, numbers: Any, vectors: Any) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=int(n), vector=v.tolist(), payload={"bucket": 0})
            for n, v in zip(numbers, vectors, strict=True)
        ]
        self.client.upsert("t", points)

    def delete(self, numbers: Any) -> None:
        from qdrant_client import models

        self.client.delete("t", models.PointIdsList(points=[int(n) for n in numbers]))


class Milvus:
    """Milvus Lite, flat."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "milvus.db"

    def build(self, vectors: Any, buckets: Any) -> None:
        from pymilvus import DataType, MilvusClient

        client = MilvusClient(str(self.path))
        fields = client.create_schema(auto_id=False)
        fields.add_field("id", DataType.INT64, is_primary=True)
        fields.add_field("bucket", DataType.INT64)
        fields.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        client.create_collection("t", schema=fields, index_params=index)
        for start in range(0, len(vectors), 2000):
            numbers = range(start, min(start + 2000, len(vectors)))
            client.insert("t", [{"id": n, "bucket": int(buckets[n]), "vector": vectors[n]} for n in numbers])
            self.told(numbers.stop)
        client.flush("t")  # else every search goes through the rows one by one
        client.close()

    def open(self) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(str(self.path))
        self.client.load_collection("t")

    def query(self, query: Any, below: int | None = None) -> Any:
        kept = "" if below is None else f"bucket < {below}"
        return [hit["id"] for hit in self.client.search("t", [query.tolist()], limit=K, filter=kept)[0]]

    def upsert(self, numbers: Any, vectors: Any) -> None:
        self.client.upsert(
            "t", [{"id": int(n), "bucket": 0, "vector": v} for n, v in zip(numbers, vectors, strict=True)]
        )

    def delete(self, numbers: Any) -> None:
        self.client.delete("t", ids=[int(n) for n in numbers])


class Duck:
    """DuckDB with vectors as arrays; exact."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "duck.db"

    def build(self, vectors: Any, buckets: Any) -> None:
        import duckdb

        connection = duckdb.connect(str(self.path))
        connection.execute(f"create table t (id bigint, bucket bigint, v float[{self.dim}])")
        for start in range(0, len(vectors), 50_000):
            part = slice(start, min(start + 50_000, len(vectors)))
            self._put(
                connection, np.arange(part.start, part.stop), np.asarray(vectors[part]), np.asarray(buckets[part])
            )
        connection.close()

    def _put(self, connection: Any, numbers: Any, vectors: Any, buckets: Any) -> None:
        import pyarrow as pa

        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        incoming = pa.table({"id": numbers, "bucket": buckets, "v": lists})
        connection.register("incoming", incoming)
        connection.execute(f"insert into t select id, bucket, v::float[{self.dim}] from incoming")
        connection.unregister("incoming")

    def open(self) -> None:
        import duckdb

        self.connection = duckdb.connect(str(self.path), config={"threads": os.cpu_count() or 1})

    def query(self, query: Any, below: int | None = None) -> Any:
        kept = "" if below is None else f"where bucket < {below}"
        sql = f"select id from t {kept} order by array_inner_product(v, ?::float[{self.dim}]) desc limit {K}"
        return self.connection.execute(sql, [query.tolist()]).fetchnumpy()["id"]

    def upsert(self, numbers: Any, vectors: Any) -> None:
        self.delete(numbers)
        self._put(self.connection, numbers, vectors, np.zeros(len(numbers), np.int64))

    def delete(self, numbers: Any) -> None:
        self.connection.execute(f"delete from t where id in ({', '.join(map(str, numbers))})")


PEERS: dict[str, Any] = {
    "faiss-flat": Faiss, "faiss-hnsw": lambda f: Faiss(f, graph=True), "usearch": Usearch, "lancedb-flat": Lance,
    "lancedb-ivfpq": lambda f: Lance(f, index=True), "chroma": Chroma, "qdrant-local": Qdrant, "milvus-lite": Milvus,
    "duckdb": Duck,
}  # fmt: skip
