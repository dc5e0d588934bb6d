"""The datasets of the paper: where each scene is published, and where it lies once fetched.

Uses only the standard library, because the configuration's checks and the rules read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

#: Mip-NeRF 360's images come at full size and reduced by these factors.
Factor = Literal[1, 2, 4, 8]

#: The parts of LERF-Mask's layout that stage ``scene`` reads.
LERF_MASK_PARTS = ("images", "images_train", "test_mask", "sparse", "object_mask")


@dataclass(frozen=True)
class Dataset:
    """One scene of a dataset.

    Attributes:
        source: ``source`` of the scene's configuration.
        scene: Name of the scene.
        repo: Hub repository; empty where an archive is fetched by address.
        repo_folder: Folder of the repository that holds the scene, as a folder or as ``.zip``.
        revision: Branch or commit of the repository; the commit goes into the lock file.
        archive: Address of a zip archive with several scenes.
    """

    source: str
    scene: str
    repo: str = ""
    repo_folder: str = ""
    revision: str = "main"
    archive: str = ""

    @property
    def page(self) -> str:
        """Address that a person can open."""
        if self.archive:
            return self.archive
        return f"https://huggingface.co/{self.repo}/tree/{self.revision}/{self.repo_folder}"


_REFRAW = "https://storage.googleapis.com/gresearch/refraw360/"
_IN_MAIN_ARCHIVE = ("bicycle", "bonsai", "counter", "garden", "kitchen", "room", "stump")
_IN_EXTRA_ARCHIVE = ("flowers", "treehill")

_ALL = (
    *(
        # A model repository as the hub counts it, although it holds the data as well.
        Dataset("lerf_mask", scene, repo="mqye/Gaussian-Grouping", repo_folder="data/lerf_mask")
        for scene in ("figurines", "ramen", "teatime")
    ),
    *(Dataset("mipnerf360", s, archive=_REFRAW + "360_v2.zip") for s in _IN_MAIN_ARCHIVE),
    *(
        Dataset("mipnerf360", s, archive=_REFRAW + "360_extra_scenes.zip")
        for s in _IN_EXTRA_ARCHIVE
    ),
)

#: Every scene by source and name.
DATASETS: Mapping[tuple[str, str], Dataset] = MappingProxyType(
    {(entry.source, entry.scene): entry for entry in _ALL}
)


def scenes_of(source: str) -> list[str]:
    """Return the names of the scenes of a source; empty for a source that is not downloaded."""
    return [scene for kind, scene in DATASETS if kind == source]


def images_folder(factor: int) -> str:
    """Return the name of Mip-NeRF 360's folder of images: ``images``, ``images_2``, ..."""
    return "images" if factor == 1 else f"images_{factor}"


def folder_name(source: str, scene: str, factor: int) -> str:
    """Return where a scene lies below ``<downloads>/datasets``."""
    if source == "mipnerf360":
        # One folder per resolution: each is one job's output, made and removed as a whole.
        return f"mipnerf360/{scene}_{images_folder(factor)}"
    return f"{source}/{scene}"


def dataset_path(downloads: Path, source: str, scene: str, factor: int) -> Path:
    """Return the folder of a downloaded scene."""
    return Path(downloads) / "datasets" / folder_name(source, scene, factor)


#: Source, scene and factor of every folder that :func:`folder_name` names.
FOLDERS: Mapping[str, tuple[str, str, int]] = MappingProxyType(
    {
        folder_name(source, scene, factor): (source, scene, factor)
        for source, scene in DATASETS
        for factor in ((1, 2, 4, 8) if source == "mipnerf360" else (1,))
    }
)
