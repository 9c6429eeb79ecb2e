"""The benchmark measures what it says; how fast that is, is not a matter for tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks import store as bench


def test_a_system_is_measured_and_kept_a_missing_one_says_how_to_get_it(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{bench.BEGIN}\nold\n{bench.END}\nafter\n")
    options = [
        "--rows",
        "20000",
        "--json",
        str(tmp_path / "store.json"),
        "--work",
        str(tmp_path),
        "--table",
        str(document),
    ]
    bench.main([*options, "--systems", "remora exact f4"])
    bench.main([*options, "--systems", "qdrant-local"])
    rows = {row["system"]: row for row in json.loads((tmp_path / "store.json").read_text())["rows"]}
    own = rows["remora exact f4"]
    assert own["recall"] == 1.0
    assert all(own[f"recall {share}"] == 1.0 for share in bench.SHARES)
    assert (
        min(own[key] for key in ("p50_ms", "x_floor", "batch_qps", "build_s", "open_s", "upsert_1000_s", "disk_mb")) > 0
    )
    assert "missing" in rows["qdrant-local"] or "p50_ms" in rows["qdrant-local"]
    text = document.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    assert "| remora exact f4 | 1.000 |" in text


def test_data_depends_on_the_seed_alone_and_a_small_set_begins_a_large_one() -> None:
    one, other = bench._chunk(0, 40), bench._chunk(0, 40)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-5)
    assert not np.allclose(one, bench._chunk(1, 40))
