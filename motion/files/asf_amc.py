"""Acclaim ASF/AMC: a skeleton file and beside it one motion file a take (CMU, HDM05).

- The skeleton of ``02_05.amc`` is ``02_05.asf``, else the ASF whose name it begins with (``02.asf``), else the only one
  there.
- A bone's rotation is given in its own axes: ``C M C^-1``, where C comes from ``axis`` and M applies the ``dof`` in the
  order they are listed. Joints are the places where bones begin; the tips of the last bones are kept as ends.
- Lengths are in ``1 / length`` inches (CMU: 1/0.45 inch), unless that gives nobody's leg. The frame rate is not in the
  file: 120, as all of CMU and HDM05, and said.
- Every frame of a take lists the same bones, so the file is one table; the slow way is taken only where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.errors import FileFormatError
from motion.files.build import clip_of_rig, standing_axis
from motion.files.conventions import starts_with_calibration
from motion.files.rig import FRAMES_AT_ONCE, Rig, check_tree, euler_rotations, forward_kinematics
from motion.files.text import decode_names, read_bytes
from motion.retarget import JointMap, JointPlan, apply_plan, leg_length, plan_joints

AMC_FPS = 120.0
MAX_AMC_BYTES = 64 * 2**20
_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass
class Bone:
    """One bone of an ASF: vector at rest [3] (world axes, file units), axes C [3, 3], and degrees of freedom."""

    name: str
    vector: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    axes: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    dof: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asf:
    """A skeleton: bones by name (``root`` first), each bone's parent, metres per unit (0 unknown), degrees or not."""

    bones: Mapping[str, Bone]
    parents: Mapping[str, str]
    unit: float
    degrees: bool
    origin: NDArray[np.float64]


def read_amc(path: Path, *, joint_map: JointMap | None = None) -> list[Clip]:
    """One clip from an AMC file and the ASF beside it, SMPL-22, metres, y up, 120 frames per second.

    Raises:
        FileFormatError: one of the two files is missing or damaged, or they do not belong together.
        SkeletonError: the bones cannot be matched; a joint map helps.
    """
    skeleton_path = find_asf(path)
    asf = parse_asf(decode_names(read_bytes(skeleton_path, "ASF")), skeleton_path)
    values, degrees = parse_amc(decode_names(read_bytes(path, "AMC", MAX_AMC_BYTES)), asf, path)
    rig = rig_of(asf, skeleton_path)
    plan = plan_joints(rig.names, rig.parents, rig.rest(), joint_map=joint_map)
    used = [int(joint) for joint in plan.used]
    narrow = JointPlan(plan.weights[:, used], plan.guessed_toes, plan.notes)
    positions = _positions(rig, asf, values, degrees, used)
    notes = {"skeleton": skeleton_path.name, "frame_rate": f"{AMC_FPS:g} fps assumed: AMC files do not say"}
    if starts_with_calibration(apply_plan(JointPlan(narrow.weights), positions[:60]), AMC_FPS):
        positions = positions[1:]
        notes["dropped"] = "frame 0: a calibration pose in front of the motion"
    leg = leg_length((plan.weights @ rig.rest())[None])
    unit = asf.unit if 0.4 < leg * asf.unit < 1.4 else None
    if unit is not None:
        notes["unit"] = f"{unit * 1000:.3f} mm (stated in the ASF)"
    return [
        clip_of_rig(
            positions, narrow, path=path, fps=AMC_FPS, up=standing_axis(rig.rest(), plan), unit=unit, cmu_names=True,
            notes=notes,
        )
    ]  # fmt: skip


def find_asf(path: Path) -> Path:
    """The skeleton file of an AMC.

    Raises:
        FileFormatError: there is none beside it, or several and none by its name.
    """
    found = sorted(entry for entry in path.parent.iterdir() if entry.suffix.lower() == ".asf" and entry.is_file())
    stem = path.stem.lower()
    named = [
        entry for entry in found
        if stem == entry.stem.lower() or re.match(re.escape(entry.stem.lower()) + r"(?![a-z0-9])", stem)
    ]  # fmt: skip
    if named:
        return max(named, key=lambda entry: len(entry.stem))
    if len(found) == 1:
        return found[0]
    seen = f"there are {', '.join(entry.name for entry in found[:4])}" if found else "there is none"
    raise FileFormatError(f"{path}: no ASF skeleton of that name beside it, {seen}; copy it to {path.stem}.asf")


