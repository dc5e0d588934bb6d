"""Budgets of scenes on this machine: what they are made from, and writing them down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from gradiseg_core.compute import machine
from gradiseg_core.config.datasets import images_folder
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.photo_files import files_below, is_photo, videos_of
from gradiseg_core.config.quality import Budget, BudgetOf, Facts, Quality, budget, keep, kept
from gradiseg_core.config.root import Settings
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig
from gradiseg_core.errors import InputError
from gradiseg_core.files.manifest import SceneManifest

_SAMPLE = 40  # photographs whose size is looked at
_FRAME_BYTES = 100_000_000  # of a video's frames as photographs, roughly


@dataclass(frozen=True)
class Photographs:
    """What is known of a scene's photographs from their names and headers.

    Attributes:
        count: Their number; None where they are not there yet.
        size: Width and height of the largest of a sample, upright, px; None where not known.
        bytes: Of all files.
        frames: Whether they are frames of a video.
        chosen: Whether these are chosen; until then there may be fewer than ``count``.
    """

    count: int | None = None
    size: tuple[int, int] | None = None
    bytes: int = 0
    frames: bool = False
    chosen: bool = True


def budget_maker(cores: int | None = None) -> BudgetOf:
    """Return what makes the budgets of scenes on this machine, or reads those written down.

    Args:
        cores: That the workflow may use; None: all of this machine.
    """

    def made(scene: SceneConfig, quality: Quality, folder: Path, device: str) -> Budget:
        before = kept(folder, quality)
        if before is not None:
            return before
        photographs = photographs_of(scene)
        width, height = photographs.size or (None, None)
        gpu = None if device == "cpu" else machine.gpu_bytes()
        facts = Facts(
            views=photographs.count,
            width=width,
            height=height,
            cores=cores or machine.cores(),
            memory_gb=round(machine.memory_bytes() / 1e9, 1),
            gpu_gb=None if gpu is None else round(gpu / 1e9, 1),
        )
        return budget(quality, facts)

    return made


def keep_budgets(settings: Settings, folder: Path | None = None) -> None:
    """Write the budgets of a configuration down, where they are not yet.

    Args:
        settings: The configuration.
        folder: Start of relative paths; the working directory by default.
    """
    for scene, made in settings.budgets.items():
        keep((folder or Path()) / settings.root.results / scene, made)


def photographs_of(scene: SceneConfig) -> Photographs:
    """Return what is known of a scene's photographs, of its training and test views."""
    path = DEMO_FOLDER if scene.source == "demo" else scene.path
    if path is None or not path.exists():
        return Photographs()
    nested, folder = False, path / "images"
    if scene.source == "folder":
        given = find_given(path)
        nested, folder = given.sparse is None and not given.transforms, given.images
        videos = videos_of(given.images)
        if videos or path.is_file():
            there, size, weight = _of_videos(videos)
            count = min(scene.frames, there or scene.frames)
            return Photographs(count, size, weight, frames=True, chosen=False)
    elif scene.source == "mipnerf360":
        folder = path / images_folder(scene.factor)
    return _measured(folder, nested)


def views_of(settings: Settings, name: str) -> Photographs:
    """Return what is known of a scene's photographs; of those that are used once it is prepared."""
    found = photographs_of(settings.origin(name))
    if found.count is None:
        return found
    try:
        manifest = SceneManifest.load(Path(settings.root.results, name, "scene"))
    except InputError:
        return found
    views = len(manifest.views)
    if not found.frames and views + len(manifest.unused) != found.count:
        return found  # photographs came or went since
    return replace(found, count=min(found.count, views), chosen=True)


@cache  # Snakemake reads the configuration once, but several scenes may have the same photographs
def _measured(folder: Path, nested: bool) -> Photographs:
    files = sorted(file for file in files_below(folder, nested=nested) if is_photo(file))
    return Photographs(len(files), _largest(files), sum(file.stat().st_size for file in files))


def _of_videos(files: list[Path]) -> tuple[int, tuple[int, int] | None, int]:
    """Return how many frames there are, their size, and about what those that are taken weigh.

    By the files' headers; 0 frames where one does not say. The size is that of the first video.
    """
    try:
        import av

        counts, sizes = [], []
        for file in files:
            with av.open(str(file)) as container:
                stream = container.streams.video[0]
                sizes.append((stream.width, stream.height))
                counts.append(stream.frames or _lasting(container.duration, stream.average_rate))
    except (ImportError, IndexError, OSError, ValueError):  # stage `scene` says what is wrong
        return 0, None, 0
    return (sum(counts) if all(counts) else 0), sizes[0] if sizes else None, _FRAME_BYTES


def _lasting(microseconds: int | None, rate: Fraction | None) -> int:
    """Return the number of frames of a video by its length, 0 where that is unknown."""
    return int((microseconds or 0) * (rate or 0) / 1_000_000)


def _largest(files: list[Path]) -> tuple[int, int] | None:
    """Return the size of the largest of some photographs that can be read, by their headers."""
    try:
        from PIL import Image

        from gradiseg_core.stages.scene.formats import register

        register()
    except ImportError:  # a Snakemake whose stages have environments of their own
        return None
    sizes = []
    for file in files[:: -(-len(files) // _SAMPLE) or 1]:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(0x0112, 1) >= 5
                sizes.append((image.height, image.width) if turned else image.size)
        except Exception:  # a damaged file, of which stage `scene` says what is wrong
            continue
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
