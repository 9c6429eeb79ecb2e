"""Bad input: one line that names file and remedy, exit 1, and a library that is as it was."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fakes import FakeEncoder, somebody
from tests.remora.conftest import Outcome, Remora

HEAD = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT %s
  {
    OFFSET 0 10 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 10 0
    }
  }
}
"""
BODY = HEAD % "Spine" + "MOTION\nFrames: 3\nFrame Time: 0.0333\n" + "0 90 0 0 0 0 0 0 0\n" * 3


def complained(result: Outcome, *words: str) -> None:
    """The outcome is one error line that holds ``words``, and nothing on stdout."""
    assert result.code == 1
    assert result.err.startswith("error: ") and result.err.count("\n") == 1, result.err
    assert result.out == ""
    for word in words:
        assert word in result.err, result.err


@pytest.fixture
def unchanged(remora: Remora, library: Path) -> Callable[[], None]:
    """Checks that the library is at the version it was."""
    before = remora("library", "info", library, "--json").json

    def check() -> None:
        assert remora("library", "info", library, "--json").json == before

    return check


# ---- sources that cannot be opened at all ---------------------------------------------------------------------------


def test_an_empty_folder(remora: Remora, library: Path, unchanged: Callable[[], None], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    complained(remora("index", tmp_path / "empty", "--library", library), str(tmp_path / "empty"), ".bvh")
    unchanged()


def test_a_folder_of_text_files(remora: Remora, library: Path, unchanged: Callable[[], None], tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("hello")
    complained(remora("index", folder, "--library", library), str(folder), "no motion found")
    unchanged()


def test_a_source_that_is_not_there(remora: Remora, library: Path, unchanged: Callable[[], None]) -> None:
    complained(remora("index", "nowhere", "--library", library), "nowhere", "check the path")
    unchanged()


def test_one_bad_source_among_good_ones_writes_nothing(
    remora: Remora, library: Path, unchanged: Callable[[], None], takes: Path, tmp_path: Path
) -> None:
    np.save(takes / "new.npy", somebody(2.0, seed=9))
    (tmp_path / "empty").mkdir()
    complained(remora("index", takes, tmp_path / "empty", "--library", library), str(tmp_path / "empty"))
    unchanged()


def test_a_source_that_fails_creates_no_library(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    complained(remora("index", tmp_path / "empty", "--library", tmp_path / "new"))
    assert not (tmp_path / "new").exists()


# ---- files that cannot be read --------------------------------------------------------------------------------------

HOSTILE: dict[str, tuple[bytes, str]] = {
    "truncated.bvh": (BODY[:-30].encode(), "cut off"),
    "hierarchy only.bvh": ((HEAD % "Spine").encode(), "MOTION"),
    "nan.bvh": (BODY.replace("0 90 0", "0 nan 0", 1).encode(), "nan"),
    "many frames.bvh": (BODY.replace("Frames: 3", "Frames: 10000000").encode(), "10000000"),
    "cycle.bvh": (BODY.replace("Spine", "Hips").encode(), "cycle"),
    "utf16.bvh": (BODY.encode("utf-16"), "UTF-16"),
    "not human.bvh": (BODY.encode(), "joint"),
    "empty.bvh": (b"", "empty"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_rejected_with_a_reason_and_the_rest_goes_on(
    remora: Remora, library: Path, takes: Path, name: str
) -> None:
    content, word = HOSTILE[name]
    (takes / name).write_bytes(content)
    np.save(takes / "new.npy", somebody(2.0, seed=9))
    report = remora("index", takes, "--library", library, "--json").json
    assert report["added"] == 1
    (rejected,) = report["rejected"]
    assert name in rejected["path"] and word in rejected["reason"] and ";" in rejected["reason"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_alone_is_an_error_everywhere(
    remora: Remora, library: Path, unchanged: Callable[[], None], tmp_path: Path, name: str
) -> None:
    content, word = HOSTILE[name]
    path = tmp_path / name
    path.write_bytes(content)
    complained(remora("index", path, "--library", tmp_path / "new"), name, word)
    assert not (tmp_path / "new").exists()
    complained(remora("search", "--motion", path, "--library", library), str(path), word)
    complained(remora("classify", path, "--labels", "walk,run"), str(path), word)
    complained(remora("convert", path, tmp_path / "out.npy"), str(path), word)
    assert not (tmp_path / "out.npy").exists()
    unchanged()


def test_crlf_is_no_fault(remora: Remora, tmp_path: Path) -> None:
    (tmp_path / "crlf.bvh").write_bytes(BODY.replace("\n", "\r\n").encode())
    complained(remora("convert", tmp_path / "crlf.bvh", tmp_path / "out.npy"), "joint")  # read; its rig is no human


@pytest.mark.parametrize("shape", [(10, 7, 3), (10, 22, 2), (10, 66), (0, 22, 3), (22, 3)])
def test_a_wrong_number_of_joints(remora: Remora, tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "odd.npy", np.zeros(shape, np.float32))
    complained(remora("index", tmp_path / "odd.npy", "--library", tmp_path / "new"), "odd.npy", str(shape[1]))


def test_pickled_objects_are_never_unpickled(remora: Remora, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.mkdir, (str(marker),))

    np.save(tmp_path / "bomb.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    complained(remora("index", tmp_path / "bomb.npy", "--library", tmp_path / "new"), "bomb.npy", "pickle")
    assert not marker.exists()


def test_too_short_a_take(remora: Remora, tmp_path: Path) -> None:
    np.save(tmp_path / "short.npy", somebody(0.3))
    complained(remora("index", tmp_path / "short.npy", "--library", tmp_path / "new"), "short.npy", "0.30 s")


def test_what_was_indexed_stays_when_its_file_is_damaged(
    remora: Remora, library: Path, unchanged: Callable[[], None], takes: Path
) -> None:
    path = takes / "wave hello.npy"
    path.write_bytes(path.read_bytes()[:200])
    report = remora("index", takes, "--library", library, "--prune", "--json").json
    assert [rejected["path"] for rejected in report["rejected"]] == ["takes/wave hello.npy"]
    unchanged()


# ---- captions -------------------------------------------------------------------------------------------------------


def test_captions_of_a_missing_clip(
    remora: Remora, library: Path, unchanged: Callable[[], None], takes: Path, tmp_path: Path
) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("clip,caption\nnosuch.npy,a person sings\n")
    result = remora("index", takes, "--library", library, "--captions", captions)
    complained(result, str(captions), "nosuch.npy")
    unchanged()


def test_an_unknown_split(remora: Remora, library: Path, unchanged: Callable[[], None], takes: Path) -> None:
    complained(remora("index", takes, "--library", library, "--split", "sometimes"), "sometimes", str(takes))
    unchanged()


def test_a_joint_map_that_is_no_json(remora: Remora, takes: Path, tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text("{not json")
    complained(
        remora("index", takes, "--library", tmp_path / "new", "--joint-map", tmp_path / "map.json"), "map.json"
    )  # fmt: skip


# ---- libraries ------------------------------------------------------------------------------------------------------

EVERY_READER = (
    ["search", "walk", "--library"],
    ["export", "x#0-1", "--to", "x.npy", "--library"],
    ["library", "info"],
    ["library", "history"],
    ["library", "verify"],
)


@pytest.mark.parametrize("command", EVERY_READER)
def test_a_library_that_is_not_there(remora: Remora, tmp_path: Path, command: list[str]) -> None:
    complained(remora(*command, tmp_path / "nowhere"), str(tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("command", EVERY_READER)
def test_a_library_that_is_a_file(remora: Remora, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("hello")
    complained(remora(*command, tmp_path / "file"), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "hello"


def test_indexing_into_a_file(remora: Remora, takes: Path, tmp_path: Path, fake: FakeEncoder) -> None:
    (tmp_path / "file").write_text("hello")
    complained(remora("index", takes, "--library", tmp_path / "file"), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "hello" and fake.encoded == 0


def test_indexing_into_a_folder_of_something_else(remora: Remora, takes: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("jpg")
    complained(remora("index", takes, "--library", tmp_path / "photos"), str(tmp_path / "photos"))
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_a_read_only_library(
    remora: Remora,
    library: Path,
    unchanged: Callable[[], None],
    takes: Path,
    monkeypatch: pytest.MonkeyPatch,
    fake: FakeEncoder,
) -> None:
    np.save(takes / "new.npy", somebody(2.0, seed=9))
    embedded = fake.encoded
    if os.geteuid() == 0:  # rights do not bind root: let the question be answered as for everybody else
        writable = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and writable(path, mode))
    else:
        for path in (library, *library.rglob("*")):
            path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    complained(remora("index", takes, "--library", library), str(library), "read-only")
    assert fake.encoded == embedded
    unchanged()
    assert remora("search", "walk", "--library", library, "--json").json["hits"]


def test_a_library_of_a_newer_format(remora: Remora, library: Path, takes: Path) -> None:
    changed = 0
    for path in library.glob("*.json"):
        card = json.loads(path.read_text())
        for key in list(card):
            if "format" in key and isinstance(card[key], int):
                card[key] = 99
                changed += 1
        path.write_text(json.dumps(card))
    assert changed
    for command in (["search", "walk", "--library"], ["library", "info"], ["index", str(takes), "--library"]):
        complained(remora(*command, library), str(library), "99")


def test_a_library_of_another_encoder(
    remora: Remora, library: Path, unchanged: Callable[[], None], takes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import encoders

    np.save(takes / "new.npy", somebody(2.0, seed=9))
    with monkeypatch.context() as patch:
        patch.setattr(
            encoders, "load_encoder", lambda *args, **kwargs: FakeEncoder(name="other", fingerprint="ff" * 16)
        )
        for command in (["index", takes, "--library"], ["search", "walk", "--library"]):
            complained(remora(*command, library), "'fake'", "'other'", "--encoder")
    unchanged()


# ---- questions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_question(remora: Remora, library: Path, text: str) -> None:
    complained(remora("search", text, "--library", library), "empty")


@pytest.mark.parametrize("text", ["\U0001f483\U0001f57a", "?!", "\u200b"])
def test_a_question_without_a_word(remora: Remora, library: Path, text: str) -> None:
    complained(remora("search", text, "--library", library), "no word")


@pytest.mark.parametrize("text", ["salsa dance " * 5000, "salsa" * 5000])
def test_ten_thousand_words_or_an_endless_one(
    remora: Remora, library: Path, unchanged: Callable[[], None], text: str
) -> None:
    words = f"{len(text.split())} words"
    complained(remora("search", text, "--library", library), "salsa", words, "a sentence or two")
    unchanged()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["a text, a motion, or a clip"]),
        (["--motion", "a.bvh", "--clip", "takes/wave hello.npy#0.00-2.00"], ["one motion"]),
        (["walk", "--words", "0.5"], ["beside a motion or a clip"]),
        (["walk", "--clip", "takes/wave hello.npy#0.00-2.00", "--words", "1.5"], ["1.5", "from 0", "to 1"]),
        (["walk", "--clip", "takes/wave hello.npy#0.00-2.00", "--words", "nan"], ["nan"]),
        (["walk", "--rerank", "10"], ["re-ranks nothing", "maxsim"]),
        (["walk", "--score", "tokens", "--rerank", "0"], ["at least 1"]),
        (["walk", "--score", "tokens"], ["fake", "no words and moments"]),
        (["--clip", "takes/wave hello.npy#0.00-2.00", "--score", "tokens"], ["ask with a sentence"]),
        (["--clip", "nosuch#0-1"], ["nosuch#0-1"]),
        (["walk", "--part", "tail"], ["tail", "left_arm"]),
        (["walk", "--weights", "tail=1"], ["tail", "left_arm"]),
        (["walk", "--weights", "left_arm"], ["left_arm", "part=number"]),
        (["walk", "--weights", "left_arm=nan"], ["left_arm"]),
        (["walk", "--weights", "left_arm=-1"], ["left_arm"]),
        (["walk", "--weights", "left_arm=0"], ["left_arm"]),
        (["walk", "--where", "duration_s <"], ["duration_s <"]),
        (["walk", "--where", "nosuch = 1"], ["nosuch"]),
        (["walk", "--where", "1=1); drop table rows; --"], ["drop"]),
        (["walk", "--to", "text"], ["--motion"]),
        (["walk", "--save-strip", "nowhere/x.png"], ["nowhere"]),
        (["walk", "--save-strip", "x.docx"], [".docx"]),
    ],
)
def test_questions_that_make_no_sense(
    remora: Remora, library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = remora("search", *options, "--library", library, "--json")
    assert result.code == 1 and result.err.startswith("error: ") and result.err.count("\n") == 1, result.err
    for word in words:
        assert word in result.err


def test_more_hits_than_there_are_is_all_there_are(remora: Remora, library: Path) -> None:
    assert len(remora("search", "walk", "--library", library, "-k", 1000, "--json").json["hits"]) == 9


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        ("", "fewer than two"), ("walk", "fewer than two"), ("walk,run,walk", "'walk' twice"), (",", "label 1 of 2 is empty"),
        ("walk,,run", "label 2 of 3 is empty"), ("walk|,|run", "empty"),
    ],
)  # fmt: skip
def test_labels_that_are_no_choice(remora: Remora, takes: Path, labels: str, word: str) -> None:
    complained(remora("classify", takes / "kick ball.npy", "--labels", labels), word)


def test_ten_thousand_labels_are_a_choice(remora: Remora, takes: Path, tmp_path: Path) -> None:
    many = tmp_path / "many.txt"
    many.write_text("\n\n".join(f"action {number}" for number in range(10_000)), encoding="utf-8")
    result = remora("classify", takes / "kick ball.npy", "--labels", f"@{many}", "--top", 2, "--json")
    assert len(result.json["files"][0]["labels"]) == 2


def test_a_template_without_a_place_for_the_label(remora: Remora, takes: Path) -> None:
    complained(remora("classify", takes / "kick ball.npy", "--labels", "a,b", "--template", "a person"), "{}")


def test_exporting_to_an_unknown_format(remora: Remora, library: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.docx"
    complained(remora("export", "takes/wave hello.npy#0.00-2.00", "--library", library, "--to", to), ".docx", ".bvh")


def test_exporting_an_unknown_clip(remora: Remora, library: Path, tmp_path: Path) -> None:
    complained(remora("export", "nosuch", "--library", library, "--to", tmp_path / "x.npy"), "nosuch")
    assert not (tmp_path / "x.npy").exists()


def test_debug_shows_where(remora: Remora, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        remora("library", "info", tmp_path / "nowhere", "--debug")