def parse_asf(text: str, path: Path) -> Asf:
    """A skeleton from the text of an ASF; ``path`` is for messages.

    Raises:
        FileFormatError: a section is missing or damaged, or the hierarchy is no tree.
    """
    sections = _sections(text)
    for name in ("root", "bonedata", "hierarchy"):
        if name not in sections:
            raise FileFormatError(f"{path}: has no :{name} section; this is no whole ASF, copy it again")
    units = {words[0].lower(): words[1] for words in sections.get("units", []) if len(words) > 1}
    degrees = not units.get("angle", "deg").lower().startswith("rad")
    length = _floats(["length", units.get("length", "0")], 1, path)[0]
    root = Bone("root", dof=("tx", "ty", "tz", "rx", "ry", "rz"))
    origin = np.zeros(3)
    orientation, order = [0.0, 0.0, 0.0], "XYZ"
    for words in sections["root"]:
        key = words[0].lower()
        if key == "order":
            root.dof = _dof(words[1:], path)
        elif key == "axis" and len(words) > 1:
            order = words[1]
        elif key == "position":
            origin = np.array(_floats(words, 3, path))
        elif key == "orientation":
            orientation = _floats(words, 3, path)
    root.axes = _axes(orientation, order, degrees, path)
    bones = {"root": root}
    for bone in _bones(sections["bonedata"], degrees, path):
        if bone.name in bones:
            raise FileFormatError(f"{path}: bone {bone.name!r} is there twice; rename one")
        bones[bone.name] = bone
    parents = _parents(sections["hierarchy"], bones, path)
    return Asf(bones, parents, 0.0254 / length if 0.0 < length < 1e6 else 0.0, degrees, origin)


def _sections(text: str) -> dict[str, list[list[str]]]:
    """Lines, split into words, by the ``:section`` they stand under; words behind the section's name come first."""
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in text.split("\n"):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if words[0].startswith(":"):
            current = sections.setdefault(words[0][1:].lower(), [])
            words = words[1:]
        if words:
            current.append(words)
    return sections


def _floats(words: list[str], count: int, path: Path) -> list[float]:
    try:
        values = [float(word) for word in words[1 : count + 1]]
    except ValueError:
        values = []
    if len(values) != count or not all(abs(value) < 1e8 for value in values):
        raise FileFormatError(f"{path}: {' '.join(words)[:60]!r} should hold {count} numbers; the skeleton is damaged")
    return values


def _dof(words: list[str], path: Path) -> tuple[str, ...]:
    dof = tuple(word.lower() for word in words)
    for word in dof:
        if word not in ("rx", "ry", "rz", "tx", "ty", "tz", "l"):
            raise FileFormatError(f"{path}: degree of freedom {word!r} is unknown; use rx ry rz tx ty tz l")
    if len(dof) > 7:
        raise FileFormatError(f"{path}: {len(dof)} degrees of freedom in one bone; the skeleton is damaged")
    return dof


def _axes(angles: list[float], order: str, degrees: bool, path: Path) -> NDArray[np.float64]:
    """C: rotations about x, y, z applied in the listed order, so the last listed stands leftmost."""
    if sorted(order.lower()) != ["x", "y", "z"]:
        raise FileFormatError(f"{path}: axis order {order!r} is no order of XYZ; the skeleton is damaged")
    values = dict(zip("xyz", np.radians(angles) if degrees else np.asarray(angles), strict=True))
    reverse = order.lower()[::-1]
    return euler_rotations([_AXES[letter] for letter in reverse], np.array([values[letter] for letter in reverse]))


def _bones(lines: list[list[str]], degrees: bool, path: Path) -> list[Bone]:
    bones: list[Bone] = []
    entry: dict[str, list[str]] | None = None
    for words in lines:
        key = words[0].lower()
        if key == "begin":
            entry = {}
        elif entry is None:
            raise FileFormatError(f"{path}: {' '.join(words)[:60]!r} in :bonedata outside begin/end; damaged")
        elif key == "end":
            bones.append(_bone(entry, degrees, path))
            entry = None
        else:
            entry[key] = words
    if entry is not None:
        name = " ".join(entry.get("name", ["a bone"])[1:])
        raise FileFormatError(f"{path}: bone {name!r} has no end; the file is cut off, copy it again")
    return bones


