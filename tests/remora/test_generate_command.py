"""``remora generate``, ``create`` and ``edit``: complete folders, what is finished stays, one line where it cannot be."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import generator
from motion import read
from motion.synth import synthesise
from remora import results
from tests.generator.conftest import tiny_generator, tiny_tokenizer
from tests.remora.conftest import Outcome, Remora

FILES = {"motion.npy", "raw.npy", "features.npy", "motion.bvh", "motion.glb", "strip.png", "run.json"}
QUICK = ("--steps", 2, "--seed", 3, "--length", "1.6s")


@pytest.fixture(scope="module")
def tiny() -> generator.Generator:
    return tiny_generator(tiny_tokenizer(synthesise(24, seed=5)))


@pytest.fixture
def make(
    remora: Remora, tiny: generator.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """A command with the untrained generator, a library of three clips, and a folder for results."""
    monkeypatch.setattr(generator, "load_generator", lambda *args, **kwargs: tiny)
    for number, clip in enumerate(synthesise(3, seed=2)):
        (tmp_path / "takes").mkdir(exist_ok=True)
        np.save(tmp_path / "takes" / f"walk forward {number}.npy", clip.joints, allow_pickle=False)
    assert remora("index", tmp_path / "takes", "--library", tmp_path / "lib").code == 0

    def run(command: str, *arguments: object) -> Outcome:
        return remora(command, *arguments, "--library", tmp_path / "lib", "--out", tmp_path / "out")

    return run


def test_a_folder_has_everything_and_is_not_made_twice(make: Callable[..., Outcome], tmp_path: Path) -> None:
    made = make("generate", "A person: waves / 'hello' 🙂", *QUICK, "--json").json["made"]
    folder = Path(made[0]["folder"])
    assert {p.name for p in folder.iterdir()} - {"motion.mp4"} == FILES and folder.parent == tmp_path / "out"
    assert folder.name.isascii() and "/" not in folder.name and ":" not in folder.name
    joints, raw = (np.load(folder / name, allow_pickle=False) for name in ("motion.npy", "raw.npy"))
    assert joints.shape == raw.shape == (32, 22, 3) and np.load(folder / "features.npy").shape == (31, 263)
    (bvh,) = read(folder / "motion.bvh")
    assert len(bvh.joints) == 32
    run = json.loads((folder / "run.json").read_text())
    assert (
        run["seed"] == 3
        and len(run["hits"]) == 2
        and run["library"]["version"]
        and set(run["physics"]) == {"raw", "clean"}
    )
    again = make("generate", "A person: waves / 'hello' 🙂", *QUICK, "--json").json
    assert again["made"] == [] and again["complete"] == [str(folder)]


def test_prompt_files_and_repeats(make: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# two\na person waves#24\n\na person jumps#NA\n", encoding="utf-8")
    options = (
        "--prompts",
        tmp_path / "prompts.txt",
        "--steps",
        1,
        "--seed",
        1,
        "--repeat",
        2,
        "--formats",
        "npy",
        "--json",
    )
    made = make("generate", *options).json["made"]
    assert [m["seed"] for m in made] == [1, 2, 1, 2] and [round(m["seconds"], 3) for m in made[:2]] == [1.2, 1.2]
    assert len({m["folder"] for m in made}) == 4


def test_no_space_in_the_middle_of_a_batch(
    make: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("one wave\ntwo waves\nthree waves\n")
    command = ("generate", "--prompts", tmp_path / "prompts.txt", *QUICK, "--formats", "npy", "--json")
    save, calls = np.save, []

    def full(path: Path, *args: object, **kwargs: object) -> None:
        calls.append(path)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, *args, **kwargs)

    monkeypatch.setattr(results.np, "save", full)
    failed = make(*command)
    assert failed.code == 1 and "stays" in failed.err and "space" in failed.err and failed.err.count("\n") <= 2
    monkeypatch.undo()


def test_a_batch_without_a_seed_goes_on_with_the_seed_it_drew(
    make: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("one wave\ntwo waves\n")
    command = ("generate", "--prompts", tmp_path / "prompts.txt", "--steps", 1, "--length", "1.6s", "--formats", "npy")
    save, calls = np.save, []

    def full(path: Path, *args: object, **kwargs: object) -> None:
        calls.append(path)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(results.np, "save", full)
        assert make(*command).code == 1
    (note,) = (tmp_path / "out").glob("unfinished-*.json")
    seed = json.loads(note.read_text())["seed"]
    again = make(*command, "--json")
    assert len(again.json["complete"]) == 1 and [m["seed"] for m in again.json["made"]] == [seed]
    assert f"seed {seed}" in again.err and not note.exists()
    assert {m["seed"] for m in make(*command, "--json").json["made"]} != {seed}  # complete: the next is a new one


def test_of_several_candidates_the_best_is_kept(make: Callable[..., Outcome]) -> None:
    options = ("--steps", 1, "--length", "1.6s", "--formats", "npy", "--seed", 5, "--json")
    (one,) = make("generate", "a person waves", "--candidates", 4, *options).json["made"]
    run = json.loads((Path(one["folder"]) / "run.json").read_text())
    scores = [c["score"] for c in run["candidates"]]
    assert run["seed"] == 5 and len(scores) == 4 and scores == sorted(scores, reverse=True)
    kept = np.load(Path(one["folder"]) / "raw.npy")
    best = run["candidates"][0]["seed"]
    alone_options = (*options[:-3], "--seed", best, "--candidates", 1, "--json")
    (alone,) = make("generate", "a person waves", *alone_options).json["made"]
    np.testing.assert_allclose(np.load(Path(alone["folder"]) / "raw.npy"), kept, atol=1e-4)
    assert make("generate", "x", "--candidates", 33, *options).code == 2


def test_create_takes_what_fits_and_makes_what_does_not(make: Callable[..., Outcome]) -> None:
    found = make("create", "walk forward", "--threshold", 0.9, "--formats", "npy,bvh", "--json").json
    assert found["found"] and found["score"] > 0.9
    assert {p.name for p in Path(found["folder"]).iterdir()} >= {"motion.npy", "motion.bvh"}
    made = make("create", "a salto", "--threshold", 0.9, "--length", 1.5, "--seed", 1, "--formats", "npy", "--json")
    assert made.json["made"] and "making a new motion" in made.err


def test_edit_keeps_the_rest(make: Callable[..., Outcome], tmp_path: Path) -> None:
    take = next((tmp_path / "takes").iterdir())
    options = ("--text", "a wave", "--part", "left_arm", "--steps", 1, "--seed", 2, "--formats", "npy", "--json")
    done = make("edit", take, *options).json
    assert done["parts"] == ["left_arm"] and (Path(done["folder"]) / "run.json").is_file()


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("generate", ("",), "empty"),
        ("generate", ("🙂🙂",), "no word"),
        ("generate", ("x", "--length", "0s"), "more than 0"),
        ("generate", ("x", "--length", "soon"), "no length"),
        ("generate", ("x", "--length", "1000000"), "beyond what this generator can make"),
        ("generate", ("x", "--formats", "exe"), "--formats"),
        ("generate", ("x", "--parts-from", "left_leg"), "PARTS=TEXT"),
        ("generate", ("x", "--parts-from", "left_legs=a kick"), "left_leg"),
        ("generate", ("x", "--schedule", "never"), "schedule"),
        ("generate", (), "either a sentence"),
        ("generate", ("x", "--where", "duration_s > 900"), "loosen the condition"),
        ("edit", ("nosuch.bvh",), "nosuch.bvh: no such file"),
    ],
)
def test_bad_input_is_one_line(
    make: Callable[..., Outcome], command: str, arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    result = make(command, *arguments)
    assert result.code == 1 and words in result.err and result.err.count("\n") == 1, result.err
    assert not (tmp_path / "out").exists()


def test_no_library_and_no_need_for_one(
    remora: Remora, tiny: generator.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "load_generator", lambda *args, **kwargs: tiny)
    options = ("--library", tmp_path / "none", "--out", tmp_path / "out", *QUICK, "--formats", "npy")
    refused = remora("generate", "a wave", *options)
    assert refused.code == 1 and "--no-retrieval" in refused.err
    assert remora("generate", "a wave", *options, "--no-retrieval").code == 0
