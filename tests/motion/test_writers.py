"""Files out: what is written comes back, opens elsewhere, and moves."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from motion import Clip, FileFormatError, open_source, read, write
from motion.draw import frames, strip
from motion.geometry import turn
from motion.ik import joint_positions, pose_skeleton
from motion.synth import synthesise

CLIPS = synthesise(30, seed=3)


def worst(a: Clip, b: Clip) -> float:
    return float(np.linalg.norm(a.joints - b.joints, axis=-1).max())


@pytest.mark.parametrize("heading", [0, 45, 90, 135, 180, 225, 270, 315])
@pytest.mark.parametrize("size", [0.2, 0.6, 1.0, 1.5, 2.5])
def test_bvh_comes_back_within_a_millimetre(tmp_path: Path, heading: int, size: float) -> None:
    clip = CLIPS[(heading // 45 + int(10 * size)) % len(CLIPS)]
    turned = replace(clip, joints=(turn(clip.joints, np.radians(heading)) * size).astype(np.float32))
    write(turned, tmp_path / "out.bvh")
    back = read(tmp_path / "out.bvh")[0]
    assert back.fps == pytest.approx(clip.fps)
    assert worst(back, turned) < 1e-3


def test_bvh_of_somebody_lying_turning_and_of_real_bones(tmp_path: Path, shared_data: Path) -> None:
    lying = np.stack([CLIPS[0].joints[..., 0], CLIPS[0].joints[..., 2], 1.7 - CLIPS[0].joints[..., 1]], axis=-1)
    spin = CLIPS[1].joints - CLIPS[1].joints[:, :1]
    spin = turn(spin, np.linspace(0, 4 * np.pi, len(spin))[:, None]) + CLIPS[1].joints[:, :1]
    real = [clip for take in list(open_source(shared_data / "actions"))[::400] for clip in take.read()]
    people = [
        replace(CLIPS[0], joints=(lying - lying.min(axis=(0, 1))).astype(np.float32)),
        replace(CLIPS[1], joints=spin.astype(np.float32)),
        *real,
        *(replace(CLIPS[2], joints=CLIPS[2].joints[..., list(axes)] * (-1, 1, 1)) for axes in ((1, 0, 2), (0, 2, 1))),
    ]
    for clip in people:
        write(clip, tmp_path / "out.bvh")
        assert worst(read(tmp_path / "out.bvh")[0], clip) < 1e-3


def test_rotations_bring_positions_back() -> None:
    for clip in CLIPS[:8]:
        posed = pose_skeleton(clip)
        assert np.abs(joint_positions(posed) - clip.joints).max() < 1e-3
        assert posed.moving == ()  # synthetic bodies are rigid
        np.testing.assert_allclose(np.linalg.det(posed.rotations), 1, atol=1e-6)


def test_bvh_angles_do_not_jump(tmp_path: Path) -> None:
    spin = CLIPS[1].joints - CLIPS[1].joints[:, :1]
    spin = turn(spin, np.linspace(0, 2 * np.pi, len(spin))[:, None]) + np.array((0, 1, 0))
    write(replace(CLIPS[1], joints=spin.astype(np.float32)), tmp_path / "out.bvh")
    rows = (tmp_path / "out.bvh").read_text().split("Frame Time:")[1].splitlines()[1:]
    root = np.array([[float(v) for v in row.split()[3:6]] for row in rows])
    assert np.abs(np.diff(root, axis=0)).max() < 60


def test_glb_opens_and_its_animation_is_the_clip(tmp_path: Path) -> None:
    import pygltflib

    clip = CLIPS[2]
    write(clip, tmp_path / "out.glb")
    gltf = pygltflib.GLTF2().load(str(tmp_path / "out.glb"))
    blob = gltf.binary_blob()

    def values(accessor: int) -> np.ndarray:
        entry = gltf.accessors[accessor]
        view = gltf.bufferViews[entry.bufferView]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry.type]
        return np.frombuffer(blob, "<f4", entry.count * width, view.byteOffset).reshape(entry.count, width)

    animation = gltf.animations[0]
    times = values(animation.samplers[0].input)[:, 0]
    assert times[-1] == pytest.approx((len(clip) - 1) / clip.fps)
    from scipy.spatial.transform import Rotation

    world: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    tracks = {(c.target.node, c.target.path): values(animation.samplers[c.sampler].output) for c in animation.channels}

    def walk(node: int, origin: np.ndarray, matrix: np.ndarray) -> None:
        step = tracks.get((node, "translation"), np.tile(gltf.nodes[node].translation, (len(clip), 1)))
        origin = origin + np.einsum("tij,tj->ti", matrix, step)
        matrix = matrix @ Rotation.from_quat(tracks[node, "rotation"]).as_matrix()
        world[node] = origin, matrix
        for child in gltf.nodes[node].children or []:
            if child < len(clip.skeleton):
                walk(child, origin, matrix)

    walk(0, np.zeros((len(clip), 3)), np.tile(np.eye(3), (len(clip), 1, 1)))
    joints = np.stack([world[j][0] for j in range(len(clip.skeleton))], axis=1)
    assert np.abs(joints - clip.joints).max() < 1e-3
    assert [gltf.nodes[j].name for j in range(len(clip.skeleton))] == list(clip.skeleton.names)
    assert sum(node.mesh is not None for node in gltf.nodes) == len(clip.skeleton)


def test_pictures_show_a_figure_that_moves(tmp_path: Path) -> None:
    from PIL import Image

    walking = next(c for c in CLIPS if "walk" in c.labels["class_id"])
    pictures = list(frames(walking, size=96, fps=5))
    assert all(p.shape == (96, 96, 3) and (p < 200).any() for p in pictures)
    assert any((a != b).any() for a, b in pairwise(pictures))
    strip(walking, tmp_path / "strip.png", poses=6)
    image = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    width = image.shape[1] // 6
    for column in range(6):
        piece = image[:, column * width : (column + 1) * width]
        assert (piece[..., 0] > piece[..., 2] + 60).any()  # a warm limb
        assert (piece[..., 2] > piece[..., 0] + 60).any()  # a cool limb


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".npy", ".npz"])
def test_other_formats_are_written_whole(tmp_path: Path, suffix: str) -> None:
    clip = CLIPS[4].cut(0.0, 1.0)
    write(clip, tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").stat().st_size > 500
    assert [p.name for p in tmp_path.iterdir()] == [f"out{suffix}"]
    if suffix == ".mp4":
        import av

        with av.open(str(tmp_path / "out.mp4")) as video:
            assert sum(1 for _ in video.decode(video=0)) == len(clip)
    if suffix == ".npz":
        assert worst(read(tmp_path / "out.npz")[0], clip) < 1e-6


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"\.glb"):
        write(CLIPS[0], tmp_path / "out.fbx")
