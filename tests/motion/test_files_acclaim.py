"""ASF/AMC against BVH of the same takes, and what a damaged pair says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motion import SMPL_22, FileFormatError, MotionError, read
from motion.files.asf_amc import find_asf, parse_asf
from motion.retarget import leg_length

ASF = """:version 1.10
:units
  length 0.45
  angle {unit}
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
{bones}:hierarchy
  begin
    root lhipjoint rhipjoint lowerback
{limbs}    lowerback upperneck lclavicle rclavicle
    upperneck head
  end
"""


def skeleton(unit: str = "deg") -> str:
    """A small skeleton with CMU's names, arms straight down."""
    spec = {"lowerback": (0, 1, 0, 8), "upperneck": (0, 1, 0, 1.6), "head": (0, 1, 0, 1.6)}
    limbs = ""
    for side, x in (("l", 1), ("r", -1)):
        spec |= {
            f"{side}hipjoint": (x, -0.7, 0, 2),
            f"{side}femur": (0, -1, 0, 7),
            f"{side}tibia": (0, -1, 0, 7),
            f"{side}foot": (0, -0.3, 1, 2),
            f"{side}clavicle": (x, 0, 0, 3),
            f"{side}humerus": (0, -1, 0, 5),
            f"{side}radius": (0, -1, 0, 4),
            f"{side}wrist": (0, -1, 0, 2),
        }
        limbs += f"    {side}hipjoint {side}femur\n    {side}femur {side}tibia\n    {side}tibia {side}foot\n"
        limbs += f"    {side}clavicle {side}humerus\n    {side}humerus {side}radius\n    {side}radius {side}wrist\n"
    bones = ""
    for number, (name, (x, y, z, length)) in enumerate(spec.items(), start=1):
        turn = 20 if unit == "deg" else np.radians(20)
        axis = f"{turn} 0 {turn} XYZ" if name in ("lfemur", "rhumerus") else "0 0 0 XYZ"
        dof = "    dof rx ry rz\n" if name in ("lfemur", "rhumerus") else ""
        bones += f"  begin\n    id {number}\n    name {name}\n    direction {x} {y} {z}\n"
        bones += f"    length {length}\n    axis {axis}\n"
        bones += f"{dof}  end\n"
    return ASF.format(unit=unit, bones=bones, limbs=limbs)


def take(*, degrees: bool = True, frames: int = 5) -> str:
    """Frames that swing a thigh and an upper arm."""
    lines = ["#!OML:ASF", ":FULLY-SPECIFIED", ":DEGREES" if degrees else ":RADIANS"]
    for frame in range(frames):
        turn = np.array([5.0, -3.0, 8.0]) * frame
        values = " ".join(f"{value:.8f}" for value in (turn if degrees else np.radians(turn)))
        lines += [str(frame + 1), "root 0 17 0 0 0 0", f"lfemur {values}", f"rhumerus {values}"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["02_05", "05_13", "49_06"])
def test_both_formats_of_a_take_agree(raw_motion: Path, name: str) -> None:
    (bvh,) = read(raw_motion / "cmu-sample" / "bvh" / f"{name}.bvh")
    (amc,) = read(raw_motion / "cmu-sample" / "asfamc" / f"{name}.amc")
    assert len(bvh) == len(amc), "the BVH has one frame more, a T-pose, which is dropped"
    lower = [
        SMPL_22.index(joint) for joint in SMPL_22.names if joint.endswith(("pelvis", "hip", "knee", "ankle", "foot"))
    ]
    np.testing.assert_allclose(bvh.joints[:, lower], amc.joints[:, lower], atol=1e-3)
    # this BVH conversion lost the thorax bone (11 cm): arms and head agree once the necks lie on one another
    upper = [
        SMPL_22.index(joint)
        for joint in SMPL_22.names
        if joint.endswith(("neck", "head", "shoulder", "elbow", "wrist"))
    ]
    neck = SMPL_22.index("neck")
    np.testing.assert_allclose(
        bvh.joints[:, upper] - bvh.joints[:, [neck]], amc.joints[:, upper] - amc.joints[:, [neck]], atol=1e-3
    )


