"""Ways of asking and commands about vectors, from end to end; what makes no sense is one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.remora.conftest import CLIPS, Remora


def hits(remora: Remora, library: Path, *options: object) -> list[dict[str, Any]]:
    result = remora("search", *options, "--library", library, "--json")
    assert result.code == 0, result.err
    return list(result.json["hits"])


def test_more_like_these_and_unlike_those(remora: Remora, library: Path) -> None:
    first, second = (hit["clip_id"] for hit in hits(remora, library, "salsa dance", "-k", 2))
    found = hits(remora, library, "--like", first, "--unlike", second, "-k", 50)
    assert len(found) == CLIPS - 2
    assert not {first, second} & {hit["clip_id"] for hit in found}


def test_scores_mirrors_and_filters_over_what_joints_do(remora: Remora, library: Path) -> None:
    for way in ("whole", "maxsim", "hybrid"):
        assert hits(remora, library, "salsa dance", "--score", way)[0]["clip_id"] == "takes/salsa dance.npy#0.00-3.00"
    twice = hits(remora, library, "salsa dance, then salsa dance", "--score", "events", "-k", 50)
    assert (len(twice), twice[0]["clip_id"]) == (CLIPS, "takes/salsa dance.npy#0.00-3.00")
    assert "--score events" in remora("search", "kick ball, then walk", "--library", library).err
    both = hits(remora, library, "kick ball", "--mirror", "also", "-k", 50)
    assert len(both) == CLIPS
    clip = both[0]["clip_id"]
    assert all(hit["mirrored"] for hit in hits(remora, library, "--clip", clip, "--mirror", "only"))
    slow, fast = (hits(remora, library, "walk", "-k", 50, "--where", f"path {sign} 2.0") for sign in ("<", ">="))
    assert len(slow) + len(fast) == CLIPS
    said = hits(remora, library, "walk", "--where", "says('long walks')")
    assert said and all("long walk" in hit["clip_id"] for hit in said)


def test_every_line_of_a_file_is_a_question(remora: Remora, library: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("salsa dance\n\nkick ball\n", encoding="utf-8")
    result = remora("search", "--batch", tmp_path / "texts.txt", "--library", library, "--json", "-k", 2)
    assert [answer["query"] for answer in result.json] == ["salsa dance", "kick ball"]
    for answer in result.json:
        assert answer["hits"][0]["clip_id"] == hits(remora, library, answer["query"])[0]["clip_id"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--like", "nobody"), "no clip 'nobody'"), (("a", "--score", "best"), "whole, events, maxsim, tokens, hybrid"),
        (("a walk", "--score", "events"), "2 to 8 events"),
        (("a", "--mirror", "left"), "neither only nor also"), (("a", "--score", "hybrid", "--part", "root"), "no body parts"),
        (("--unlike", "x"), "a text, a motion, or a clip"), (("a", "--where", "sped > 1"), "did you mean 'speed'"),
        (("a", "--where", "speed > 1; drop table t"), "filter"), (("a", "--where", "caption in (select 1)"), "not allowed"),
        (("a", "--where", "x = read_csv('y')"), "not a plain value"), (("a", "--batch", "none.txt"), "--batch"),
        (("--batch", "none.txt"), "none.txt"), (("a", "-k", "0"), "-k"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(remora: Remora, library: Path, arguments: tuple[str, ...], said: str) -> None:
    result = remora("search", *arguments, "--library", library)
    assert result.code in (1, 2)
    assert said in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_vectors_come_in_are_tuned_asked_and_go_out(remora: Remora, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((2100, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.table(
        {"id": [f"v{n}" for n in range(2100)], "vector": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 32)}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    library, plot = tmp_path / "lib", tmp_path / "tuned.png"
    assert remora("library", "import", tmp_path / "in.parquet", library, "--json").json["added"] == 2100
    options = ("--kind", "pq", "--questions", 20, "--recall", 0.5, "--plot", plot, "--json")
    report = remora("library", "tune", library, *options).json
    assert report["chosen"]["recall_10"] >= 0.5
    assert report["measured"][0]["way"] == "exact"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert hits(remora, library, "--clip", "v7", "-k", 1)[0]["clip_id"] == "v7"
    assert remora("library", "tune", library, "--exact").code == 0
    assert remora("library", "export", library, "--to", tmp_path / "out.parquet", "--json").json["clips"] == 2100
    assert pq.read_table(tmp_path / "out.parquet")["clip_id"].to_pylist() == table["id"].to_pylist()
    for command in (
        ("tune", library, "--kind", "lsh"),
        ("export", library, "--to", "x.csv"),
        ("import", tmp_path / "no.npy"),
    ):
        result = remora("library", *command)
        assert (result.code, len(result.err.strip().splitlines())) == (1, 1)
