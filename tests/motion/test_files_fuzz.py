"""Fuzz: whatever bytes a motion file holds, a reader gives clips or a MotionError of one line, and soon."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motion import Clip, MotionError, read
from motion.files import read_captions
from motion.files.registry import READERS

HOSTILE = Path(__file__).parent / "hostile"
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


@cache
def seed(kind: str) -> bytes:
    """A small valid file of a kind."""
    folder = Path(tempfile.mkdtemp())
    path = folder / f"seed.{kind}"
    joints = np.random.default_rng(0).normal(size=(4, 22, 3)).astype(np.float32)
    if kind == "npy":
        np.save(path, joints)
    elif kind == "npz":
        np.savez(path, joints=joints, fps=20)
    elif kind == "amass.npz":
        np.savez(path, poses=np.zeros((4, 156)), trans=np.zeros((4, 3)), mocap_framerate=60.0, gender=np.array(b"male"))
    elif kind == "bvh":
        return (HOSTILE / "negative_frames.bvh").read_bytes().replace(b"Frames: -3", b"Frames: 3")
    return path.read_bytes()


def survive(data: bytes, suffix: str) -> None:
    """Read ``data`` as a file: clips that are whole, or a MotionError of one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzz{suffix}"
        path.write_bytes(data)
        if suffix == ".amc":
            (Path(folder) / "fuzz.asf").write_bytes(data)
        try:
            clips = read(path)
        except MotionError as error:
            assert "\n" not in str(error)
            assert "fuzz" in str(error) or "joint map" in str(error)
        else:
            assert all(isinstance(clip, Clip) and np.isfinite(clip.joints).all() for clip in clips)


@pytest.mark.parametrize("suffix", sorted(suffix for suffix in READERS if suffix != ".dance"))
@QUICK
@given(data=st.binary(max_size=2000))
def test_random_bytes(suffix: str, data: bytes) -> None:
    survive(data, suffix)


@st.composite
def mutations(draw: st.DrawFn, kind: str) -> bytes:
    """A valid file with a few bytes changed, a piece cut out or doubled."""
    data = bytearray(seed(kind))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 40))
        action = draw(st.sampled_from(["set", "cut", "double", "insert"]))
        if action == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif action == "cut":
            del data[at : at + length]
        elif action == "double":
            data[at:at] = data[at : at + length]
        else:
            data[at:at] = draw(
                st.sampled_from([b"nan", b"-1", b"1e308", b"{", b"}", b"\0", b"99999999999999999999", b" ", b"\n"])
            )
    return bytes(data)


@pytest.mark.parametrize("kind", ["bvh", "npy", "npz", "amass.npz"])
@QUICK
@given(data=st.data())
def test_mutated_files(kind: str, data: st.DataObject) -> None:
    survive(data.draw(mutations(kind)), "." + kind.split(".")[-1])


@QUICK
@given(
    words=st.lists(
        st.sampled_from(
            "HIERARCHY ROOT JOINT End Site { } OFFSET CHANNELS 3 6 0 1.5 -2 nan Hips Xposition Zrotation Yrotation "
            "MOTION Frames: Frame Time: 0.033 2".split()
        ),
        max_size=80,
    )
)
def test_grammar_of_bvh(words: list[str]) -> None:
    survive(("HIERARCHY " + " ".join(words)).replace(" MOTION ", "\nMOTION\n").encode(), ".bvh")


@QUICK
@given(
    lines=st.lists(
        st.sampled_from(
            [
                ":units",
                "length 0.45",
                "angle deg",
                ":root",
                "order TX RX",
                "axis XYZ",
                "position 0 0 0",
                ":bonedata",
                "begin",
                "end",
                "name a",
                "name root",
                "direction 0 1 0",
                "length 2",
                "axis 0 0 0 XYZ",
                "dof rx",
                ":hierarchy",
                "root a",
                "a root",
                "a a",
                "1",
                "2",
                "root 0 0",
                "a 5",
                ":DEGREES",
            ]
        ),
        max_size=60,
    )
)
def test_grammar_of_asf_and_amc(lines: list[str]) -> None:
    survive("\n".join(lines).encode(), ".amc")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
@QUICK
@given(data=st.binary(max_size=300) | st.text(alphabet='clip,caption\n"{}[]:#;1.-', max_size=200).map(str.encode))
def test_caption_files(suffix: str, data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fuzz{suffix}"
        path.write_bytes(data)
        try:
            assert read_captions(path)
        except MotionError as error:
            assert "fuzz" in str(error)
