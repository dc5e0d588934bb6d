"""Budgets of scenes on this machine: what they are made from, and writing them down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gradiseg_core.compute import machine
from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.quality import Budget, BudgetOf, Facts, Quality, budget, keep, kept
from gradiseg_core.config.root import Settings
from gradiseg_core.config.scene import DEMO_FOLDER, SceneConfig

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Photographs:
    """What is known of a scene's photographs from their names and headers.

    Attributes:
        count: Their number; None of a video, or where they are not there yet.
        size: Width and height of the largest, upright, px; None where that is not known.
        bytes: Of all files.
    """

    count: int | None = None
    size: tuple[int, int] | None = None
    bytes: int = 0


def budget_maker(cores: int | None = None) -> BudgetOf:
    """Return what makes the budgets of scenes on this machine, or reads those written down.

    Args:
        cores: That the workflow may use; None: all of this machine.
    """

    def made(scene: SceneConfig, quality: Quality, folder: Path) -> Budget:
        before = kept(folder, quality)
        if before is not None:
            return before
        photographs = photographs_of(scene)
        width, height = photographs.size or (None, None)
        gpu = machine.gpu_bytes()
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
    if path is None or not path.exists() or path.is_file():
        return Photographs(bytes=path.stat().st_size if path is not None and path.is_file() else 0)
    if scene.source == "folder":
        folder = find_given(path).images
    else:
        folder = path / ("images" if scene.source != "mipnerf360" else f"images_{scene.factor}")
    return _measured(folder, folder.stat().st_mtime_ns if folder.is_dir() else 0)


@cache
def _measured(folder: Path, _changed: int) -> Photographs:
    files = sorted(_files(folder))
    return Photographs(len(files), _largest(files), sum(file.stat().st_size for file in files))


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."):
            yield path


def _largest(files: list[Path]) -> tuple[int, int] | None:
    """Return the size of the largest photograph that can be read, from the files' headers."""
    try:
        from PIL import Image
    except ImportError:  # a Snakemake whose stages have environments of their own
        return None
    sizes = []
    for file in files:
        try:
            with Image.open(file) as image:
                turned = image.getexif().get(0x0112, 1) >= 5
                sizes.append((image.height, image.width) if turned else image.size)
        except Exception:  # a damaged file, of which stage `scene` says what is wrong
            continue
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
