"""Pictures of motion: stick figures with volume, drawn with numpy and Pillow; no 3-D library, no screen.

- An orthographic view from slightly above, turned so that the figure is seen from its front left.
- The left side is warm, the right side cool: sides can be told at a glance. Far limbs are drawn first, near ones over them.
- Everything is drawn at three times the size and averaged down: smooth edges without another dependency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motion.clip import Clip
from motion.errors import MotionError
from motion.geometry import facing, turn, yaw_of

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

LEFT, RIGHT, MIDDLE = (222, 110, 48), (38, 110, 176), (84, 88, 99)
PAPER, FLOOR, SHADOW, INK = (252, 251, 248), (214, 210, 202), (232, 229, 222), (60, 62, 70)
SHADE = (247, 226, 190)  # behind a curve, where something was found
ELEVATION, TURN = np.radians(14), np.radians(-32)
SUPER = 3
POSES = 12  # of a timeline


def view(joints: NDArray[np.floating[Any]], *, yaw: float = 0.0) -> NDArray[np.float64]:
    """Positions ``[..., J, 3]`` seen by the camera: x to the right, y up, z towards the eye, metres; the body at ``yaw``."""
    turned = turn(np.asarray(joints, np.float64), TURN - yaw)
    cos, sin = np.cos(ELEVATION), np.sin(ELEVATION)
    x, y, z = np.moveaxis(turned, -1, 0)
    return np.stack([-x, y * cos - z * sin, z * cos + y * sin], axis=-1) * (-1, 1, 1)


def frames(clip: Clip, *, size: int = 384, fps: float | None = None) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures [size, size, 3] of a clip over time, the camera following; at ``fps`` or the clip's own rate."""
    from PIL import Image

    rate = clip.fps if fps is None else fps
    seen = view(clip.joints, yaw=_start_yaw(clip))
    scale = 0.8 * size / _height(clip)
    for time in np.arange(0, len(clip) / clip.fps, 1 / rate):
        row = min(round(time * clip.fps), len(clip) - 1)
        image = Image.new("RGB", (size * SUPER, size * SUPER), PAPER)
        _draw_moment(image, clip, seen, row, centre=(size * SUPER / 2, size * SUPER * 0.88), scale=scale * SUPER)
        yield np.asarray(image.reduce(SUPER))


def strip(clip: Clip, path: Path | str, *, poses: int = 8, height: int = 220, title: str = "") -> None:
    """A PNG of ``poses`` moments side by side, with their seconds."""
    strips([clip], [title], path, poses=poses, height=height)


def strips(
    clips: Sequence[Clip], titles: Sequence[str], path: Path | str, *, poses: int = 8, height: int = 200
) -> None:
    """A PNG with one row a clip, under its title: the picture of an answer."""
    if not clips:
        raise MotionError("there is nothing to draw: no clips were given")
    rows = [_row(clip, title, poses=poses, height=height) for clip, title in zip(clips, titles, strict=True)]
    _stacked(rows).save(path, "PNG")


@dataclass(frozen=True)
class Timeline:
    """A motion with a curve over its seconds: ``scores`` [W] at ``times`` [W], ``spans`` that are shaded.

    ``start_s`` is added to the seconds that are written.
    """

    clip: Clip
    title: str
    times: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    spans: Sequence[tuple[float, float]]
    start_s: float = 0.0


def timelines(rows: Sequence[Timeline], path: Path | str, *, height: int = 130) -> None:
    """A PNG with one row a motion: its poses, and below them the curve, all over the same seconds."""
    from PIL import Image

    if not rows:
        raise MotionError("there is nothing to draw: no motions were given")
    drawn = []
    for row in rows:
        above = _row(row.clip, row.title, poses=POSES, height=height, start_s=row.start_s)
        below = _curve(row, above.width)
        both = Image.new("RGB", (above.width, above.height + below.height), PAPER)
        both.paste(above, (0, 0))
        both.paste(below, (0, above.height))
        drawn.append(both)
    _stacked(drawn).save(path, "PNG")


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    from PIL import Image

    image = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), PAPER)
    top = 0
    for row in rows:
        image.paste(row, (0, top))
        top += row.height
    return image


