"""A video around a scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gradiseg_core.cameras import Camera
from gradiseg_core.editing.placing import meeting
from gradiseg_core.errors import BackendUnavailableError, InputError

if TYPE_CHECKING:
    from gradiseg_core.editing.scene import Scene

FRAMES, FRAMES_PER_SECOND = 96, 24
#: Longest side of the video, px.
_LONGEST = 640
#: Cameras that leave out a larger angle do not go all around.
_GAP_DEG = 90.0


def orbit(scene: Scene, frames: int = FRAMES) -> list[Camera]:
    """Return cameras on a circle above what the views look at, training frame.

    The circle is as high and as wide as the views' median. Where the views are on one side only,
    the cameras swing from one end of it to the other and back: nobody has seen the rest.

    Raises:
        InputError: If the scene has no cameras.
    """
    cameras = list(scene.cameras.values())
    if not cameras:
        raise InputError(f"{scene.run.gaussians} has no cameras around it that a video could take")
    eyes = np.stack([camera.center_in_world for camera in cameras])
    axes = np.stack([camera.cam_from_world[2, :3] for camera in cameras])
    target = meeting(eyes, axes)
    up = -np.mean([camera.cam_from_world[1, :3] for camera in cameras], axis=0)
    if scene.ground is not None:
        up = scene.ground.normal
    up = up / np.linalg.norm(up)
    offsets = eyes - target
    heights = offsets @ up
    flat = offsets - heights[:, None] * up
    radius = float(np.median(np.linalg.norm(flat, axis=1)))
    first = flat[0] / max(float(np.linalg.norm(flat[0])), 1e-12)
    second = np.cross(up, first)
    angles = _angles(np.arctan2(flat @ second, flat @ first), frames)
    model = cameras[0]
    width, height = _even(model.width, model.height)
    model = model.resized(width, height)
    return [
        replace(
            model,
            name=f"turntable_{index:03d}",
            cam_from_world=_looking(
                target
                + radius * (np.cos(angle) * first + np.sin(angle) * second)
                + float(np.median(heights)) * up,
                target,
                up,
            ),
        )
        for index, angle in enumerate(angles)
    ]


def write_turntable(path: Path, scene: Scene, frames: int = FRAMES) -> None:
    """Write an MP4 (H.264) around a scene.

    Raises:
        InputError: If the scene has no cameras.
        BackendUnavailableError: Without PyAV.
    """
    cameras = orbit(scene, frames)
    pictures = ((255.0 * scene.render(camera).color + 0.5).astype(np.uint8) for camera in cameras)
    write_video(path, pictures)


def write_video(path: Path, pictures: Iterator[NDArray[np.uint8]]) -> None:
    """Write pictures [H, W, 3], of even sizes, as MP4.

    Raises:
        BackendUnavailableError: Without PyAV.
    """
    try:
        import av
    except ImportError as error:
        raise BackendUnavailableError(
            "videos need the package av (PyAV): pip install av, or leave the video out"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.pix_fmt = "yuv420p"  # browsers play no other
        stream.options = {"crf": "20", "threads": "1"}  # one thread: the same file every time
        for index, picture in enumerate(pictures):
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _angles(seen: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """Return the angles of the frames, those of the views given."""
    ordered = np.sort(np.mod(seen, 2 * np.pi))
    gaps = np.diff(np.append(ordered, ordered[0] + 2 * np.pi))
    widest = int(gaps.argmax())
    turn = np.arange(frames) / frames
    if gaps[widest] < np.deg2rad(_GAP_DEG):
        return 2 * np.pi * turn
    start = ordered[(widest + 1) % len(ordered)]
    return start + (2 * np.pi - gaps[widest]) * 0.5 * (1.0 - np.cos(2 * np.pi * turn))


def _even(width: int, height: int) -> tuple[int, int]:
    """Return a size of even sides, as H.264 wants them, not longer than the longest."""
    factor = min(1.0, _LONGEST / max(width, height))
    return max(2, 2 * round(factor * width / 2)), max(2, 2 * round(factor * height / 2))


def _looking(
    eye: NDArray[np.float64], target: NDArray[np.float64], up: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the pose [4, 4] of a camera at ``eye`` that looks at ``target``."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    right = right / max(float(np.linalg.norm(right)), 1e-12)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose
