"""A look at photographs and at the heads of videos, before hours are planned for them."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.photo_files import files_below, is_photo, videos_of
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.files.manifest import by_name
from gradiseg_core.stages.scene.inspected import Known
from gradiseg_core.stages.scene.inspecting import Photograph
from gradiseg_core.stages.scene.naming import common_root
from gradiseg_core.stages.scene.photographs import (
    MIN_IMAGES,
    count_used,
    inspect_all,
    said_unreadable,
    say_skipped,
    unusable_images,
)
from gradiseg_core.stages.scene.video import unusable_videos
from gradiseg_core.stages.scene.video_frames import UnreadableVideoError, open_video


class Checked(NamedTuple):
    """What was found.

    Attributes:
        photographs: As far as they were looked at, each as it is.
        used: How many of them become views; None where they were not looked at.
    """

    photographs: list[Photograph] = []  # noqa: RUF012
    used: int | None = None


def check_files(
    config: SceneConfig,
    name: str,
    *,
    threads: int = 1,
    known: Known = MappingProxyType({}),
    least: int = MIN_IMAGES,
) -> Checked:
    """Refuse a user's photographs that cannot be decoded, and videos that cannot be opened.

    JPEG files are decoded in a fraction of their size. Of a video what is damaged further on is
    found by stage `scene`, which also deals with videos under `skip_unreadable`.

    Args:
        config: The scene's configuration, of source `folder`.
        name: The scene's name.
        threads: CPU threads.
        known: Photographs that were inspected before.
        least: Of different photographs; fewer are refused.

    Returns:
        The photographs, as far as they were looked at, and how many of them become views.

    Raises:
        InputError: With the message of stage `scene`, which names all such files.
    """
    if config.source != "folder" or config.path is None or not config.path.exists():
        return Checked()
    given = find_given(config.path)
    videos = sorted(videos_of(given.images), key=lambda path: by_name(str(path)))
    if videos:
        if not config.skip_unreadable:
            _check_videos(videos, config.path, name)
        return Checked()
    photographs = _check_photographs(given.images, threads, known, config.skip_unreadable)
    with_cameras = bool(given.sparse or given.transforms)  # then all become views
    used = len(photographs) if with_cameras else count_used(photographs, given.images, least=least)
    return Checked(photographs, used)


def _check_videos(videos: list[Path], path: Path, name: str) -> None:
    root = common_root(path.parent if path.is_file() else path, videos)
    problems = []
    for video in videos:
        try:
            with open_video(video):
                pass
        except UnreadableVideoError as error:
            problems.append(f"  {video.relative_to(root)}: {error.reason}")
    if problems:
        raise unusable_videos(problems, videos, root, name)


def _check_photographs(
    folder: Path, threads: int, known: Known, skip_unreadable: bool
) -> list[Photograph]:
    files = sorted(
        (file for file in files_below(folder) if is_photo(file)),
        key=lambda file: by_name(file.relative_to(folder).as_posix()),
    )
    inner = {path: str(path.relative_to(folder)) for path in files}
    photographs, unreadable = inspect_all(files, inner, threads, known)
    if unreadable:
        lines = said_unreadable(unreadable)
        if skip_unreadable:
            say_skipped(lines, len(files), folder)
            return photographs
        go_on = len(photographs) >= MIN_IMAGES
        raise unusable_images(lines, len(files), folder, go_on=go_on)
    return photographs