def _curve(row: Timeline, width: int, height: int = 64) -> Image.Image:
    """Scores over seconds; the axis begins and ends where the first and the last pose stand."""
    from PIL import Image, ImageDraw

    wide, high, step = width * SUPER, height * SUPER, width * SUPER / POSES
    image = Image.new("RGB", (wide, high), PAPER)
    draw = ImageDraw.Draw(image)
    seconds = max((len(row.clip) - 1) / row.clip.fps, 1e-3)
    low, top = float(row.scores.min()), float(row.scores.max())

    def place(time: float, score: float) -> tuple[float, float]:
        share = (score - low) / max(top - low, 1e-6)
        return step / 2 + time / seconds * (wide - step), high * (0.9 - 0.78 * share)

    for start, end in row.spans:
        draw.rectangle([place(start, low)[0], 0, place(min(end, seconds), low)[0], high], fill=SHADE)
    draw.line([place(t, v) for t, v in zip(row.times, row.scores, strict=True)], fill=INK, width=2 * SUPER)
    for value, y in ((top, 0.04), (low, 0.72)):
        draw.text((4 * SUPER, high * y), f"{value:.2f}", fill=(140, 138, 132), font=_font(11))
    return image.resize((width, height), Image.Resampling.LANCZOS)


def _row(clip: Clip, title: str, *, poses: int, height: int, start_s: float = 0.0) -> Image.Image:
    from PIL import Image, ImageDraw

    width, head, foot = round(height * 0.72), 30 if title else 6, 22
    image = Image.new("RGB", (width * poses * SUPER, (height + head + foot) * SUPER), PAPER)
    draw = ImageDraw.Draw(image)
    floor = (height + head - 14) * SUPER
    draw.line([(0, floor), (image.width, floor)], fill=FLOOR, width=SUPER)
    seen, scale = view(clip.joints, yaw=_start_yaw(clip)), 0.86 * height / _height(clip)
    times = np.linspace(0, len(clip) - 1, poses).round().astype(int)
    for column, row in enumerate(times):
        centre = ((column + 0.5) * width * SUPER, floor)
        _draw_moment(image, clip, seen, int(row), centre=centre, scale=scale * SUPER)
        label, font = f"{start_s + row / clip.fps:.1f} s", _font(12)
        draw.text((centre[0], floor + 4 * SUPER), label, fill=(140, 138, 132), font=font, anchor="ma")
    if title:
        draw.text((10 * SUPER, 7 * SUPER), _shortened(draw, title, image.width - 20 * SUPER), fill=INK, font=_font(15))
    draw.line([(0, image.height - 1), (image.width, image.height - 1)], fill=SHADOW, width=SUPER)
    return image.reduce(SUPER)


def _draw_moment(
    image: Image.Image, clip: Clip, seen: NDArray[np.float64], row: int, *, centre: tuple[float, float], scale: float
) -> None:
    """One pose over its shadow, its root over ``centre`` (pixels of the large picture)."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(image)
    origin = view(clip.joints[row, 0] * (1, 0, 1), yaw=_start_yaw(clip))  # the floor below the root

    def place(points: NDArray[np.float64]) -> list[tuple[float, float]]:
        return [(centre[0] + (p[0] - origin[0]) * scale, centre[1] - (p[1] - origin[1]) * scale) for p in points]

    x, y = centre
    draw.ellipse([x - 0.24 * scale, y - 0.06 * scale, x + 0.24 * scale, y + 0.06 * scale], fill=SHADOW)
    _draw_body(draw, clip, seen[row], place(seen[row]), scale)


def _draw_body(
    draw: ImageDraw.ImageDraw, clip: Clip, depth: NDArray[np.float64], points: list[tuple[float, float]], scale: float
) -> None:
    skeleton = clip.skeleton
    bones = [(joint, parent) for joint, parent in enumerate(skeleton.parents) if parent >= 0]
    for joint, parent in sorted(bones, key=lambda b: depth[b[0], 2] + depth[b[1], 2]):
        name = skeleton.names[joint]
        colour = LEFT if name.startswith("left") else RIGHT if name.startswith("right") else MIDDLE
        thick = 0.052 if joint in (*skeleton.hips, *skeleton.knees) or parent == 0 else 0.042
        width = max(round(thick * scale * 1.15), 2)
        shade = float(np.clip(1 + 0.28 * (depth[joint, 2] - depth[0, 2]), 0.78, 1.12))
        fill = tuple(int(np.clip(c * shade + (255 - 255 * min(shade, 1)) * 0.25, 0, 255)) for c in colour)
        draw.line([points[parent], points[joint]], fill=fill, width=width)
        for x, y in (points[parent], points[joint]):
            draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=fill)
    x, y = points[skeleton.head]
    radius = 0.095 * scale
    draw.ellipse([x - radius, y - radius * 1.15, x + radius, y + radius * 1.15], fill=MIDDLE)


def _start_yaw(clip: Clip) -> float:
    return float(yaw_of(facing(clip.joints[:1], clip.skeleton))[0])


def _height(clip: Clip) -> float:
    """Metres that must fit: the tallest moment, and a standing person at least."""
    return float(max(clip.joints[..., 1].max() - min(0.0, clip.joints[..., 1].min()), 1.2)) + 0.22


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size * SUPER)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: float) -> str:
    font = _font(15)
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"
