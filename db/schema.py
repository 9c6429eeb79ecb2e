"""The columns of rows and captions, and how a caller's tables are brought into them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = ("clip_id", "source", "split", "subject", "take", "take_stamp", "class_id", "class_text", "style")
_NUMBERS = ("start_s", "end_s", "duration_s")
_MORE_TEXTS = ("skeleton", "licence", "origin", "sha256", "notes")
STATISTICS = (
    "speed_m_s", "top_speed_m_s", "path_m", "distance_m", "turn_deg", "rise_m", "height_m", "left_hand_m_s", "right_hand_m_s",
    "left_foot_m_s", "right_foot_m_s", "contact_share", "steps",
)  # fmt: skip
"""What the joints do, a number a clip each; null where nobody measured it (motion/statistics.py says what they are)."""


def row_schema() -> pa.Schema:
    """One row a clip."""
    import pyarrow as pa

    return pa.schema(
        [
            *((name, pa.string()) for name in _TEXTS),
            *((name, pa.float64()) for name in _NUMBERS),
            ("fps", pa.float32()),
            ("n_frames", pa.int32()),
            ("mirrored", pa.bool_()),
            *((name, pa.string()) for name in _MORE_TEXTS),
            *((name, pa.float32()) for name in STATISTICS),
        ]
    )


def caption_schema() -> pa.Schema:
    """One row a caption; ``row`` is the row of its clip in the same segment."""
    import pyarrow as pa

    fields = [("row", pa.int64()), ("clip_id", pa.string()), ("text", pa.string()), ("start_s", pa.float64())]
    return pa.schema([*fields, ("end_s", pa.float64()), ("kind", pa.string()), ("tokens", pa.list_(pa.string()))])


def fit(table: pa.Table, wanted: pa.Schema, what: str) -> pa.Table:
    """``table`` with the columns and types of ``wanted``, statistics that are absent as nulls.

    Raises:
        RequestError: names what is missing, surplus or of a wrong type.
    """
    import pyarrow as pa

    for name in STATISTICS:
        if name in wanted.names and name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), wanted.field(name).type))
    missing = sorted(set(wanted.names) - set(table.column_names))
    surplus = sorted(set(table.column_names) - set(wanted.names))
    if missing or surplus:
        raise RequestError(f"the table of {what} lacks {missing or 'nothing'} and has {surplus or 'nothing'} too much")
    try:
        return table.select(wanted.names).cast(wanted)
    except (pa.ArrowException, ValueError) as error:
        raise RequestError(f"the table of {what} has a column of a wrong type: {str(error).splitlines()[0]}") from error
