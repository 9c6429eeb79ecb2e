"""Laws of the BVH reader: what may vary in a file without changing the motion, and what real files must hold."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motion import SMPL_22, FileFormatError, MotionError, read
from motion.files.bvh import bvh_positions, parse_bvh
from motion.files.conventions import snap_rate
from motion.files.text import read_bytes
from motion.retarget import leg_length

HOSTILE = Path(__file__).parent / "hostile"
MakeBvh = Callable[..., Path]
MakeText = Callable[..., str]


def test_every_channel_order_gives_the_same_positions(bvh_text: MakeText, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    turns = Rotation.from_euler("XYZ", random.uniform(-40, 40, (5 * 22, 3)), degrees=True)
    root = np.tile([0.0, 0.95, 0.0], (5, 1))
    found = []
    for order in map("".join, itertools.permutations("XYZ")):
        path = tmp_path / f"{order}.bvh"
        angles = turns.as_euler(order, degrees=True).reshape(5, 22, 3)
        path.write_text(bvh_text(angles, root, orders=order))
        found.append(read(path)[0].joints)
    mixed = [["XYZ", "ZXY", "YZX"][joint % 3] for joint in range(22)]
    angles = np.stack(
        [turns.as_euler(order, degrees=True).reshape(5, 22, 3)[:, joint] for joint, order in enumerate(mixed)], axis=1
    )
    path = tmp_path / "mixed.bvh"
    path.write_text(bvh_text(angles, root, orders=mixed))
    found.append(read(path)[0].joints)
    for joints in found[1:]:
        np.testing.assert_allclose(joints, found[0], atol=2e-6)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1000.0])
def test_the_unit_is_found_from_the_leg(some_bvh: MakeBvh, scale: float) -> None:
    base = read(some_bvh("base.bvh"))[0]
    other = read(some_bvh("other.bvh", scale=scale))[0]
    np.testing.assert_allclose(other.joints, base.joints, atol=2e-5)
    assert "guessed" in other.source.notes["unit"]


@pytest.mark.parametrize("leg", [0.35, 0.6, 0.82, 1.1, 1.5])
@pytest.mark.parametrize("scale", [1.0, 100.0, 1000.0])
def test_people_of_any_size_keep_it(bvh_text: MakeText, tmp_path: Path, leg: float, scale: float) -> None:
    size = leg / 0.81
    path = tmp_path / "a.bvh"
    path.write_text(bvh_text(np.zeros((6, 22, 3)), np.tile([0, 0.93 * size, 0], (6, 1)) / size, scale=scale * size))
    assert leg_length(read(path)[0].joints) == pytest.approx(leg, rel=1e-4)


def test_text_variants_change_nothing(some_bvh: MakeBvh) -> None:
    base = read(some_bvh("base.bvh"))[0]
    text = some_bvh("x.bvh").read_bytes()
    head, motion = text.split(b"MOTION")
    variants = {
        "crlf": text.replace(b"\n", b"\r\n"),
        "old_mac": text.replace(b"\n", b"\r"),
        "commas": (head + b"MOTION" + motion).replace(b".", b","),
        "comma_separated": head + b"MOTION" + re.sub(rb"(?<=[0-9]) (?=[-0-9])", b", ", motion),
        "bom": b"\xef\xbb\xbf" + text,
        "blank_lines": text + b"\n\n \n",
        "one_long_line": head
        + b"MOTION"
        + re.sub(rb"\n(?=[-\d])", b" ", motion).replace(b"0.0333333 ", b"0.0333333\n"),
        "namespace": re.sub(rb"(ROOT|JOINT) ", rb"\1 Actor01:", text),
        "upper": head.replace(b"Xposition", b"XPOSITION") + b"MOTION" + motion,
        "exponents": text.replace(b" 0.000000 ", b" 0.0e+00 "),
    }
    for name, data in variants.items():
        path = some_bvh("x.bvh").with_name(f"{name}.bvh")
        path.write_bytes(data)
        clip = read(path)[0]
        np.testing.assert_allclose(clip.joints, base.joints, atol=1e-6, err_msg=name)
        assert clip.fps == base.fps


def test_z_up_is_turned_and_left_stays_left(bvh_text: MakeText, tmp_path: Path) -> None:
    angles, root = np.zeros((6, 22, 3)), np.tile([0.0, 0.93, 0.0], (6, 1))
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # y up -> z up
    (tmp_path / "y.bvh").write_text(bvh_text(angles, root))
    (tmp_path / "z.bvh").write_text(bvh_text(angles, root @ turn.T, axes=turn))
    y, z = read(tmp_path / "y.bvh")[0], read(tmp_path / "z.bvh")[0]
    np.testing.assert_allclose(y.joints, z.joints, atol=1e-5)
    assert z.source.notes["up"].startswith("z")


def test_somebody_who_lies_down_is_not_stood_up(bvh_text: MakeText, tmp_path: Path) -> None:
    angles, root = np.zeros((6, 22, 3)), np.tile([0.0, 0.12, 0.0], (6, 1))
    for order, turn in (("XYZ", (90, 0, 0)), ("XYZ", (-90, 0, 0)), ("ZXY", (90, 0, 0))):
        angles[:, 0] = turn
        path = tmp_path / "lying.bvh"
        path.write_text(bvh_text(angles, root, orders=order))
        joints = read(path)[0].joints
        assert np.abs(joints[:, 15, 1] - joints[:, 0, 1]).max() < 0.3


def test_positions_of_any_joint_replace_its_offset(some_bvh: MakeBvh) -> None:
    path = some_bvh(frames=4)
    lines = path.read_text().split("\n")
    at = next(i for i, line in enumerate(lines) if line.strip() == "JOINT left_elbow")
    offset = lines[at + 2].split()[1:]
    lines[at + 2] = "OFFSET 0 0 0"
    column = 3 + 3 * [line.split()[1] for line in lines if line.split()[:1] in (["ROOT"], ["JOINT"])].index(
        "left_elbow"
    )
    lines[at + 3] = "CHANNELS 6 Xposition Yposition Zposition " + " ".join(lines[at + 3].split()[2:])
    start = next(i for i, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    for row in range(start, start + 4):
        words = lines[row].split()
        lines[row] = " ".join(words[:column] + offset + words[column:])
    other = path.with_name("six.bvh")
    other.write_text("\n".join(lines))
    np.testing.assert_allclose(read(other)[0].joints, read(path)[0].joints, atol=1e-6)


@pytest.mark.parametrize(
    ("printed", "rate"),
    [
        ("0.0333333", 30),
        ("0.033333", 30),
        ("0.0333", 30),
        ("0.033", 30),
        (".0083333", 120),
        ("0.008333", 120),
        ("0.00833333", 120),
        ("0.0083", 120),
        ("0.016667", 60),
        ("0.0167", 60),
        ("0.016683", 59.94),
        ("0.05", 20),
        ("0.04", 25),
        ("0.041667", 24),
        ("0.02", 50),
        ("0.01", 100),
        ("0.1", 10),
        ("0.08", 12.5),
        ("0.0333667", 29.97),
        ("0.0040", 250),
        ("0", None),
        ("-0.03", None),
        ("nan", None),
        ("1e9", None),
        ("x", None),
    ],
)
def test_frame_times_are_snapped(printed: str, rate: float | None) -> None:
    assert snap_rate(printed) == (None if rate is None else pytest.approx(rate, rel=1e-9))


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*.bvh")), ids=lambda path: path.stem)
def test_hostile_files_fail_with_one_line(path: Path) -> None:
    with pytest.raises(FileFormatError) as caught:
        read(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert ";" in message, "a remedy stands behind the semicolon"


def test_ten_million_declared_frames_cost_no_memory() -> None:
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(FileFormatError, match="declares 10000000 frames but holds 2"):
        read(HOSTILE / "ten_million_frames.bvh")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_deep_trees_and_many_joints_are_refused(tmp_path: Path) -> None:
    for text in (
        "HIERARCHY\n" + "".join(f"JOINT j{i} {{ OFFSET 0 1 0 " for i in range(100_000)),
        "HIERARCHY ROOT a { OFFSET 0 0 0 " + "".join(f"JOINT j{i} {{ OFFSET 0 1 0 }} " for i in range(10_000)) + "}",
    ):
        path = tmp_path / "deep.bvh"
        path.write_text(text + "\nMOTION\nFrames: 1\nFrame Time: 0.03\n0\n")
        with pytest.raises(FileFormatError, match="not a human rig"):
            read(path)


def test_a_dog_is_no_person(tmp_path: Path) -> None:
    path = tmp_path / "dog.bvh"
    path.write_text((HOSTILE / "four_joints.txt").read_text())
    with pytest.raises(MotionError, match="joint map"):
        read(path)


def _naive_positions(path: Path) -> tuple[list[str], np.ndarray]:
    """Forward kinematics as one would write it first: a frame, a joint, a channel at a time (SciPy's rotations)."""
    text = path.read_text()
    words = re.findall(r"[{}]|[^\s{}]+", text[: text.index("MOTION")])
    names, parents, channels, stack, offsets = [], [], [], [], []
    i = 0
    while i < len(words):
        if words[i] in ("ROOT", "JOINT", "End"):
            parents.append(stack[-1] if stack else -1)
            stack.append(len(names))
            names.append(words[i + 1] if words[i] != "End" else names[stack[-2]] + "_end")
            channels.append([])
        elif words[i] == "OFFSET":
            offsets.append(np.array([float(word) for word in words[i + 1 : i + 4]]))
        elif words[i] == "CHANNELS":
            channels[stack[-1]] = words[i + 2 : i + 2 + int(words[i + 1])]
        elif words[i] == "}":
            stack.pop()
        i += 1
    rows = [
        [float(word) for word in line.split()]
        for line in text[text.index("Frame Time") :].split("\n")[1:]
        if line.strip()
    ]
    out = np.zeros((len(rows), len(names), 3))
    for frame, row in enumerate(rows):
        turned, at = [], 0
        for joint, parent in enumerate(parents):
            offset, local = offsets[joint].copy(), Rotation.identity()
            for channel in channels[joint]:
                if channel.endswith("position"):
                    offset["XYZ".index(channel[0])] = row[at]
                else:
                    local = local * Rotation.from_euler(channel[0], row[at], degrees=True)
                at += 1
            out[frame, joint] = offset if parent < 0 else out[frame, parent] + turned[parent].apply(offset)
            turned.append(local if parent < 0 else turned[parent] * local)
    return names, out


def test_real_files_agree_with_naive_kinematics(raw_motion: Path) -> None:
    path = raw_motion / "bandai-1" / "dataset-1_dash_normal_001.bvh"
    file = parse_bvh(read_bytes(path, "BVH"), path)
    names, expected = _naive_positions(path)
    assert list(file.rig.names) == names
    np.testing.assert_allclose(bvh_positions(file)[0], expected, atol=1e-3)  # centimetres


def test_real_files_agree_with_pybvh(raw_motion: Path) -> None:
    pybvh = pytest.importorskip("pybvh")
    for path in sorted((raw_motion / "cmu-sample").glob("bvh*/*.bvh"))[::4]:
        file = parse_bvh(read_bytes(path, "BVH"), path)
        expected = pybvh.read_bvh_file(str(path)).node_positions()
        mine = bvh_positions(file)[0]
        assert mine.shape == expected.shape
        np.testing.assert_allclose(mine, expected, atol=5e-4)


def test_every_real_file_reads_as_a_person(raw_motion: Path) -> None:
    paths = sorted(raw_motion.rglob("*.bvh"))
    assert len(paths) == 58 + 14 + 1
    for path in paths:
        (clip,) = read(path)
        assert clip.fps == (120 if "cmu" in str(path) else 30)
        assert ("dropped" in clip.source.notes) == ("cmu" in str(path)), path.name
        assert 0.7 < leg_length(clip.joints) < 0.95
        assert -0.1 < clip.joints[..., 1].min() < 0.1
        for child, parent in enumerate(SMPL_22.parents):
            if parent > 0 and clip.skeleton.names[child] in clip.skeleton.names[1:]:
                length = np.linalg.norm(clip.joints[:, child] - clip.joints[:, parent], axis=-1)
                rigid = (
                    "spine" not in SMPL_22.names[child] + SMPL_22.names[parent] and "collar" not in SMPL_22.names[child]
                )
                if rigid and "collar" not in SMPL_22.names[parent]:
                    assert length.std() < 2e-3, (path.name, SMPL_22.names[child])
        assert "sides" not in clip.source.notes


def test_walking_forward_moves_along_the_facing_and_left_is_left(raw_motion: Path) -> None:
    for name in ("walk_normal_001", "run_normal_001", "dash_normal_001"):
        joints = read(raw_motion / "bandai-1" / f"dataset-1_{name}.bvh")[0].joints
        across = (joints[:, 1] - joints[:, 2]).mean(axis=0)
        forward = np.cross(across, [0, 1, 0])
        travel = joints[-1, 0] - joints[0, 0]
        assert forward @ travel / np.linalg.norm(forward) / np.linalg.norm(travel) > 0.9
        turn = np.arctan2(forward[0], forward[2])
        to_front = Rotation.from_euler("Y", -turn).as_matrix()
        assert ((joints[:, 10] - joints[:, 11]) @ to_front.T)[:, 0].mean() > 0
