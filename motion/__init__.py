"""What a motion is: skeletons, clips, features, files, drawing, synthesis. Knows numpy and scipy, nothing of models."""

from motion.clip import Caption, Clip, Source
from motion.errors import FeatureError, FileFormatError, MotionError, SkeletonError
from motion.features import FEATURES, features_to_joints, joints_to_features, merge_parts, split_parts
from motion.features_272 import change_to_heading, heading_to_change, rotations_272
from motion.files import TakeRef, TakeSource, open_source, read, register_reader, register_writer, write
from motion.geometry import mirror_clip, resample, swap_sides
from motion.join import join
from motion.retarget import load_joint_map, to_smpl22
from motion.skeleton import KIT_21, PARTS, SKELETONS, SMPL_22, Skeleton
from motion.statistics import JointStatistics, joint_statistics

__all__ = [
    "FEATURES",
    "KIT_21",
    "PARTS",
    "SKELETONS",
    "SMPL_22",
    "Caption",
    "Clip",
    "FeatureError",
    "FileFormatError",
    "JointStatistics",
    "MotionError",
    "Skeleton",
    "SkeletonError",
    "Source",
    "TakeRef",
    "TakeSource",
    "change_to_heading",
    "features_to_joints",
    "heading_to_change",
    "join",
    "joint_statistics",
    "joints_to_features",
    "load_joint_map",
    "merge_parts",
    "mirror_clip",
    "open_source",
    "read",
    "register_reader",
    "register_writer",
    "resample",
    "rotations_272",
    "split_parts",
    "swap_sides",
    "to_smpl22",
    "write",
]
