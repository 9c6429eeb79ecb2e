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


def test_an_aim_that_is_missed_and_a_peer_that_is_ahead_are_said() -> None:
    own = {"recall": 1.0, "p50_ms": 10.0, "open_s": 0.1, "upsert_1000_s": 0.7, "x_floor": 1.2}
    lines = bench.verdicts({"remora exact f4": own, "usearch": {"recall": 0.9, "p50_ms": 3.0}}, 10_000)
    assert "| exact float32, fastest tenth over the floor <= 1.3 | 1.2 | met |" in lines
    assert "| upsert of 1,000, s <= 0.5 | 0.7 | missed |" in lines
    assert lines[-1] == "| usearch at recall 0.900, p50 3.00 ms | 10.00 ms | behind |"


def test_a_system_that_is_not_built_in_time_is_not_tried_again(tmp_path: Path) -> None:
    bench.write_data(tmp_path, 2000)
    row = bench.run("remora exact f4", tmp_path, bench.sys.executable, 0.05, build_only=False)
    assert row["stopped"] == "not built (0.05 s), 0 rows by then"
    assert bench.run("remora exact f4", tmp_path, "no-such-python", 60, build_only=False)["stopped"] == row["stopped"]
