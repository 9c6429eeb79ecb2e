"""What a motion is: skeletons, clips, features, files, drawing, synthesis. Knows numpy and scipy, nothing of models."""

from motion.clip import Caption, Clip, Source
from motion.errors import FeatureError, FileFormatError, MotionError, SkeletonError
from motion.files import TakeRef, TakeSource, open_source, read, register_reader, register_writer, write
from motion.retarget import load_joint_map, to_smpl22
from motion.skeleton import KIT_21, PARTS, SKELETONS, SMPL_22, Skeleton

__all__ = [
    "KIT_21",
    "PARTS",
    "SKELETONS",
    "SMPL_22",
    "Caption",
    "Clip",
    "FeatureError",
    "FileFormatError",
    "MotionError",
    "Skeleton",
    "SkeletonError",
    "Source",
    "TakeRef",
    "TakeSource",
    "load_joint_map",
    "open_source",
    "read",
    "register_reader",
    "register_writer",
    "to_smpl22",
    "write",
]
