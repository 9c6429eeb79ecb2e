"""Sources: what lies in a folder is recognised and listed in stable order; nothing foreign takes it down."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from motion import SMPL_22, Clip, FileFormatError, MotionError, SkeletonError, open_source, read, register_reader
from motion.files import READERS, caption_of_name, read_captions

MakeBvh = Callable[..., Path]


def make_actions(folder: Path, clips: int = 4, frames: int = 10) -> None:
    """A source folder of tables."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    delta = random.integers(-40, 40, (clips * frames, 22, 3)).astype(np.int16)
    rows = [
        {
            "clip_id": f"{folder.name}/c{i}",
            "source": folder.name,
            "split": "test" if i % 2 else "train",
            "subject": "s1",
            "take": f"t{i // 2}",
            "start_s": 0.5 * i,
            "end_s": 0.5 * i + 0.5,
            "fps": 20.0,
            "n_frames": frames,
            "row_start": i * frames,
            "class_id": "walk",
            "class_text": "a person walks",
            "style": "old" if i else "",
            "captions": ["somebody walks"] if i == 2 else [],
            "capture": "optical",
            "license": "CC0",
            "origin": "here",
        }
        for i in range(clips)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "clips.parquet")
    np.savez_compressed(folder / "joints.npz", delta=delta, unit=np.float64(0.00025))


def test_a_folder_of_bvh(some_bvh: MakeBvh, tmp_path: Path) -> None:
    for name in ("b/walk.bvh", "a.bvh", "b/c/run.BVH"):
        some_bvh(f"src/{name}")
    (tmp_path / "src" / "LICENSE").write_text("free")
    source = open_source(tmp_path / "src")
    assert [take.take for take in source] == ["a.bvh", "b/walk.bvh", "b/c/run.BVH"]
    assert (source.kind, source.dataset, len(source)) == ("bvh folder", "src", 3)
    (clip,) = source.takes[1].read()
    assert (clip.source.dataset, clip.source.take) == ("src", "b/walk.bvh")
    assert [(caption.text, caption.kind) for caption in clip.captions] == [("walk", "template")]
    assert pickle.loads(pickle.dumps(source.takes[1])).read()[0].content_hash() == clip.content_hash()


def test_stamps_change_with_the_file_only(some_bvh: MakeBvh, tmp_path: Path) -> None:
    path = some_bvh("src/a.bvh")
    some_bvh("src/b.bvh")
    before = {take.take: take.stamp for take in open_source(tmp_path / "src")}
    assert before == {take.take: take.stamp for take in open_source(tmp_path / "src")}
    os.utime(path, ns=(1, 1))
    after = {take.take: take.stamp for take in open_source(tmp_path / "src")}
    assert {name for name in before if before[name] != after[name]} == {"a.bvh"}


def test_a_damaged_file_is_listed_and_fails_alone(some_bvh: MakeBvh, tmp_path: Path) -> None:
    some_bvh("src/a.bvh")
    (tmp_path / "src" / "b.bvh").write_text("HIERARCHY\n")
    takes = list(open_source(tmp_path / "src"))
    assert len(takes[0].read()) == 1
    with pytest.raises(FileFormatError, match=r"b\.bvh"):
        takes[1].read()


@pytest.mark.parametrize("content", [{}, {"a.txt": "walk", "notes.md": "# run"}, {"Mean.npy": "x", "shape.npz": "y"}])
def test_folders_without_motion_say_what_was_looked_for(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match=r"no motion found; looked for .*\.bvh"):
        open_source(tmp_path)


def test_paths_that_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="no such file"):
        open_source(tmp_path / "absent")
    (tmp_path / "a.fbx").write_text("x")
    with pytest.raises(FileFormatError, match=r"readable are \.amc \.bvh"):
        open_source(tmp_path / "a.fbx").takes[0].read()
    with pytest.raises(FileFormatError, match="a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe.bvh")
    with pytest.raises(FileFormatError, match="no regular file"):
        read(tmp_path / "pipe.bvh")


def test_loops_of_links_end(some_bvh: MakeBvh, tmp_path: Path) -> None:
    some_bvh("src/deep/a.bvh")
    (tmp_path / "src" / "deep" / "back").symlink_to(tmp_path / "src")
    (tmp_path / "src" / "self").symlink_to(tmp_path / "src" / "self")
    (tmp_path / "src" / "gone.bvh").symlink_to(tmp_path / "nowhere.bvh")
    takes = list(open_source(tmp_path / "src"))
    assert [take.take for take in takes] == ["gone.bvh", "deep/a.bvh"]
    with pytest.raises(FileFormatError, match="no such file"):
        takes[0].read()


