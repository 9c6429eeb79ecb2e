"""Arrays: what is written comes back, what is guessed is said, what is hostile is refused before it costs anything."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from motion import KIT_21, SMPL_22, Caption, Clip, FileFormatError, Source, change_to_heading, read, write
from motion.features import joints_to_features
from motion.features_272 import MOTION_272
from motion.files.amass import rest_offsets, rotation_matrices
from motion.retarget import leg_length
from tests.fakes import somebody


def test_own_archive_is_the_identity(some_clip: Clip, tmp_path: Path) -> None:
    captions = (Caption("a person waves", 0.1, 0.3, tokens=("a/DET", "person/NOUN")), Caption("wave", kind="template"))
    source = Source("set", "take", 1.0, 2.0, "s1", "CC0", "somewhere", "train", True, {"unit": "cm"})
    clip = replace(some_clip, captions=captions, source=source, labels={"class_id": "wave"}, fps=29.97)
    write(clip, tmp_path / "a.npz")
    (back,) = read(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.joints, clip.joints)
    assert (back.captions, back.source, back.labels, back.fps) == (captions, source, {"class_id": "wave"}, 29.97)
    assert back.content_hash() == clip.content_hash()


def test_npy_keeps_the_joints(some_clip: Clip, tmp_path: Path) -> None:
    write(some_clip, tmp_path / "a.npy")
    (back,) = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(back.joints, some_clip.joints)
    assert "assumed" in back.source.notes["frame_rate"]


@pytest.mark.parametrize("count", [22, 24, 52, 55])
def test_the_body_of_larger_skeletons_is_taken(some_clip: Clip, tmp_path: Path, count: int) -> None:
    joints = np.zeros((12, count, 3))
    joints[:, :22] = some_clip.joints
    np.save(tmp_path / "a.npy", joints)
    np.testing.assert_array_equal(read(tmp_path / "a.npy")[0].joints, some_clip.joints)


def test_kit_joints_are_recognised(tmp_path: Path) -> None:
    joints = np.random.default_rng(0).normal(size=(5, 21, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", joints)
    (clip,) = read(tmp_path / "a.npy")
    assert clip.skeleton is KIT_21
    assert clip.fps == 12.5


def test_millimetres_and_z_up_are_found(some_clip: Clip, tmp_path: Path) -> None:
    x, y, z = np.moveaxis(some_clip.joints, -1, 0)
    np.savez(tmp_path / "a.npz", joints=np.stack([x, -z, y], axis=-1) * 1000, fps=50)
    (clip,) = read(tmp_path / "a.npz")
    np.testing.assert_allclose(clip.joints, some_clip.joints, atol=1e-5)
    assert clip.fps == 50
    assert clip.source.notes["unit"].startswith("mm")
    assert clip.source.notes["up"].startswith("z")


def test_named_joints_of_any_rig(some_clip: Clip, tmp_path: Path) -> None:
    order = [0, *range(21, 0, -1)]
    names = np.array(["Hips" if n == "pelvis" else "".join(w.title() for w in n.split("_")) for n in SMPL_22.names])
    parents = [-1, 0] + [0] * 20
    np.savez(tmp_path / "a.npz", joints=some_clip.joints[:, order], names=names[order], parents=parents, fps=30)
    (clip,) = read(tmp_path / "a.npz")
    limbs = [
        i for i, name in enumerate(SMPL_22.names) if name.split("_")[-1] in ("hip", "knee", "ankle", "elbow", "wrist")
    ]
    np.testing.assert_allclose(clip.joints[:, limbs], some_clip.joints[:, limbs], atol=1e-6)
    np.savez(tmp_path / "b.npz", joints=some_clip.joints, names=names, parents=[*range(1, 22), 0], fps=30)
    with pytest.raises(FileFormatError, match="cycle"):
        read(tmp_path / "b.npz")


def test_a_joint_map_reads_arrays_of_any_width(some_clip: Clip, tmp_path: Path) -> None:
    joints = np.concatenate([np.zeros((12, 5, 3)), some_clip.joints], axis=1)
    np.save(tmp_path / "a.npy", joints)
    with pytest.raises(FileFormatError, match="27 joints"):
        read(tmp_path / "a.npy")
    mapping = {name: str(joint + 5) for joint, name in enumerate(SMPL_22.names)}
    np.testing.assert_allclose(read(tmp_path / "a.npy", joint_map=mapping)[0].joints, some_clip.joints, atol=1e-6)


class Pwned:
    """Unpickling this ends the test run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickled object was loaded')",))


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Pwned()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", joints=np.array([Pwned()], dtype=object))
    (tmp_path / "c.npy").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    for name in ("a.npy", "b.npz"):
        with pytest.raises(FileFormatError, match="pickled"):
            read(tmp_path / name)
    with pytest.raises(FileFormatError, match=r"c\.npy"):
        read(tmp_path / "c.npy")


