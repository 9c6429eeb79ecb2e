"""Motion files of every kind: one registry of readers and writers, and sources that list takes.

- ``read`` one file, ``open_source`` a folder of any layout, ``write`` a clip by suffix.
- Every failure is a :class:`~motion.errors.MotionError` that names the file, the value and a remedy.
"""

from motion.files.captions import caption_of_name, read_captions
from motion.files.registry import READERS, WRITERS, read, register_reader, register_writer, write
from motion.files.sources import open_source
from motion.files.takes import TakeRef, TakeSource

__all__ = [
    "READERS",
    "WRITERS",
    "TakeRef",
    "TakeSource",
    "caption_of_name",
    "open_source",
    "read",
    "read_captions",
    "register_reader",
    "register_writer",
    "write",
]
