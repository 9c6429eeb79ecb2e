"""Folders of the text-motion field: HumanML3D, KIT-ML, 272-dim.

(being written)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from motion.files.takes import TakeRef


def is_humanml3d(folder: Path) -> bool:
    """Whether ``folder`` is laid out as HumanML3D."""
    return False


def humanml3d_takes(folder: Path) -> Iterator[TakeRef]:
    """Its takes."""
    return iter(())