def header(shape: str, descr: str = "<f4") -> bytes:
    """A .npy header that declares anything."""
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "shape", ["(10000000, 22, 3)", "(99999999999999999, 22, 3)", "(-5, 22, 3)", "(0, 22, 3)", "()"]
)
def test_declared_shapes_are_not_trusted(tmp_path: Path, shape: str) -> None:
    (tmp_path / "a.npy").write_bytes(header(shape) + b"\0" * 64)
    with pytest.raises(FileFormatError):
        read(tmp_path / "a.npy")


def test_zip_bombs_are_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("joints.npy", "w") as out,
    ):
        out.write(header("(1000000, 22, 3)"))
        for _ in range(264):
            out.write(bytes(1_000_000))
    with pytest.raises(FileFormatError, match="zip bomb"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [(5, 23, 3), (5, 22, 2), (5, 66), (22, 3), (5, 264), (2, 5, 22, 3), (5, 0, 3)])
def test_other_shapes_name_what_is_expected(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape, dtype=np.float32))
    with pytest.raises(FileFormatError, match="expected"):
        read(tmp_path / "a.npy")


def test_nan_is_named_by_frame_and_joint(some_clip: Clip, tmp_path: Path) -> None:
    joints = some_clip.joints.copy()
    joints[7, SMPL_22.index("left_elbow"), 1] = np.nan
    np.save(tmp_path / "a.npy", joints)
    with pytest.raises(FileFormatError, match=r"frame 7, joint 'left_elbow'"):
        read(tmp_path / "a.npy")


def amass_arrays(frames: int = 40) -> dict[str, np.ndarray]:
    """Somebody who stands in a T-pose, z up, and walks along -y (that is +z afterwards)."""
    poses, trans = np.zeros((frames, 156)), np.zeros((frames, 3))
    poses[:, 0] = np.pi / 2
    trans[:, 1], trans[:, 2] = -0.01 * np.arange(frames), 0.93
    return {"poses": poses, "trans": trans, "betas": np.zeros(16), "gender": np.array(b"female")}


def test_amass_becomes_y_up_and_walks_ahead(tmp_path: Path) -> None:
    np.savez(tmp_path / "h.npz", **amass_arrays(), mocap_framerate=120.0)
    (clip,) = read(tmp_path / "h.npz")
    assert clip.fps == 120
    assert clip.source.notes["gender"] == "female"
    assert "mean skeleton" in clip.source.notes["skeleton"]
    assert 1.4 < clip.joints[0, SMPL_22.head, 1] < 1.8
    np.testing.assert_allclose(clip.joints[-1, 0] - clip.joints[0, 0], [0, 0, 0.39], atol=1e-6)
    assert clip.joints[0, SMPL_22.index("left_wrist"), 0] > 0.5
    assert 0.75 < leg_length(clip.joints) < 0.9


def test_both_amass_layouts_agree(tmp_path: Path) -> None:
    arrays = amass_arrays()
    arrays["poses"][:, 3:66] = np.random.default_rng(0).normal(0, 0.2, (40, 63))
    np.savez(tmp_path / "h.npz", **arrays, mocap_framerate=59.94)
    np.savez(
        tmp_path / "x.npz",
        root_orient=arrays["poses"][:, :3],
        pose_body=arrays["poses"][:, 3:66],
        trans=arrays["trans"],
        pose_hand=np.zeros((40, 90)),
        gender="neutral",
        mocap_frame_rate=59.94,
        surface_model_type="smplx",
    )
    one, two = read(tmp_path / "h.npz")[0], read(tmp_path / "x.npz")[0]
    np.testing.assert_array_equal(one.joints, two.joints)
    assert one.fps == two.fps == 59.94
    bones = np.linalg.norm(one.joints[:, 1:] - one.joints[:, list(SMPL_22.parents[1:])], axis=-1)
    np.testing.assert_allclose(bones, np.linalg.norm(rest_offsets()[1:], axis=-1)[None].repeat(40, 0), atol=1e-5)


