"""Frames of a video file, through PyAV: as upright pictures in sRGB, or small and grey."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.errors import InputError
from gradiseg_core.stages.scene.hdr import HLG, PQ, hdr_to_srgb

logger = logging.getLogger(__name__)

_BT709, _UNSPECIFIED = 1, 2  # H.273's matrix coefficients
_HD_ROWS = 720  # untagged videos are BT.709 from this height on, BT.601 below, as players take them


class UnreadableVideoError(InputError):
    """A file from which no frame can be decoded.

    Attributes:
        reason: Why, without the file's name.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot read the video {path} ({reason})")
        self.reason = reason


class Video:
    """An open video.

    Attributes:
        path: The file.
        seconds: Its length as its head says; None where it does not.
        fps: Frames a second, on average; None where unknown.
        damaged: Packets that could not be decoded so far.
    """

    def __init__(self, path: Path, container: Any, threads: int) -> None:
        self.path, self._container = path, container
        self._stream = container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        length = container.duration
        self.seconds = length / 1e6 if length else None
        self.damaged = 0

    def frames(self) -> Iterator[Any]:
        """Yield all frames in order of time, as PyAV has them; what is damaged is left out."""
        import av

        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                self.damaged += 1
                logger.debug("%s: a packet cannot be decoded: %s", self.path, error)

    def picture(self, frame: Any) -> NDArray[np.uint8]:
        """Return a frame [H, W, 3] upright in 8-bit sRGB, of square pixels."""
        if frame.color_trc in (PQ, HLG):
            signal = frame.to_ndarray(format="rgb48le", src_colorspace=_matrix(frame))
            pixels = hdr_to_srgb(signal, int(frame.color_trc))
        else:
            pixels = frame.to_ndarray(format="rgb24", src_colorspace=_matrix(frame))
        ratio = self._stream.sample_aspect_ratio
        if ratio and ratio != 1:
            size = (round(pixels.shape[1] * float(ratio)), pixels.shape[0])
            pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        return np.ascontiguousarray(np.rot90(pixels, _quarters(frame)))

    def grey(self, frame: Any, width: int) -> NDArray[np.float32]:
        """Return a frame [h, ``width``] in grey as it is stored, 0..255."""
        width = min(width, frame.width)
        height = max(1, round(frame.height * width / frame.width))
        return frame.reformat(width, height, "gray").to_ndarray().astype(np.float32)


@contextmanager
def open_video(path: Path, threads: int = 1) -> Iterator[Video]:
    """Open a video.

    Raises:
        UnreadableVideoError: If it cannot be opened, or has no pictures.
    """
    import av

    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableVideoError(path, _why(path, error)) from error
    with container:
        if not container.streams.video:
            raise UnreadableVideoError(path, "it has sound only")
        yield Video(path, container, threads)


def _quarters(frame: Any) -> int:
    """Return by how many quarter turns, against the clock, a frame is to be turned."""
    return round(float(frame.rotation) / 90) % 4


def _matrix(frame: Any) -> int | None:
    """Return the matrix by which a frame's colours are stored, where FFmpeg would take another."""
    if int(frame.colorspace) == _UNSPECIFIED and max(frame.width, frame.height) > _HD_ROWS:
        return _BT709
    return None


def _why(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    text = str(error)
    if "Invalid data" in text:
        return (
            "it is damaged, incomplete, or no video: a recording or copy that was interrupted "
            "lacks its end; copy it again"
        )
    return text
