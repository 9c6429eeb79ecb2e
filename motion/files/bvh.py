"""BVH of any rig: hierarchy, channels, forward kinematics, SMPL-22.

- Channels are read as the file lists them: any order, three or six (or none) at any joint. Rotations are intrinsic in
  the listed order; position channels replace the OFFSET, at the root and below.
- End sites are kept as places: where a rig has no toe joint, the foot's end site is the toe.
- The numbers are one block: parsed once, counted against the channels. The declared number of frames is never trusted
  with memory; too few rows are an error, one missing or a surplus is taken and said.
- A T-pose put in front (the CMU conversion does it) is dropped and said.
- The rig that Remora writes is in centimetres with y up, as is its like from animation programs: there nothing is guessed
  from the motion, so that somebody lying, or very small, comes back as written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.errors import FileFormatError
from motion.files.build import clip_of_rig, standing_axis
from motion.files.conventions import snap_rate, starts_with_calibration
from motion.files.rig import (
    FRAMES_AT_ONCE,
    MAX_DEPTH,
    MAX_JOINTS,
    Rig,
    ancestors_of,
    euler_rotations,
    forward_kinematics,
)
from motion.files.text import decode_names, parse_numbers, read_bytes
from motion.joint_names import side_and_word
from motion.retarget import JointMap, JointPlan, apply_plan, is_humanik_rig, leg_length, plan_joints

AXES = {"X": 0, "Y": 1, "Z": 2}
LEGS_IN_CENTIMETRES = (10.0, 250.0)  # outside of these a rig of centimetres was scaled to another unit


@dataclass(frozen=True)
class BvhFile:
    """A parsed BVH: the rig, for each joint the columns of its channels, the rows [T, C], and the frame rate.

    ``positions[k]`` and ``rotations[k]`` list (axis, column) of joint k's channels in file order.
    """

    rig: Rig
    positions: tuple[tuple[tuple[int, int], ...], ...]
    rotations: tuple[tuple[tuple[int, int], ...], ...]
    rows: NDArray[np.float64]
    fps: float
    notes: dict[str, str]


def read_bvh(path: Path, *, joint_map: JointMap | None = None) -> list[Clip]:
    """One clip from a BVH file, SMPL-22, metres, y up, at the file's own rate.

    Raises:
        FileFormatError: the file is damaged, hostile or no BVH.
        SkeletonError: its joints cannot be matched; a joint map helps.
    """
    file = parse_bvh(read_bytes(path, "BVH"), path)
    rest = _rest(file)
    plan = plan_joints(file.rig.names, file.rig.parents, rest, joint_map=joint_map, poses=partial(_some_poses, file))
    positions, kept = bvh_positions(file, plan)
    notes = dict(file.notes)
    narrow = JointPlan(plan.weights[:, kept], plan.guessed_toes, plan.notes)
    first = apply_plan(JointPlan(narrow.weights), positions[:60])
    if starts_with_calibration(first, file.fps):
        positions = positions[1:]
        notes["dropped"] = "frame 0: a calibration pose in front of the motion"
    words = {side_and_word(name)[1] for name in file.rig.names}
    up, known = standing_axis(rest, plan), joint_map is None and is_humanik_rig(file.rig.names)
    low, high = LEGS_IN_CENTIMETRES
    unit = 0.01 if known and low < leg_length((plan.weights @ rest)[None]) < high else None
    if unit is not None:
        notes["unit"] = "cm (this rig's)"
    return [
        clip_of_rig(
            positions, narrow, path=path, fps=file.fps, up=up, unit=unit, up_is_known=known and up == 1,
            cmu_names="hipjoint" in words, notes=notes,
        )
    ]  # fmt: skip


def _some_poses(file: BvhFile, count: int = 15) -> NDArray[np.float64]:
    """Poses [N, K, 3] spread over the take, the first (it may be a rest pose) left out."""
    rows = file.rows[1:] if len(file.rows) > 1 else file.rows
    some = replace(file, rows=rows[:: max(len(rows) // count, 1)])
    return bvh_positions(some)[0].astype(np.float64)


def _rest(file: BvhFile) -> NDArray[np.float64]:
    """Rest positions [K, 3]; position channels of frame 0 stand in for the offsets they replace, but for the root's."""
    offsets = file.rig.offsets.copy()
    for joint, channels in enumerate(file.positions):
        if file.rig.parents[joint] >= 0:
            for axis, column in channels:
                offsets[joint, axis] = file.rows[0, column]
    return Rig(file.rig.names, file.rig.parents, offsets, file.rig.ends).rest()