def test_every_real_take_reads(raw_motion: Path) -> None:
    paths = sorted((raw_motion / "cmu-sample" / "asfamc").glob("*.amc"))
    assert len(paths) == 5
    for path in paths:
        (clip,) = read(path)
        assert clip.fps == 120
        assert 0.7 < leg_length(clip.joints) < 0.95
        assert -0.1 < clip.joints[..., 1].min() < 0.1


def test_degrees_and_radians_agree(tmp_path: Path) -> None:
    found = []
    for unit, degrees in (("deg", True), ("rad", False)):
        folder = tmp_path / unit
        folder.mkdir()
        (folder / "01.asf").write_text(skeleton(unit))
        (folder / "01_01.amc").write_text(take(degrees=degrees))
        found.append(read(folder / "01_01.amc")[0].joints)
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.ptp(found[0][:, SMPL_22.index("left_knee")], axis=0).max() > 0.05


def test_bones_in_any_order_give_the_same_motion(tmp_path: Path) -> None:
    (tmp_path / "01.asf").write_text(skeleton())
    (tmp_path / "01_01.amc").write_text(take())
    lines = take().split("\n")
    at = lines.index("2") + 2
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    (tmp_path / "01_02.amc").write_text("\r\n".join(lines))
    np.testing.assert_array_equal(read(tmp_path / "01_01.amc")[0].joints, read(tmp_path / "01_02.amc")[0].joints)


def test_the_skeleton_is_found_by_name(tmp_path: Path) -> None:
    for name in ("02.asf", "05.asf", "HDM_bd.asf"):
        (tmp_path / name).write_text("x")
    for name, expected in (
        ("02_05", "02.asf"),
        ("05_1", "05.asf"),
        ("HDM_bd_walk_001", "HDM_bd.asf"),
        ("02", "02.asf"),
    ):
        assert find_asf(tmp_path / f"{name}.amc").name == expected
    with pytest.raises(FileFormatError, match="no ASF skeleton"):
        find_asf(tmp_path / "020_01.amc")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":hierarchy", ":unknown", "no :hierarchy"),
        ("    upperneck head", "    upperneck head\n    head upperneck", "two parents"),
        ("    lowerback upperneck", "    upperneck lowerback\n    lowerback upperneck", "two parents"),
        ("lfemur ltibia", "lfemur tail", "'tail'"),
        ("length 7", "length seven", "should hold 1 numbers"),
        ("XYZ", "XYY", "no order of XYZ"),
        ("dof rx ry rz", "dof rx ry rq", "'rq'"),
    ],
)
def test_damaged_skeletons_say_what_is_wrong(old: str, new: str, message: str) -> None:
    text = skeleton()
    assert old in text
    with pytest.raises(FileFormatError, match=message):
        parse_asf(text.replace(old, new, 1), Path("x.asf"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rhumerus", "tail"),
        ("lfemur 0", "lfemur 0 0"),
        ("root 0 17 0 0 0 0", "root 0 17 0 0 0 nan"),
        ("root 0", "root x"),
    ],
)
def test_damaged_takes_are_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "01.asf").write_text(skeleton())
    (tmp_path / "01_01.amc").write_text(take().replace(old, new, 1))
    with pytest.raises(MotionError, match=r"01_01\.amc"):
        read(tmp_path / "01_01.amc")


def test_a_detached_cycle_is_found() -> None:
    text = skeleton().replace("    upperneck head\n", "").replace(" upperneck lclavicle", " lclavicle")
    text = text.replace("  end\n", "  end\n", 1)
    broken = text[: text.rindex("  end")] + "    upperneck head\n    head upperneck\n  end\n"
    with pytest.raises(FileFormatError, match="cycle"):
        parse_asf(broken, Path("x.asf"))