def _bone(entry: Mapping[str, list[str]], degrees: bool, path: Path) -> Bone:
    """One bone from its lines by their first word; limits of angles and anything unknown are left out."""
    name = entry.get("name", [])
    if len(name) < 2:
        raise FileFormatError(f"{path}: a bone has no name; the skeleton is damaged")
    bone = Bone(name[1], dof=_dof(entry["dof"][1:], path) if "dof" in entry else ())
    direction = np.array(_floats(entry["direction"], 3, path)) if "direction" in entry else np.zeros(3)
    length = _floats(entry["length"], 1, path)[0] if "length" in entry else 0.0
    size = float(np.linalg.norm(direction))
    bone.vector = direction / size * length if size > 0 else np.zeros(3)
    if "axis" in entry:
        order = entry["axis"][4] if len(entry["axis"]) > 4 else "XYZ"
        bone.axes = _axes(_floats(entry["axis"], 3, path), order, degrees, path)
    return bone


def _parents(lines: list[list[str]], bones: Mapping[str, Bone], path: Path) -> dict[str, str]:
    """Each bone's parent, parents before children.

    Raises:
        FileFormatError: a bone is unknown, has two parents, or hangs in a cycle.
    """
    parents: dict[str, str] = {}
    children: dict[str, list[str]] = {}
    for words in lines:
        if words[0].lower() in ("begin", "end"):
            continue
        for child in words[1:]:
            if child not in bones or words[0] not in bones:
                unknown = child if child not in bones else words[0]
                raise FileFormatError(f"{path}: hierarchy names bone {unknown!r}, which is not in :bonedata; damaged")
            if child in parents or child == "root":
                raise FileFormatError(f"{path}: bone {child!r} hangs from two parents (a cycle?); repair :hierarchy")
            parents[child] = words[0]
            children.setdefault(words[0], []).append(child)
    ordered: dict[str, str] = {}
    waiting = ["root"]
    while waiting:
        bone = waiting.pop(0)
        for child in children.get(bone, []):
            ordered[child] = bone
            waiting.append(child)
    lost = [bone for bone in parents if bone not in ordered]
    if lost:
        raise FileFormatError(f"{path}: bone {lost[0]!r} does not hang from the root (a cycle); repair :hierarchy")
    return ordered


def rig_of(asf: Asf, path: Path) -> Rig:
    """The joints of a skeleton: where each bone begins, and the tips of the last ones."""
    names = ["root", *asf.parents]
    index = {name: at for at, name in enumerate(names)}
    parents = [-1] + [index[parent] for parent in asf.parents.values()]
    offsets = [np.zeros(3)] + [asf.bones[parent].vector for parent in asf.parents.values()]
    leaves = [name for name in names[1:] if name not in set(asf.parents.values())]
    for leaf in leaves:
        parents.append(index[leaf])
        offsets.append(asf.bones[leaf].vector)
    all_names = (*names, *(f"{leaf}_end" for leaf in leaves))
    check_tree(all_names, parents, str(path))
    ends = tuple([False] * len(names) + [True] * len(leaves))
    return Rig(all_names, tuple(parents), np.array(offsets), ends)


def parse_amc(text: str, asf: Asf, path: Path) -> tuple[dict[str, NDArray[np.float64]], bool]:
    """Values [T, n] of each bone's degrees of freedom, and whether angles are degrees.

    Raises:
        FileFormatError: no frames, an unknown bone, or a wrong number of values.
    """
    frame = re.search(r"^[ \t]*\d+[ \t]*$", text, re.MULTILINE)
    if frame is None:
        raise FileFormatError(f"{path}: has no frames (a line with a number, then a line a bone); this is no AMC")
    head = text[: frame.start()].lower()
    degrees = ":radians" not in head if (":radians" in head or ":degrees" in head) else asf.degrees
    body = text[frame.start() :]
    if "#" in body:
        body = re.sub(r"#.*", "", body)
    values = _as_table(body, asf, path)
    if values is None:
        values = _line_by_line(body, asf, path)
    for bone, array in values.items():
        bad = ~(np.abs(array) < 1e8).all(axis=1)
        if bad.any():
            raise FileFormatError(
                f"{path}: bone {bone!r} has a wrong number in frame {int(bad.argmax())}; drop the take"
            )
    return values, degrees