def test_tables_of_clips(tmp_path: Path) -> None:
    make_actions(tmp_path / "set" / "one")
    make_actions(tmp_path / "set" / "two", clips=2)
    source = open_source(tmp_path / "set")
    assert source.kind == "actions"
    assert [take.take for take in source] == ["one/c0", "one/c1", "one/c2", "one/c3", "two/c0", "two/c1"]
    (clip,) = source.takes[2].read()
    assert (clip.source.dataset, clip.source.take, clip.source.start_s, clip.source.licence) == (
        "one",
        "t1",
        1.0,
        "CC0",
    )
    assert clip.labels == {"class_id": "walk", "class_text": "a person walks", "style": "old"}
    assert [(c.text, c.kind) for c in clip.captions] == [
        ("somebody walks", "human"),
        ("a person walks, old style", "template"),
    ]
    assert [take.take for take in open_source(tmp_path / "set", split="test")] == ["one/c1", "one/c3", "two/c1"]
    assert open_source(tmp_path / "set" / "one").takes[0].stamp == source.takes[0].stamp
    with pytest.raises(FileFormatError, match="it has train, test"):
        open_source(tmp_path / "set", split="val")


def test_moving_a_table_does_not_change_its_stamps(tmp_path: Path) -> None:
    make_actions(tmp_path / "a" / "one")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert [t.stamp for t in open_source(tmp_path / "a")] == [t.stamp for t in open_source(tmp_path / "b")]


def test_damaged_tables_are_refused(tmp_path: Path) -> None:
    make_actions(tmp_path / "one")
    np.savez(tmp_path / "one" / "joints.npz", delta=np.zeros((5, 22, 3), np.int16), unit=0.001)
    with pytest.raises(FileFormatError, match="do not belong together"):
        open_source(tmp_path / "one")
    (tmp_path / "one" / "clips.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(FileFormatError, match="Parquet"):
        open_source(tmp_path / "one")


def test_kinds_may_be_mixed(some_bvh: MakeBvh, some_clip: Clip, tmp_path: Path) -> None:
    make_actions(tmp_path / "src" / "one", clips=1)
    some_bvh("src/loose/a.bvh")
    np.save(tmp_path / "src" / "loose" / "b.npy", some_clip.joints)
    source = open_source(tmp_path / "src")
    assert source.kind == "actions + bvh folder + npy folder"
    assert sum(len(take.read()) for take in source) == 3


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet", "dict.json"])
def test_caption_files_in_every_format_agree(some_bvh: MakeBvh, tmp_path: Path, suffix: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    some_bvh("src/a/walk.bvh")
    some_bvh("src/run.bvh")
    rows = [
        {"clip": "a/walk.bvh", "caption": "a person walks, slowly", "start_s": 0.0, "end_s": 0.0},
        {"clip": "walk", "caption": "steps", "start_s": 0.1, "end_s": 0.3},
    ]
    path = tmp_path / f"captions.{suffix}"
    if suffix in ("csv", "tsv"):
        mark = "," if suffix == "csv" else "\t"
        lines = [mark.join(rows[0])] + [mark.join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\r\n".join(lines))
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    elif suffix == "dict.json":
        path.write_text(json.dumps({"a/walk.bvh": rows[0]["caption"], "walk": [{**rows[1]}]}))
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    plain = {take.take: take for take in open_source(tmp_path / "src")}
    takes = {take.take: take for take in open_source(tmp_path / "src", captions=path)}
    (clip,) = takes["a/walk.bvh"].read()
    assert [(c.text, c.start_s, c.end_s, c.kind) for c in clip.captions] == [
        ("a person walks, slowly", 0, 0, "human"),
        ("steps", 0.1, 0.3, "human"),
    ]
    assert takes["run.bvh"].read()[0].captions[0].kind == "template"
    assert {name for name in plain if takes[name].caption_mark != plain[name].caption_mark} == {"a/walk.bvh"}
    assert {name for name in plain if takes[name].stamp != plain[name].stamp} == set()


def test_captions_must_name_a_clip_that_is_there(some_bvh: MakeBvh, tmp_path: Path) -> None:
    some_bvh("src/a/walk.bvh")
    some_bvh("src/b/walk.bvh")
    captions = tmp_path / "c.csv"
    captions.write_text("clip,caption\njump,a person jumps\n")
    with pytest.raises(FileFormatError, match="names clip 'jump', which is not in the source"):
        open_source(tmp_path / "src", captions=captions)
    captions.write_text("clip,caption\nwalk,a person walks\n")
    with pytest.raises(FileFormatError, match=r"could be 'a/walk\.bvh', 'b/walk\.bvh'"):
        open_source(tmp_path / "src", captions=captions)
    captions.write_text("clip;caption\na/walk;a person walks, then stops\n")
    assert open_source(tmp_path / "src", captions=captions).takes[0].read()[0].captions[0].text.endswith("stops")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "name of it,words\nx,y\n"),
        ("a.csv", ""),
        ("a.csv", "clip,caption\n"),
        ("a.json", "{"),
        ("a.json", "3"),
        ("a.json", "[1]"),
        ("a.jsonl", '{"clip": "x"}'),
        ("a.txt", "x"),
        ("a.parquet", "PAR1"),
        ("a.json", "[" * 100_000),
        ("a.csv", "clip,caption,start_s\nx,y,soon\n"),
        ("a.csv", "clip,caption,end_s\nx,y,-3\n"),
    ],
)
def test_damaged_caption_files_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileFormatError, match=name):
        read_captions(tmp_path / name)


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        ("dataset-1_walk-back_old_001", "walk back, old style"),
        ("dataset-2_raise-up-left-hand_normal_012", "raise up left hand"),
        ("dataset-1_byebye_happy_001", "wave goodbye with both hands, happy style"),
        ("salsa_10", "salsa"),
        ("02_05", None),
        ("012314", None),
        ("take03", None),
        ("WalkTurnLeft-final_v2", "walk turn left"),
        ("jumps1_subject3", "jumps"),
        ("HDM_bd_depositFloorR_001_120", "deposit floor"),
        ("走る", "走る"),
        ("", None),
    ],
)
def test_file_names_speak_only_in_words(stem: str, text: str | None) -> None:
    caption, labels = caption_of_name(stem)
    assert (caption.text if caption else None) == text
    assert caption is None or caption.kind == "template"
    assert ("class_id" in labels) == stem.startswith("dataset")


