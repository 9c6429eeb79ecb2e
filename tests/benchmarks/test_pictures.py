"""The pictures of the documents: what is shown is what was found."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import encoders
from docs import make_failures, make_queries
from indexer import index
from motion.files import open_source
from retriever import Hit
from tests.fakes import FakeEncoder, write_labelled


def test_hits_of_different_takes() -> None:
    hits = [Hit(n, f"{take}#{n}", 0, 1, 1.0, (), "s", 1, take=take) for n, take in enumerate("aabca", start=1)]
    assert [hit.rank for hit in make_queries.of_different_takes(hits, 2)] == [1, 3]


def test_failures_are_worst_first_with_what_was_found_instead(tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "a", {"walk": 2, "kick": 2})
    clips = [clip for take in open_source(folder) for clip in take.read()]
    own = [clip.labels["class_text"] for clip in clips]
    encoder = FakeEncoder()
    motions = encoder.encode_text(["a person walks", "a person kicks", "a person kicks", "a person kicks"]).whole
    (worst, best) = make_failures.failures(encoder, clips, motions, sorted(set(own)), own)
    assert (worst[0], best[0]) == ("a person kicks", "a person walks")
    assert worst[1] == 2 and worst[3] >= 1 and best[3] == 1
    assert own[worst[4][0]] == "a person kicks" and {own[i] for i in worst[4][1:]} == {"a person walks"}


def test_both_commands_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = FakeEncoder()
    for module in (encoders, make_failures):
        monkeypatch.setattr(module, "load_encoder", lambda *args, **kwargs: encoder)
    write_labelled(tmp_path / "data" / "a", {"walk": 2, "kick": 2})
    index([tmp_path / "data"], tmp_path / "lib", encoder=encoder)
    card = tmp_path / "card.md"
    card.write_text("a\n<!-- failures -->\nold\n<!-- /failures -->\nb\n")
    monkeypatch.setattr(make_queries, "QUESTIONS", ("a person walks", "a person kicks"))
    for module, arguments in (
        (make_queries, [str(tmp_path / "lib"), "--table"]),
        (make_failures, ["--data", str(tmp_path / "data"), "--card", str(card)]),
    ):
        out = tmp_path / f"{module.__name__}.png"
        monkeypatch.setattr(sys, "argv", ["x", *arguments, "--out", str(out)])
        module.main()
        assert np.asarray(Image.open(out).convert("RGB")).std() > 5
    assert "a person kicks" in capsys.readouterr().out
    assert re.fullmatch(r"a\n<!-- failures -->\n(\|.*\|\n){4}<!-- /failures -->\nb\n", card.read_text())