def _layout(lines: list[list[str]], asf: Asf, path: Path) -> list[tuple[str, int]]:
    """(bone, number of values) of one frame's lines, held against the skeleton."""
    layout = []
    for words in lines:
        bone = asf.bones.get(words[0])
        if bone is None:
            raise FileFormatError(f"{path}: bone {words[0][:40]!r} is not in the ASF; the files do not belong together")
        if len(words) - 1 != len(bone.dof):
            raise FileFormatError(
                f"{path}: bone {bone.name!r} has {len(words) - 1} values, its skeleton wants {len(bone.dof)}; "
                "the file is cut off or has another skeleton"
            )
        layout.append((bone.name, len(bone.dof)))
    return layout


def _as_table(body: str, asf: Asf, path: Path) -> dict[str, NDArray[np.float64]] | None:
    """All frames at once, if every frame lists the same bones in the same order; None otherwise."""
    second = re.compile(r"^[ \t]*\d+[ \t]*$", re.MULTILINE).search(body, body.find("\n") + 1)
    first = [line.split() for line in body[: second.start() if second else len(body)].split("\n")[1:] if line.strip()]
    layout = _layout(first, asf, path)
    words = body.split()
    width = 1 + sum(1 + count for _, count in layout)
    if len(words) % width or not layout:
        return None
    values: dict[str, NDArray[np.float64]] = {}
    n_frames, at = len(words) // width, 1
    for bone, count in layout:
        if words[at::width] != [bone] * n_frames:
            return None
        try:
            columns = [np.array(words[at + 1 + c :: width], dtype=np.float64) for c in range(count)]
        except ValueError:
            return None
        values[bone] = np.stack(columns, axis=-1) if columns else np.empty((n_frames, 0))
        at += 1 + count
    return values


def _line_by_line(body: str, asf: Asf, path: Path) -> dict[str, NDArray[np.float64]]:
    """Frames that list bones in changing order; a bone left out keeps its last value."""
    frames: list[dict[str, list[float]]] = []
    for line in body.split("\n"):
        words = line.split()
        if not words:
            continue
        if len(words) == 1 and words[0].isdecimal():
            frames.append(dict(frames[-1]) if frames else {})
            continue
        ((bone, count),) = _layout([words], asf, path)
        frames[-1][bone] = _floats(words, count, path)
    zeros = {name: [0.0] * len(bone.dof) for name, bone in asf.bones.items()}
    named = sorted({name for values in frames for name in values})
    return {name: np.array([values.get(name, zeros[name]) for values in frames]) for name in named}


def _positions(
    rig: Rig, asf: Asf, values: Mapping[str, NDArray[np.float64]], degrees: bool, used: list[int]
) -> NDArray[np.float32]:
    """Global joint positions [T, K', 3] of the joints ``used``, in file units."""
    n_frames = len(next(iter(values.values())))
    out = np.empty((n_frames, len(used), 3), dtype=np.float32)
    for begin in range(0, n_frames, FRAMES_AT_ONCE):
        chunk = {bone: array[begin : begin + FRAMES_AT_ONCE] for bone, array in values.items()}
        count = min(FRAMES_AT_ONCE, n_frames - begin)
        rotations = np.broadcast_to(np.eye(3), (len(rig), count, 3, 3)).copy()
        offsets = np.repeat(rig.offsets[:, None, :], count, axis=1)
        offsets[0] += asf.origin
        for joint, name in enumerate(rig.names):
            if rig.ends[joint] or name not in chunk:
                continue
            bone = asf.bones[name]
            turning = [(at, _AXES[word[1]]) for at, word in enumerate(bone.dof) if word[0] == "r"]
            angles = chunk[name][:, [at for at, _ in reversed(turning)]]
            local = euler_rotations([axis for _, axis in reversed(turning)], np.radians(angles) if degrees else angles)
            rotations[joint] = bone.axes @ local @ bone.axes.T
            for at, word in enumerate(bone.dof):
                if word[0] == "t":
                    offsets[joint, :, _AXES[word[1]]] += chunk[name][:, at]
        positions = forward_kinematics(rig.parents, offsets, rotations)
        out[begin : begin + count] = positions[used].transpose(1, 0, 2)
    return out
