"""What is written for other viewers is read back: the map for Embedding Atlas, the recording for Rerun."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from remora.engine import Engine
from remora.showing import ATLAS_OPTIONS
from tests.remora.conftest import CLIPS, Remora


def test_an_atlas_has_a_place_a_text_and_true_neighbours_for_every_clip(
    remora: Remora, library: Path, tmp_path: Path
) -> None:
    done = remora("library", "export", library, "--to", tmp_path / "map.parquet", "--atlas")
    assert (done.code, f"{CLIPS} clips" in done.out, "embedding-atlas" in done.err) == (0, True, True)
    table = pq.read_table(tmp_path / "map.parquet").to_pydict()
    snapshot = Engine(library).snapshot
    assert table["clip_id"] == snapshot.ids()
    assert all(table["text"])
    assert np.isfinite([table["x"], table["y"]]).all() and np.abs([table["x"], table["y"]]).max() <= 1.001
    vectors = snapshot.vectors(snapshot.ids(), "motion/whole")
    for at, near in enumerate(table["neighbors"]):
        assert at not in near["ids"] and len(near["ids"]) == CLIPS - 1
        np.testing.assert_allclose(near["distances"], 1 - vectors[near["ids"]] @ vectors[at], atol=1e-5)
    none = remora("library", "export", library, "--to", tmp_path / "map.parquet", "--atlas", "--where", "n_frames < 0")
    assert none.code == 1 and "no clip passes" in none.err


def test_embedding_atlas_takes_the_file(remora: Remora, library: Path, tmp_path: Path) -> None:
    pytest.importorskip("embedding_atlas", reason="embedding-atlas is not installed (pip install 'remora[atlas]')")
    assert remora("library", "export", library, "--to", tmp_path / "map.parquet", "--atlas").code == 0
    program = "from embedding_atlas.cli import main; main()"
    options = [*ATLAS_OPTIONS.split(), "--disable-projection", "--export-application", str(tmp_path / "app.zip")]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "map.parquet"), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "app.zip") as made:
        said = next(name for name in made.namelist() if name.endswith("metadata.json"))
        assert "neighbors" in json.dumps(json.loads(made.read(said)))


def test_a_recording_has_every_joint_at_its_time(remora: Remora, library: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun.chunk", reason="rerun-sdk is not installed (pip install 'remora[rerun]')")
    done = remora("library", "export", library, "--to", tmp_path / "clips.rrd", "--where", "duration_s < 2.4")
    assert done.code == 0, done.err
    engine = Engine(library)
    ids = engine.snapshot.ids("duration_s < 2.4")
    assert f"{len(ids)} clips" in done.out and ids
    found = read_recording(tmp_path / "clips.rrd")
    for name in ids:
        clip = engine.clip(name)
        (entity,) = [path for path in found if path.replace("\\", "").endswith(f"{name}/joints")]
        times, joints = found[entity]
        np.testing.assert_allclose(times, np.arange(len(clip)) / clip.fps, atol=1e-6)
        np.testing.assert_allclose(joints, clip.joints, atol=1e-6)


def read_recording(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Seconds [T] and points [T, J, 3] of every entity of a recording that has points."""
    from rerun.chunk import RrdReader

    found: dict[str, list[tuple[float, np.ndarray]]] = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        name = next((name for name in batch.schema.names if name.endswith("Points3D:positions")), None)
        if name is not None:
            for at, points in zip(batch["seconds"], batch[name].to_pylist(), strict=True):
                found.setdefault(chunk.entity_path, []).append((at.value / 1e9, np.array(points)))
    sorted_by_time = {entity: sorted(rows, key=lambda row: row[0]) for entity, rows in found.items()}
    return {
        entity: (np.array([at for at, _ in rows]), np.stack([points for _, points in rows]))
        for entity, rows in sorted_by_time.items()
    }


def test_a_recording_without_rerun_says_what_to_install(
    remora: Remora, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    done = remora("library", "export", library, "--to", tmp_path / "clips.rrd")
    assert done.code == 1 and "pip install 'remora[rerun]'" in done.err
    assert not list(tmp_path.glob("*.rrd"))
    mixed = remora("library", "export", library, "--to", tmp_path / "clips.rrd", "--atlas")
    assert mixed.code == 1 and "leave them out" in mixed.err
