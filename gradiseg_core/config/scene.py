"""Configuration of stage 1, ``scene``: where the photographs come from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from gradiseg_core.config.base import Section, UserPath, option
from gradiseg_core.config.datasets import Factor, scenes_of

#: The embedded scene, in LERF-Mask's layout. It is part of the repository, not of the package.
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "resources" / "demo"

Source = Literal["demo", "folder", "lerf_mask", "mipnerf360", "copy"]


class SceneConfig(Section):
    """Where a scene's photographs, split and annotations come from."""

    source: Source = option(
        "demo",
        "`folder`: photographs or videos; `lerf_mask`, `mipnerf360`: the layouts of these "
        "datasets; `demo`: the embedded scene; `copy`: another scene's (`of`).",
    )
    path: UserPath | None = option(
        None,
        "Folder of the photographs or of the dataset's scene, or a video.",
    )
    of: str | None = option(
        None,
        "`copy`: the scene whose photographs, split and annotations are taken.",
    )
    dataset: str | None = option(
        None,
        "Instead of `path`: a published scene to download. `lerf_mask`: "
        f"{', '.join(scenes_of('lerf_mask'))}; `mipnerf360`: {', '.join(scenes_of('mipnerf360'))}.",
    )
    factor: Factor = option(
        8,
        "`mipnerf360`: how many times its images are reduced.",
        source="GradiSeg Table 3 (GG's)",
    )
    ignore: UserPath | None = option(
        None,
        "Folder of masks, `<photograph>.png` or `.jpg.png`, white where a photograph shows what "
        "is not the scene. null: `ignore/` beside the photographs, if there is one.",
    )
    skip_unreadable: bool = option(
        False,
        "`folder`: go on without photographs that cannot be read.",
    )
    frames: int = option(
        120,
        "Of a video, or a folder of videos alone: most frames that become photographs; 60 with "
        "`quality: draft`.",
        unit="images",
        source="our choice",
        ge=3,
    )
    test_every: int = option(
        8,
        "Without a given split every n-th image, from the first, is a test view.",
        unit="images",
        source="3DGS's evaluation on Mip-NeRF 360",
        ge=2,
    )

    def brings_object_masks(self, folder: Path) -> bool:
        """Whether the scene comes with ID images of its training views, ``object_mask/``.

        Args:
            folder: What relative paths start from.
        """
        if self.source != "lerf_mask":
            return False
        if self.dataset is not None:
            return True
        return self.path is not None and (folder / self.path / "object_mask").is_dir()

    @model_validator(mode="after")
    def _path_fits_source(self) -> SceneConfig:
        if self.source == "demo" and self.path is not None:
            raise ValueError("path is set, but source is 'demo': set source to 'folder'")
        if (self.source == "copy") != (self.of is not None):
            raise ValueError(
                "`of` names the scene that `source: copy` takes; "
                + ("`of` is missing" if self.of is None else f"source is '{self.source}'")
            )
        if self.skip_unreadable and self.source != "folder":
            raise ValueError(
                f"skip_unreadable is set, but source is '{self.source}', whose views are numbered: "
                "it is for source 'folder'"
            )
        published = scenes_of(self.source)
        if self.dataset is not None:
            if not published:
                raise ValueError(
                    f"dataset is set, but source is '{self.source}': set source to 'lerf_mask' or "
                    "'mipnerf360'"
                )
            if self.path is not None:
                raise ValueError("path and dataset are both set: keep one of them")
            if self.dataset not in published:
                from gradiseg_core.config.messages import nearest

                raise ValueError(
                    f"'{self.dataset}' is no scene of {self.source}"
                    f"{nearest(self.dataset, published)}"
                )
        elif self.source == "copy":
            if self.path is not None:
                raise ValueError("path is set, but source is 'copy', which takes another scene's")
            if self.ignore is not None:
                raise ValueError("ignore is set, but source is 'copy', which takes another scene's")
        elif self.source != "demo" and self.path is None:
            instead = ", or dataset, a published scene to download" if published else ""
            raise ValueError(
                f"source '{self.source}' needs path, the folder of the photographs{instead}"
            )
        return self