def bvh_positions(file: BvhFile, plan: JointPlan | None = None) -> tuple[NDArray[np.float32], list[int]]:
    """Global positions [T, K', 3] in file units of the joints a plan uses (all without one), and which those are."""
    wanted = list(range(len(file.rig))) if plan is None else [int(joint) for joint in plan.used]
    kept = ancestors_of(file.rig.parents, wanted)
    place = {joint: at for at, joint in enumerate(kept)}
    parents = [place.get(file.rig.parents[joint], -1) for joint in kept]
    out = np.empty((len(file.rows), len(wanted), 3), dtype=np.float32)
    chosen = [place[joint] for joint in wanted]
    for begin in range(0, len(file.rows), FRAMES_AT_ONCE):
        rows = file.rows[begin : begin + FRAMES_AT_ONCE]
        positions = forward_kinematics(parents, _offsets(file, kept, rows), _rotations(file, kept, rows))
        out[begin : begin + len(rows)] = positions[chosen].transpose(1, 0, 2)
    return out, wanted


def _offsets(file: BvhFile, kept: list[int], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = file.rig.offsets[kept][:, None, :]
    if any(file.positions[joint] for joint in kept):
        offsets = np.repeat(offsets, len(rows), axis=1)
        for at, joint in enumerate(kept):
            for axis, column in file.positions[joint]:
                offsets[at, :, axis] = rows[:, column]
    return offsets


def _rotations(file: BvhFile, kept: list[int], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Local rotations [K', T, 3, 3]: joints with the same order of channels in one go."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for at, joint in enumerate(kept):
        groups.setdefault(tuple(axis for axis, _ in file.rotations[joint]), []).append(at)
    out = np.empty((len(kept), len(rows), 3, 3))
    for order, members in groups.items():
        columns = np.array([[c for _, c in file.rotations[kept[at]]] for at in members], dtype=np.intp)
        angles = np.radians(rows.T[columns]) if order else np.empty((len(members), 0, len(rows)))
        out[members] = euler_rotations(order, np.moveaxis(angles, 1, -1))
    return out


def parse_bvh(data: bytes, path: Path) -> BvhFile:
    """The parts of a BVH from its bytes; ``path`` is for messages.

    Raises:
        FileFormatError: anything that is not a whole BVH.
    """
    match = re.search(rb"^[ \t]*MOTION[ \t]*$", data, re.MULTILINE | re.IGNORECASE)
    head = data[: match.start()] if match else data
    if not re.match(rb"\s*HIERARCHY\b", head, re.IGNORECASE):
        raise FileFormatError(f"{path}: does not begin with HIERARCHY; this is no BVH file")
    if match is None:
        raise FileFormatError(f"{path}: has no MOTION section, the file ends in its hierarchy; export the take again")
    rig, positions, rotations, n_channels = _parse_hierarchy(decode_names(head), path)
    declared, time_text, block = _parse_motion_head(data[match.end() :], path)
    fps = snap_rate(time_text.replace(",", "."))
    if fps is None:
        raise FileFormatError(f"{path}: Frame Time {time_text!r} is no frame time; write seconds, as 0.0333333")
    rows, notes = _rows(parse_numbers(block, path, "motion rows"), declared, n_channels, path)
    notes["frame_time"] = f"{time_text} s read as {fps:g} fps"
    return BvhFile(rig, positions, rotations, rows, fps, notes)


def _parse_motion_head(data: bytes, path: Path) -> tuple[int, str, bytes]:
    """Declared number of frames, frame time as printed, and the block of numbers."""
    head = re.match(
        rb"\s*Frames\s*:\s*([+-]?\d{1,18}(?:\.0*)?)\s+Frame\s*Time\s*:\s*(\S{1,40})[^\n]*\n?",
        data[:1000],
        re.IGNORECASE,
    )
    if head is None:
        raise FileFormatError(f"{path}: no 'Frames:' and 'Frame Time:' after MOTION; the file is cut off or damaged")
    return int(float(head.group(1))), head.group(2).decode("latin-1"), data[head.end() :]


def _rows(
    numbers: NDArray[np.float64], declared: int, n_channels: int, path: Path
) -> tuple[NDArray[np.float64], dict[str, str]]:
    """The rows [T, C] of the motion block, after the count was held against the declaration."""
    if n_channels == 0:
        raise FileFormatError(f"{path}: no joint has CHANNELS, nothing moves; export the take with its animation")
    n_rows, rest = divmod(len(numbers), n_channels)
    if rest:
        raise FileFormatError(
            f"{path}: the last row has {rest} of {n_channels} numbers ({n_rows} whole rows, {declared} declared); "
            "the file is cut off or its CHANNELS are wrong, export it again"
        )
    if n_rows == 0 or declared <= 0 or n_rows < declared - 1:
        raise FileFormatError(
            f"{path}: declares {declared} frames but holds {n_rows}; "
            "the file is cut off or its count is wrong, export it again"
        )
    notes = {}
    if n_rows != declared:
        notes["frames"] = f"{declared} declared, {n_rows} in the file"
    rows = numbers.reshape(n_rows, n_channels)[:declared]
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        frame = int(bad.argmax())
        column = int((~np.isfinite(rows[frame])).argmax())
        raise FileFormatError(
            f"{path}: {rows[frame, column]} in frame {frame}, channel {column} ({int(bad.sum())} such frames); "
            "repair or drop the take"
        )
    return rows, notes


class _Hierarchy:
    """Grows the rig while the words of the HIERARCHY section go by."""

    def __init__(self, text: str, path: Path) -> None:
        self.path = path
        self.words: list[str] = re.findall(r"[{}]|[^\s{}]+", text)
        self.at = 0
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[list[float]] = []
        self.ends: list[bool] = []
        self.positions: list[tuple[tuple[int, int], ...]] = []
        self.rotations: list[tuple[tuple[int, int], ...]] = []
        self.n_channels = 0

    def fail(self, what: str) -> FileFormatError:
        return FileFormatError(f"{self.path}: {what}; the hierarchy is damaged, export the take again")

    def word(self) -> str:
        if self.at >= len(self.words):
            raise self.fail("the hierarchy ends too early (a brace is missing)")
        self.at += 1
        return self.words[self.at - 1]

    def until_brace(self) -> str:
        """The words up to the next opening brace: a name may have blanks in it."""
        start = self.at
        while self.word() != "{":
            if self.words[self.at - 1] == "}" or self.at - start > 16:
                raise self.fail(f"no '{{' after {' '.join(self.words[start - 1 : start + 2])!r}")
        return " ".join(self.words[start : self.at - 1])

    def number(self, what: str) -> float:
        text = self.word()
        try:
            value = float(text.replace(",", "."))
        except ValueError:
            value = float("nan")
        if not abs(value) < 1e8:
            raise self.fail(f"{text!r} is no {what}")
        return value

    def open_joint(self, name: str, stack: list[int], end: bool) -> None:
        if len(self.names) >= MAX_JOINTS:
            raise FileFormatError(f"{self.path}: more than {MAX_JOINTS} joints; this is not a human rig")
        if len(stack) >= MAX_DEPTH:
            raise FileFormatError(
                f"{self.path}: joint {name!r} lies over {MAX_DEPTH} levels deep; this is not a human rig"
            )
        if not end and any(self.names[above] == name for above in stack):
            raise FileFormatError(f"{self.path}: joint {name!r} is its own ancestor (a cycle); rename or remove one")
        self.names.append(name)
        self.parents.append(stack[-1] if stack else -1)
        self.offsets.append([0.0, 0.0, 0.0])
        self.ends.append(end)
        self.positions.append(())
        self.rotations.append(())
        stack.append(len(self.names) - 1)

    def channels(self, joint: int) -> None:
        count = self.number("number of CHANNELS")
        if not 0 <= count <= 16 or count != int(count):
            raise self.fail(f"joint {self.names[joint]!r} has {count:g} CHANNELS")
        found: dict[str, list[tuple[int, int]]] = {"position": [], "rotation": []}
        for _ in range(int(count)):
            name = self.word()
            kind = name[1:].lower()
            if name[:1].upper() in AXES and kind in found:
                found[kind].append((AXES[name[:1].upper()], self.n_channels))
            elif kind != "scale":
                raise self.fail(f"channel {name!r} of joint {self.names[joint]!r} is unknown")
            self.n_channels += 1
        self.positions[joint], self.rotations[joint] = tuple(found["position"]), tuple(found["rotation"])


def _parse_hierarchy(
    text: str, path: Path
) -> tuple[Rig, tuple[tuple[tuple[int, int], ...], ...], tuple[tuple[tuple[int, int], ...], ...], int]:
    """Rig, position channels, rotation channels and the number of channels, from the HIERARCHY section."""
    tree = _Hierarchy(text, path)
    stack: list[int] = []
    tree.word()
    while tree.at < len(tree.words):
        word = tree.word()
        key = word.upper()
        if key in ("ROOT", "JOINT"):
            tree.open_joint(tree.until_brace() or f"joint{len(tree.names)}", stack, end=False)
        elif key == "END":
            tree.until_brace()
            tree.open_joint(f"{tree.names[stack[-1]] if stack else ''}_end", stack, end=True)
        elif key == "}" and stack:
            stack.pop()
        elif key == "OFFSET" and stack:
            tree.offsets[stack[-1]] = [tree.number("offset") for _ in range(3)]
        elif key == "CHANNELS" and stack:
            tree.channels(stack[-1])
        else:
            raise tree.fail(f"{word!r} is not expected in the hierarchy")
    if stack:
        raise tree.fail(f"the braces of joint {tree.names[stack[-1]]!r} are not closed")
    if not tree.names:
        raise tree.fail("there is no ROOT")
    rig = Rig(tuple(tree.names), tuple(tree.parents), np.array(tree.offsets), tuple(tree.ends))
    return rig, tuple(tree.positions), tuple(tree.rotations), tree.n_channels
