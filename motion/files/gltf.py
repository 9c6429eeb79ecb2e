"""glTF binary out: a moving figure that any viewer opens, y up, metres, seconds.

- A node a joint, animated by rotations (and the root by its path), a tapered bone a limb rigidly attached: no skin, no texture.
- Left limbs are warm, right limbs cool, as in the pictures.
- The animation carries the clip's positions within a millimetre; joints that are not rigid in the clip also move.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.ik import Posed, pose_skeleton
from motion.rotation import matrix_to_quaternion, quaternion_between

FLOAT, UNSIGNED_SHORT = 5126, 5123
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
ARRAY_BUFFER, ELEMENT_BUFFER = 34962, 34963
COLOURS = {"left": (0.87, 0.35, 0.10, 1.0), "right": (0.06, 0.27, 0.55, 1.0), "middle": (0.22, 0.23, 0.28, 1.0)}
HEAD_RADIUS = 0.1  # metres


def write_glb(clip: Clip, path: Path) -> None:
    """Write ``clip`` as an animated .glb."""
    posed = pose_skeleton(clip)
    binary = _Binary()
    nodes = _joint_nodes(posed)
    _attach_bones(nodes, posed, len(clip.skeleton))
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Remora"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "materials": [_material(name, colour) for name, colour in COLOURS.items()],
        "meshes": _meshes(binary),
        "animations": [_animation(posed, clip, binary)],
    }
    document |= {
        "buffers": [{"byteLength": len(binary.data)}],
        "bufferViews": binary.views,
        "accessors": binary.accessors,
    }
    text = json.dumps(document, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary.data)
    head = struct.pack("<4sIIII", b"glTF", 2, total, len(text), JSON_CHUNK)
    path.write_bytes(head + text + struct.pack("<II", len(binary.data), BINARY_CHUNK) + bytes(binary.data))


class _Binary:
    """The binary chunk with its views and accessors."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: NDArray[Any], kind: str, *, component: int = FLOAT, target: int | None = None) -> int:
        """Store an array; the number of its accessor."""
        block = np.ascontiguousarray(values, "<f4" if component == FLOAT else "<u2")
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": block.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.data += block.tobytes() + b"\0" * (-block.nbytes % 4)
        flat = block.reshape(len(block), -1)
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1, "componentType": component, "count": len(block), "type": kind,
                "min": flat.min(axis=0).tolist(), "max": flat.max(axis=0).tolist(),
            }
        )  # fmt: skip
        return len(self.accessors) - 1


def _joint_nodes(posed: Posed) -> list[dict[str, Any]]:
    parents = posed.skeleton.parents
    nodes = []
    for joint, name in enumerate(posed.skeleton.names):
        start = posed.translations[0, joint] if joint == 0 else posed.offsets[joint]
        children = [c for c, parent in enumerate(parents) if parent == joint]
        nodes.append({"name": name, "translation": start.tolist(), "children": children})
    return nodes


def _attach_bones(nodes: list[dict[str, Any]], posed: Posed, joints: int) -> None:
    """A bone from each joint to its child, stretched and turned to fit; a ball for the head."""
    skeleton = posed.skeleton
    for joint, parent in enumerate(skeleton.parents):
        if parent < 0:
            continue
        offset = posed.offsets[joint]
        length = max(float(np.linalg.norm(offset)), 1e-4)
        turned = quaternion_between(np.array([0.0, 1.0, 0.0]), offset / length)
        thick = float(np.clip(0.16 * length, 0.028, 0.06))
        side = next((i for i, s in enumerate(COLOURS) if skeleton.names[joint].startswith(s)), 2)
        nodes.append(
            {
                "name": f"bone {skeleton.names[joint]}",
                "mesh": side,
                "rotation": np.roll(turned, -1).tolist(),
                "scale": [thick, length, thick],
            }
        )
        nodes[parent]["children"].append(len(nodes) - 1)
    size = [HEAD_RADIUS, HEAD_RADIUS * 2.2, HEAD_RADIUS]
    nodes.append({"name": "head ball", "mesh": 2, "translation": [0.0, -0.5 * HEAD_RADIUS, 0.0], "scale": size})
    nodes[skeleton.head]["children"].append(len(nodes) - 1)
    for node in nodes[:joints]:
        if not node["children"]:
            del node["children"]


def _material(name: str, colour: tuple[float, ...]) -> dict[str, Any]:
    return {
        "name": name, "doubleSided": True,
        "pbrMetallicRoughness": {"baseColorFactor": list(colour), "metallicFactor": 0.0, "roughnessFactor": 0.65},
    }  # fmt: skip


def _meshes(binary: _Binary) -> list[dict[str, Any]]:
    """One bone mesh a material: round, tapered, one metre long, one metre in radius at its thickest; scaled by its node."""
    rings, around = [(0.0, 0.25), (0.06, 0.75), (0.2, 1.0), (0.8, 0.75), (0.95, 0.55), (1.0, 0.2)], 12
    angle = np.arange(around) * 2 * np.pi / around
    circle = np.stack([np.cos(angle), np.zeros(around), np.sin(angle)], axis=-1)
    points = np.concatenate([circle * radius + (0, height, 0) for height, radius in rings])
    normals = np.tile(circle, (len(rings), 1))
    triangles: list[tuple[int, ...]] = []
    for ring in range(len(rings) - 1):
        for i in range(around):
            a, b = ring * around + i, ring * around + (i + 1) % around
            triangles += [(a, a + around, b), (b, a + around, b + around)]
    for ring, flip in ((0, 1), (len(rings) - 1, -1)):
        base = ring * around
        triangles += [(base, base + i, base + i + 1)[::flip] for i in range(1, around - 1)]
    position = binary.add(points, "VEC3", target=ARRAY_BUFFER)
    normal = binary.add(normals, "VEC3", target=ARRAY_BUFFER)
    index = binary.add(np.array(triangles).reshape(-1, 1), "SCALAR", component=UNSIGNED_SHORT, target=ELEMENT_BUFFER)
    shape = {"attributes": {"POSITION": position, "NORMAL": normal}, "indices": index}
    return [{"name": f"bone {name}", "primitives": [shape | {"material": i}]} for i, name in enumerate(COLOURS)]


def _animation(posed: Posed, clip: Clip, binary: _Binary) -> dict[str, Any]:
    time = binary.add((np.arange(len(clip)) / clip.fps).reshape(-1, 1), "SCALAR")
    channels, samplers = [], []

    def animate(joint: int, path: str, values: NDArray[np.float64], kind: str) -> None:
        samplers.append({"input": time, "output": binary.add(values, kind), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": joint, "path": path}})

    for joint in range(len(clip.skeleton)):
        if joint == 0 or joint in posed.moving:
            animate(joint, "translation", posed.translations[:, joint], "VEC3")
        quaternion = matrix_to_quaternion(posed.rotations[:, joint])
        flips = np.cumprod(np.where((quaternion[1:] * quaternion[:-1]).sum(-1) < 0, -1.0, 1.0))
        quaternion[1:] *= flips[:, None]  # the short way round between frames
        animate(joint, "rotation", np.roll(quaternion, -1, axis=-1), "VEC4")  # x, y, z, w
    return {"name": clip.captions[0].text if clip.captions else "motion", "channels": channels, "samplers": samplers}
