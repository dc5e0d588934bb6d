"""Videos for tests: any codec, colour tags, uneven times, and the rotation that phones write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Turn (clockwise, degrees) -> the matrix of an MP4 track header (ISO/IEC 14496-12, 8.3.2).
_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@cache
def texture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A large picture with detail of all sizes."""
    random = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for step in (4, 8, 16, 32, 64, 128):
        size = (width // step + 2, height // step + 2)
        grain = Image.fromarray(random.integers(0, 255, (*size[::-1], 3), np.uint8))
        pixels += np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC)) * step**0.5
    pixels -= pixels.min()
    return Image.fromarray((255 * pixels / pixels.max()).astype(np.uint8))


def pan(
    centres: Sequence[tuple[float, float]], size: tuple[int, int] = (320, 180)
) -> list[NDArray]:
    """Frames of ``size`` of a camera that looks at places of one large texture."""
    whole = texture(1600, 900)
    width, height = size
    frames = []
    for x, y in centres:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        frames.append(np.asarray(whole.resize(size, Image.Resampling.BICUBIC, box=box)))
    return frames


def write_video(
    path: Path,
    frames: Sequence[NDArray],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[float] | None = None,
    rate: int = 30,
    turn: int = 0,
    **tags: int,
) -> Path:
    """Write frames [H, W, 3], uint8 or uint16.

    Args:
        path: The file; its ending decides the container.
        frames: The frames.
        codec: FFmpeg's name of the encoder.
        pixels: FFmpeg's name of the format of pixels.
        times: Seconds of each frame; evenly by ``rate`` without.
        rate: Frames a second.
        turn: By how many degrees, clockwise, a player turns the picture (MP4 only).
        tags: ``colorspace``, ``color_trc``, ``color_primaries`` (H.273).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.options = {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"}
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for number, values in enumerate(frames):
            kind = "rgb48le" if values.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=kind)
            frame = frame.reformat(format=pixels, dst_colorspace=tags.get("colorspace", 5))
            seconds = number / rate if times is None else times[number]
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if turn:
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version 0
        a, b, c, d = (65536 * value for value in _MATRICES[turn])
        data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(data)
    return path