def test_a_reader_can_be_added(tmp_path: Path, some_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READERS, ".dance", READERS[".npy"])
    register_reader(".dance", lambda path, *, joint_map=None: [some_clip])
    (tmp_path / "a.dance").write_text("x")
    assert open_source(tmp_path).takes[0].read()[0].joints.shape == some_clip.joints.shape
    with pytest.raises(MotionError, match="must begin with a dot"):
        register_reader("dance", "x:y")


def test_joint_map_files(some_bvh: MakeBvh, tmp_path: Path) -> None:
    names = [f"b{joint}" for joint in range(22)]
    path = some_bvh("src/a.bvh", names=names)
    mapping = tmp_path / "map.json"
    mapping.write_text(json.dumps({smpl: name for smpl, name in zip(SMPL_22.names, names, strict=True)}))
    plain = read(some_bvh("plain.bvh"))[0]
    mapped = open_source(path.parent, joint_map=mapping).takes[0].read()[0]
    np.testing.assert_allclose(mapped.joints, plain.joints, atol=1e-6)
    for text, error in (
        ("{", FileFormatError),
        ("[]", FileFormatError),
        ('{"nose": "b0"}', SkeletonError),
        ('{"head": 3}', SkeletonError),
        ('{"head": {"b0": 0.2}}', SkeletonError),
    ):
        mapping.write_text(text)
        with pytest.raises(error, match="joint map"):
            read(path, joint_map=mapping)
    mapping.write_text('{"head": "nobody"}')
    with pytest.raises(SkeletonError, match="'nobody'"):
        read(path, joint_map=mapping)


def test_raw_files_are_the_clips_of_the_tables(raw_motion: Path, shared_data: Path) -> None:
    """The same takes, converted by others by hand-made mappings, lie where we put them (limbs 1 mm, spine 3 cm)."""
    tables = {}
    for name in ("bandai-1", "cmu-bvh"):
        for take in open_source(shared_data / "actions" / name):
            tables.setdefault(take.loose_names[0], take)
    limbs = [i for i, name in enumerate(SMPL_22.names) if "spine" not in name]
    seen: Counter[str] = Counter()
    for take in open_source(raw_motion):
        if take.path.suffix != ".bvh" or take.path.stem not in tables:
            continue
        mine, theirs = take.read()[0], tables[take.path.stem].read()[0]
        first = 1 if mine.fps == 30 else 0  # Bandai repeats the first frame, the tables left it out
        at = np.arange(len(theirs)) * mine.fps / 20 + first
        at = at[at <= len(mine) - 2]
        low, share = at.astype(int), (at % 1)[:, None, None]
        joints = mine.joints[low] * (1 - share) + mine.joints[low + 1] * share
        gap = (joints - joints[0, 0]) - (theirs.joints[: len(at)] - theirs.joints[0, 0])
        distance = np.linalg.norm(gap, axis=-1)
        assert distance[:, limbs].max() < 2e-3, take.take
        assert distance.max() < 0.03, take.take
        seen[theirs.source.dataset] += 1
    assert seen["bandai-1"] >= 50
    assert seen["cmu-bvh"] >= 12


def test_the_tables_read(shared_data: Path) -> None:
    source = open_source(shared_data / "actions", split="test")
    assert len(source) == 1150
    assert Counter(take.take.split("/")[0] for take in source)["bandai-2"] == 516
    assert source.takes[0].read()[0].source.licence
