"""Moving pictures out: MP4 (H.264) through PyAV, GIF through Pillow."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from motion.clip import Clip
from motion.draw import frames
from motion.errors import MotionError

MP4_SIZE, GIF_SIZE = 480, 320
MOST_FPS, GIF_FPS = 30.0, 20.0


def write_video(clip: Clip, path: Path) -> None:
    """Write ``clip`` as .mp4 or .gif, in its own time; MotionError when the encoder is not installed."""
    if path.suffix.lower() == ".gif":
        _write_gif(clip, path)
    else:
        _write_mp4(clip, path)


def _write_mp4(clip: Clip, path: Path) -> None:
    try:
        import av
    except ImportError as error:
        raise MotionError("writing .mp4 needs PyAV; run: pip install 'remora[video]', or write .gif") from error
    rate = min(clip.fps, MOST_FPS)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        stream.width = stream.height = MP4_SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "fast"}
        for picture in frames(clip, size=MP4_SIZE, fps=rate):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _write_gif(clip: Clip, path: Path) -> None:
    from PIL import Image

    rate = min(clip.fps, GIF_FPS)
    pictures = [Image.fromarray(picture) for picture in frames(clip, size=GIF_SIZE, fps=rate)]
    pictures = [picture.quantize(64) for picture in pictures]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:], duration=round(1000 / rate), loop=0)
