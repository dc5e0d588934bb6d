"""Videos as photographs: some frames of them, chosen by sharpness and by how far the picture moved.

A video is decoded twice: small and grey, to choose (:mod:`.video_motion`); and at full size, where
only the frames that are taken are converted and written. Neither holds more than a few frames.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import Available, SceneManifest, every_nth, split_views
from gradiseg_core.stages.scene.exposures import EXPOSURE_STOPS
from gradiseg_core.stages.scene.inspecting import Photograph
from gradiseg_core.stages.scene.naming import scene_names
from gradiseg_core.stages.scene.photographs import JPEG_OPTIONS, MIN_IMAGES
from gradiseg_core.stages.scene.video_frames import UnreadableVideoError, Video, open_video
from gradiseg_core.stages.scene.video_motion import STEP, Travel, chosen_frames, sharpness

logger = logging.getLogger(__name__)

_SHARP_PX, _MOTION_PX = 640, 160  # widths at which sharpness and motion are measured
_A_SECOND = 15.0  # frames a second that are looked at
_AT_LEAST = 60  # of a short video as many frames as it has are looked at, up to this many
_STILL = 0.1  # widths that the picture moves by in all: less has no parallax
_FAR = 3 * STEP  # between taken frames: more and neighbours may not match
_CUT = 0.9  # of the length in its head: a video that ends before lacks a part
_APART_S = 20.0  # between two lines in the log


@dataclass(frozen=True)
class Looked:
    """What is known of a video after it was seen once.

    Attributes:
        path: The file.
        frames: [n] numbers of the frames that were looked at.
        seconds: [n] their times.
        moved: [n] the path of the picture until there, widths.
        sharp: [n] their sharpness.
        bright: [n] by how many stops the same content is brighter than in the first frame.
    """

    path: Path
    frames: NDArray[np.int64]
    seconds: NDArray[np.float64]
    moved: NDArray[np.float64]
    sharp: NDArray[np.float64]
    bright: NDArray[np.float64]


def prepare_videos(
    videos: Sequence[Path], root: Path, out_dir: Path, config: SceneConfig, *, name: str,
    threads: int = 1,
) -> tuple[SceneManifest, list[Photograph]]:  # fmt: skip
    """Bring frames of videos into ``out_dir/images`` and split them.

    Args:
        videos: The files, in their order.
        root: The folder that holds them all.
        out_dir: An existing, empty scene folder.
        config: The scene's configuration.
        name: The scene's name.
        threads: CPU threads.

    Returns:
        The manifest, and the frames as photographs of ``out_dir/images``.

    Raises:
        InputError: One error that names all videos that cannot be read, are too short or show one
            view only.
    """
    looked, problems = _look_at_all(videos, root, threads)
    if problems and config.skip_unreadable and looked:
        logger.warning(
            "%d of %d videos cannot be used and are left out (`skip_unreadable`):\n%s",
            len(problems), len(videos), "\n".join(problems),
        )  # fmt: skip
    elif problems:
        raise unusable_videos(problems, videos, root, name)
    stems = {p: Path(n).stem for p, n in scene_names([v.path for v in looked], root).items()}
    whole = sum(float(video.moved[-1]) for video in looked)
    (out_dir / "images").mkdir(parents=True, exist_ok=True)
    frames: list[Photograph] = []
    originals: dict[str, str] = {}
    for video in looked:
        most = max(MIN_IMAGES, round(config.frames * float(video.moved[-1]) / whole))
        taken = chosen_frames(video.moved, video.sharp, most)
        _say_choice(video, taken, config.frames)
        digits = len(str(int(video.frames[-1])))
        names = {
            int(video.frames[i]): f"{stems[video.path]}_{int(video.frames[i]):0{digits}d}.jpg"
            for i in taken
        }
        sizes = _write(video.path, names, out_dir / "images", threads)
        for i in taken:
            frame = names[int(video.frames[i])]
            path = out_dir / "images" / frame
            frames.append(Photograph(path, frame, sizes[frame], 1, as_is=True))
            inner = video.path.relative_to(root).as_posix()
            originals[frame] = f"{inner}#t={video.seconds[i]:.3f}"
    frame_names = [photo.name for photo in frames]
    views = split_views(
        frame_names,
        {photo.name: photo.size for photo in frames},
        every_nth(frame_names, config.test_every),
    )
    return SceneManifest(
        name=name,
        source="folder",
        views=[view.model_copy(update={"original": originals[view.name]}) for view in views],
        has=Available(),
        ordered=True,
    ), frames


def unusable_videos(
    problems: Sequence[str], videos: Sequence[Path], root: Path, name: str
) -> InputError:
    """Return the error for videos that cannot be used.

    Args:
        problems: A line for each.
        videos: All of them.
        root: The folder that holds them all.
        name: The scene's name.
    """
    message = f"{len(problems)} of {len(videos)} videos in {root} cannot be used:\n"
    message += "\n".join(problems)
    if len(problems) < len(videos):
        message += (
            "\nCopy or record them again, remove them, or set "
            f"`scenes.{name}.skip_unreadable: true` to go on without them."
        )
    return InputError(message)


def _look_at_all(
    videos: Sequence[Path], root: Path, threads: int
) -> tuple[list[Looked], list[str]]:
    looked, problems = [], []
    for path in videos:
        try:
            video = _look(path, threads)
        except UnreadableVideoError as error:
            problems.append(f"  {path.relative_to(root)}: {error.reason}")
            continue
        why = _unusable(video)
        if why is None:
            looked.append(video)
        else:
            problems.append(f"  {path.relative_to(root)}: {why}")
    return looked, problems


def _look(path: Path, threads: int) -> Looked:
    """Measure motion and sharpness of about fifteen frames a second.

    Raises:
        UnreadableVideoError: If no frame can be decoded.
    """
    motion, numbers, times, sharp = Travel(), [], [], []
    said = time.monotonic()
    with open_video(path, threads) as video:
        fps = video.fps or 30.0
        every = max(1, min(round(fps / _A_SECOND), int((video.seconds or 60.0) * fps / _AT_LEAST)))
        count, last = 0, 0.0
        for number, frame in enumerate(video.frames()):
            count = number + 1
            last = float(frame.time) if frame.time is not None else number / fps
            if number == 0 and frame.interlaced_frame:
                logger.warning("%s is interlaced: deinterlace it first, or edges are combed", path)
            if number % every:
                continue
            grey = video.grey(frame, _SHARP_PX)
            sharp.append(sharpness(grey))
            motion.add(_reduced(grey))
            numbers.append(number)
            times.append(last)
            if time.monotonic() - said > _APART_S:
                said = time.monotonic()
                of = f" of {video.seconds:.0f}" if video.seconds else ""
                logger.info("%s: %.0f%s s looked at", path, last, of)
        if not numbers:
            raise UnreadableVideoError(path, "no frame of it can be decoded: damaged or incomplete")
        _say_damage(video, count, last - times[0])
    return Looked(path, *map(np.asarray, (numbers, times, motion.path, sharp, motion.brightness)))


def _reduced(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a frame in 1/4 of its size, or less where it is smaller than usual."""
    factor = max(1, grey.shape[1] // _MOTION_PX)
    height, width = (side // factor * factor for side in grey.shape)
    blocks = grey[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(1, 3))


def _say_damage(video: Video, count: int, seconds: float) -> None:
    if video.damaged:
        logger.warning(
            "%s: %d places of it are damaged and left out; %d frames are whole",
            video.path, video.damaged, count,
        )  # fmt: skip
    if video.seconds and seconds + 1.0 < _CUT * video.seconds:
        logger.warning(
            "%s ends after %.1f s, though its head says %.1f s: a part of it is missing",
            video.path, seconds, video.seconds,
        )  # fmt: skip


def _unusable(video: Looked) -> str | None:
    if len(video.frames) < MIN_IMAGES:
        return (
            f"it has {int(video.frames[-1]) + 1} frames; a scene needs half a minute or more, "
            "around the objects"
        )
    if video.moved[-1] < _STILL:
        return (
            f"the camera hardly moves (the picture by {100 * video.moved[-1]:.1f} % of its width "
            "in all), so that no depth can be seen: walk around the objects, slowly"
        )
    return None


def _say_choice(video: Looked, taken: list[int], most: int) -> None:
    apart = float(video.moved[-1]) / len(taken)
    logger.info(
        "%s: %.1f s, in which the picture moves by %.1f of its widths; %d frames are taken, each "
        "the sharpest of its neighbours",
        video.path, video.seconds[-1] - video.seconds[0], video.moved[-1], len(taken),
    )  # fmt: skip
    stops = float(np.ptp(video.bright[taken]))
    if stops > EXPOSURE_STOPS:
        logger.warning(
            "%s: the camera changed its exposure: the same content is up to %.1f times as bright "
            "in some frames as in others. A point of the scene is trained as one colour, so this "
            "costs sharpness. Lock the exposure when you record (on a phone: hold the finger on "
            "the scene)",
            video.path, 2.0**stops,
        )  # fmt: skip
    if apart > _FAR:
        logger.warning(
            "%s: the picture moves by %.0f %% of its width from one taken frame to the next; more "
            "of them (`frames`, now %d) match better",
            video.path, 100 * apart, most,
        )  # fmt: skip


def _write(
    path: Path, names: dict[int, str], folder: Path, threads: int
) -> dict[str, tuple[int, int]]:
    """Write frames of a video, by their number; return (width, height) by name."""
    sizes: dict[str, tuple[int, int]] = {}
    last = max(names)

    def save(video: Video, frame: object, name: str) -> None:
        pixels = video.picture(frame)
        sizes[name] = (pixels.shape[1], pixels.shape[0])
        Image.fromarray(pixels).save(folder / name, **JPEG_OPTIONS)

    waiting: deque[Future[None]] = deque()
    with open_video(path, threads) as video, ThreadPoolExecutor(min(threads, 4)) as pool:
        for number, frame in enumerate(video.frames()):
            if number in names:
                waiting.append(pool.submit(save, video, frame, names[number]))
            while len(waiting) > 4:
                waiting.popleft().result()
            if number == last:
                break
        for future in waiting:
            future.result()
    return sizes