def test_rotation_matrices_agree_with_scipy() -> None:
    from scipy.spatial.transform import Rotation

    vectors = np.random.default_rng(0).normal(0, 2, (50, 3))
    vectors[0] = 0
    np.testing.assert_allclose(rotation_matrices(vectors), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"poses": np.zeros((40, 60))},
        {"trans": np.zeros((39, 3))},
        {"mocap_framerate": 0.0},
        {"mocap_framerate": np.nan},
        {"poses": np.full((40, 156), np.nan)},
        {"poses": np.zeros((0, 156)), "trans": np.zeros((0, 3))},
        {"poses": np.array("x")},
    ],
)
def test_damaged_amass_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    np.savez(tmp_path / "h.npz", **{**amass_arrays(), "mocap_framerate": 120.0, **change})
    with pytest.raises(FileFormatError, match=r"h\.npz"):
        read(tmp_path / "h.npz")


def test_shapes_without_motion_are_no_motion(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", betas=np.zeros(16), gender="male")
    with pytest.raises(FileFormatError, match="no poses"):
        read(tmp_path / "s.npz")


def test_writing_is_all_or_nothing(some_clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(some_clip, tmp_path / "a.npy")
    before = (tmp_path / "a.npy").read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(FileFormatError, match="No space left"):
        write(some_clip, tmp_path / "a.npy")
    assert (tmp_path / "a.npy").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".*")] == []
    with pytest.raises(FileFormatError, match=r"writable are \.bvh"):
        write(some_clip, tmp_path / "a.fbx")
    with pytest.raises(FileFormatError, match="does not exist"):
        write(some_clip, tmp_path / "nowhere" / "a.npy")


def test_truncated_archives_are_refused(some_clip: Clip, tmp_path: Path) -> None:
    write(some_clip, tmp_path / "a.npz")
    data = (tmp_path / "a.npz").read_bytes()
    for cut in (10, len(data) // 2, len(data) - 10):
        (tmp_path / "b.npz").write_bytes(data[:cut])
        with pytest.raises(FileFormatError, match=r"b\.npz"):
            read(tmp_path / "b.npz")
    flipped = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo("joints.npy").header_offset + 200
    flipped[start] ^= 0xFF
    (tmp_path / "c.npz").write_bytes(bytes(flipped))
    with pytest.raises(FileFormatError, match=r"c\.npz"):
        read(tmp_path / "c.npz")


def test_names_in_hostile_files_do_not_break_the_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x\n\x1b[31mred.npy", header("(1,)") + b"1234")
    with pytest.raises(FileFormatError) as caught:
        read(tmp_path / "a.npz")
    assert str(caught.value).isprintable()


def test_272_features_with_the_heading_itself_are_read_as_the_same_motion(tmp_path: Path) -> None:

    turning = np.linspace(0, np.pi, 60)
    joints = somebody(2.0, seed=3, fps=30.0)
    x, z = joints[..., 0].copy(), joints[..., 2].copy()
    cos, sin = np.cos(turning)[:, None], np.sin(turning)[:, None]
    joints[..., 0], joints[..., 2] = x * cos + z * sin, z * cos - x * sin
    features = joints_to_features(joints, MOTION_272)
    np.save(tmp_path / "change.npy", features)
    np.save(tmp_path / "heading.npy", change_to_heading(features))
    change, heading = read(tmp_path / "change.npy")[0], read(tmp_path / "heading.npy")[0]
    np.testing.assert_allclose(heading.joints, change.joints, atol=1e-4)
    assert "heading" in heading.source.notes
    assert "heading" not in change.source.notes
