"""Whether a run's photographs and videos can be read, before anything is planned for them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gradiseg_core.config.given_model import find_given
from gradiseg_core.config.photo_files import LEAST_PHOTOGRAPHS, videos_of
from gradiseg_core.config.root import Settings
from gradiseg_core.config.scene import SceneConfig
from gradiseg_core.planning.budgets import photographs_of
from gradiseg_core.stages.scene.listing import left_out

if TYPE_CHECKING:
    from gradiseg_core.stages.scene.before_plan import Checked

#: Megapixels from which on it is said that photographs are looked at: some seconds.
_MANY = 100

Inspected = Mapping[str, "Checked"]
"""By scene, its photographs as far as they were looked at."""


def check_inputs(settings: Settings, cores: int, *, is_new: bool) -> Inspected:
    """Refuse the files that stage `scene` would refuse once the run has begun, all at once.

    Scenes that are prepared already are left alone.

    Args:
        settings: The configuration.
        cores: That may be used.
        is_new: Whether the configuration is not written yet. One of a user's own may be of fewer
            photographs than make a good scene.

    Raises:
        InputError: With the message of stage `scene`.
    """
    found: dict[str, Checked] = {}
    least = {"least": LEAST_PHOTOGRAPHS} if is_new else {}
    for name in settings.scenes:
        config = settings.section(name, "scene")
        folder = Path(settings.root.results) / name
        if not isinstance(config, SceneConfig) or (folder / "scene" / "scene.json").is_file():
            continue
        try:
            from gradiseg_core.stages.scene.before_plan import check_files
            from gradiseg_core.stages.scene.inspected import load_inspected
        except ImportError:  # a Snakemake whose stages have environments of their own
            return {}
        known = load_inspected(folder)
        if not known:
            _announce(config)
        with warnings.catch_warnings():  # Pillow's, about EXIF data that are passed over
            warnings.simplefilter("ignore")
            found[name] = check_files(config, name, threads=cores, known=known, **least)
    return found


def passed_over(config: SceneConfig) -> list[str]:
    """Return what in a user's folder may be taken for photographs of the scene and is not read.

    Args:
        config: Where the photographs come from.
    """
    if config.source != "folder" or config.path is None or not config.path.is_dir():
        return []
    images = find_given(config.path).images
    return left_out(images, nested=True) if images.is_dir() and not videos_of(images) else []


def keep_inputs(settings: Settings, inspected: Inspected) -> None:
    """Write down for stage `scene` what was looked at.

    Args:
        settings: The configuration.
        inspected: From :func:`check_inputs`.
    """
    for name, checked in inspected.items():
        if checked.photographs:
            from gradiseg_core.stages.scene.inspected import save_inspected

            save_inspected(Path(settings.root.results) / name, checked.photographs)


def _announce(config: SceneConfig) -> None:
    """Say that photographs are looked at, where that takes a while."""
    if config.source != "folder":
        return
    found = photographs_of(config)
    width, height = found.size or (0, 0)
    if found.bytes and (found.count or 0) * width * height > _MANY * 1e6:
        print(f"looking at {found.count} photographs ...", flush=True)
