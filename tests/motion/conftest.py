"""Fixtures of the motion tests: real files unpacked once, and a small BVH written from angles."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from motion import SMPL_22, Clip

REST = {  # metres from the parent, a T-pose; the right side mirrors the left
    "spine1": (0, 0.11, 0),
    "spine2": (0, 0.13, 0),
    "spine3": (0, 0.06, 0),
    "neck": (0, 0.21, 0),
    "head": (0, 0.1, 0.03),
    "left_hip": (0.09, -0.06, 0),
    "left_knee": (0.0, -0.39, 0),
    "left_ankle": (0, -0.42, 0),
    "left_foot": (0, -0.06, 0.13),
    "left_collar": (0.07, 0.11, 0),
    "left_shoulder": (0.11, 0.04, 0),
    "left_elbow": (0.26, 0, 0),
    "left_wrist": (0.25, 0, 0),
}


def rest_offsets() -> np.ndarray:
    """[22, 3] metres."""
    offsets = np.zeros((22, 3))
    for name, offset in REST.items():
        offsets[SMPL_22.index(name)] = offset
    for left, right in SMPL_22.mirror:
        offsets[right] = offsets[left] * (-1, 1, 1)
    return offsets


def make_bvh_text(
    angles: np.ndarray,
    root: np.ndarray,
    *,
    orders: Sequence[str] | str = "ZXY",
    scale: float = 100.0,
    names: Sequence[str] = SMPL_22.names,
    frame_time: str = "0.0333333",
    axes: np.ndarray | None = None,
    newline: str = "\n",
) -> str:
    """A BVH of the SMPL-22 tree from Euler ``angles`` [T, 22, 3] (degrees, as listed) and ``root`` [T, 3] metres."""
    orders = [orders] * 22 if isinstance(orders, str) else orders
    offsets = rest_offsets() @ (np.eye(3) if axes is None else axes).T * scale
    lines = ["HIERARCHY"]
    visited: list[int] = []

    def joint(at: int, depth: int) -> None:
        visited.append(at)
        pad = "\t" * depth
        children = [child for child, parent in enumerate(SMPL_22.parents) if parent == at]
        lines.extend([f"{pad}{'JOINT' if depth else 'ROOT'} {names[at]}", pad + "{"])
        lines.append(f"{pad}\tOFFSET " + " ".join(f"{value:.6f}" for value in offsets[at]))
        turns = " ".join(f"{axis}rotation" for axis in orders[at])
        lines.append(
            f"{pad}\tCHANNELS 6 Xposition Yposition Zposition {turns}" if not depth else f"{pad}\tCHANNELS 3 {turns}"
        )
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET 0 0 0", pad + "\t}"])
        lines.append(pad + "}")

    joint(0, 0)
    lines.extend(["MOTION", f"Frames: {len(angles)}", f"Frame Time: {frame_time}"])
    for frame, place in zip(angles, root * scale, strict=True):
        lines.append(" ".join(f"{value:.6f}" for value in [*place, *frame[visited].reshape(-1)]))
    return newline.join(lines) + newline


@pytest.fixture
def bvh_text() -> Callable[..., str]:
    """The function :func:`make_bvh_text`."""
    return make_bvh_text


@pytest.fixture
def some_bvh(tmp_path: Path) -> Callable[..., Path]:
    """Writes a BVH of somebody who stands and moves a little; keyword arguments go to :func:`make_bvh_text`."""

    def write(name: str = "wave_left.bvh", frames: int = 12, seed: int = 0, **options: object) -> Path:
        random = np.random.default_rng(seed)
        angles = np.cumsum(random.normal(0, 2.0, (frames, 22, 3)), axis=0)
        root = np.zeros((frames, 3))
        root[:, 1] = 0.93
        root[:, 2] = np.arange(frames) * 0.02
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_bvh_text(angles, root, **options).encode())  # type: ignore[arg-type]
        return path

    return write


@pytest.fixture
def some_clip(some_bvh: Callable[..., Path]) -> Clip:
    """A clip of 12 frames of SMPL-22."""
    from motion import read

    return read(some_bvh())[0]


@pytest.fixture(scope="session")
def raw_motion(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original BVH, ASF and AMC files, unpacked."""
    folder = tmp_path_factory.mktemp("raw")
    for archive in sorted((shared_data / "raw").glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return folder
