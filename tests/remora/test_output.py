"""Output: data on stdout, talk on stderr, tables that never cut what one wants to copy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remora import output
from tests.fakes import write_takes

ROOT = Path(__file__).resolve().parents[2]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_is_always_json(value: object) -> None:
    text = json.dumps(output._plain(value), allow_nan=False)
    assert json.loads(text) == output._plain(value)


def test_a_table_keeps_ids_whole_and_shortens_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    clip_id = "folder/" + "x" * 40 + "#0.00-2.00"
    output.write_table(("rank", "clip", "caption"), [(1, clip_id, "word " * 80)], fold=("clip",))
    out = capsys.readouterr().out
    assert clip_id in out
    assert "…" in out and max(map(len, out.splitlines())) <= output.PIPE_WIDTH


def test_what_looks_like_markup_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_table(("caption",), [("[red]a person[/red] [/nosuch]",)])
    assert "[red]a person[/red] [/nosuch]" in capsys.readouterr().out


def test_nobody_watching_sees_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress_bar("index") as move, output.waiting("searching"):
        move("read", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
@pytest.mark.parametrize(("options", "bars"), [([], True), (["--json"], False)])
def test_a_terminal_sees_the_bar_unless_json_is_asked_for(tmp_path: Path, options: list[str], bars: bool) -> None:
    takes = write_takes(tmp_path / "takes", {f"walk {number}.npy": 1.0 for number in range(5)})
    program = (
        "import encoders; from tests.fakes import FakeEncoder; e = FakeEncoder();"
        "encoders.load_encoder = lambda *a, **k: e;"
        "from remora.cli.app import run; run()"
    )
    master, slave = os.openpty()
    arguments = ["index", str(takes), "--library", str(tmp_path / "library"), *options]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=slave,
        env=os.environ | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # the terminal is gone with its last writer
        pass
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert (b"5/5" in shown) == bars
    if not bars:
        assert json.loads(out)["added"] == 5 and shown == b""
