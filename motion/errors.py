"""Errors of the motion room.

MotionError
├── FileFormatError      a file is not what it claims to be, or is damaged
├── SkeletonError        joints cannot be matched to the wanted skeleton
└── FeatureError         an array does not fit the feature specification

Every message says what happened, to which file or value, and what to do about it.
"""

from __future__ import annotations


class MotionError(Exception):
    """Base of everything that goes wrong with a motion."""


class FileFormatError(MotionError):
    """A motion file is damaged, hostile, or of an unknown format."""


class SkeletonError(MotionError):
    """Joints cannot be matched to the wanted skeleton."""


class FeatureError(MotionError):
    """An array does not fit the feature specification it is read with."""
